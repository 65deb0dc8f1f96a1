"""How a run is executed; none of it enters the key."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.core.errors import UserError, nearest

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")
LOGGERS = ("csv", "tensorboard", "wandb", "none")


@dataclass(frozen=True)
class Options:
    """Device, loader workers, micro-batch, loggers and the like."""

    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    workers: int = 0
    threads: int | None = None  # torch's; None leaves its own choice
    micro_batch: int | None = None  # rows per forward pass; the step still has the budget's batch size
    log: tuple[str, ...] = ("csv",)
    checkpoint_seconds: float = 60.0
    debug: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    # What a search asks of its trials:
    score: bool = True  # whether predictions are joined with the test labels once the checkpoint is selected
    report: Callable[[int, float], bool] | None = None  # told validation's number and score; True ends the run
    group: str | None = None  # what wandb shows its runs under


def check(options: Options) -> None:
    """Refuse options that mean nothing, before anything is loaded."""
    for name in options.log:
        if name not in LOGGERS:
            raise UserError(f"--log is {name!r}; expected {', '.join(LOGGERS)}.{nearest(name, LOGGERS)}")
    if not _DEVICE.fullmatch(options.device):
        raise UserError(f"--device is {options.device!r}; expected auto, cpu, cuda, cuda:N or mps.")
    for flag, value, least in (
        ("--workers", options.workers, 0),
        ("--threads", options.threads, 1),
        ("--micro-batch", options.micro_batch, 1),
    ):
        if value is not None and value < least:
            raise UserError(f"{flag} is {value}; expected at least {least}.")
