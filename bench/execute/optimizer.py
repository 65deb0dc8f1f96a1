"""The optimizer slot: the rule of the step and the schedule of its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from bench.core.errors import UserError
from bench.core.loading import load

_KNOWN: dict[str, type[Optimizer]] = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def make_optimizer(groups: list[dict[str, Any]], declared: Mapping[str, Any], home: Path | None) -> Optimizer:
    """The declared optimizer over parameter groups that may carry their own `lr` and `weight_decay`."""
    name = declared["optimizer"]
    made = _KNOWN.get(name) or load(name, _needed(home, name))
    defaults = {"lr": declared["lr"], "weight_decay": declared["weight_decay"], **(declared.get("params") or {})}
    try:
        optimizer: Optimizer = made(groups, **defaults)
    except TypeError as error:
        raise UserError(f"optimizer.params do not fit {name}: {error}.") from None
    return optimizer


def make_schedule(optimizer: Optimizer, declared: Mapping[str, Any], steps: int) -> LambdaLR:
    """Linear warm-up over `warmup` of the steps, then constant, linear to 0, or half a cosine to 0."""
    return LambdaLR(optimizer, factor(declared["schedule"], declared["warmup"], steps))


def factor(schedule: str, warmup: float, steps: int) -> Callable[[int], float]:
    """The learning rate's factor at a step, counted from 0."""
    rising = math.ceil(warmup * steps)

    def at(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        left = (steps - step) / max(1, steps - rising)
        if schedule == "linear":
            return max(0.0, left)
        if schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (1 - max(0.0, left))))
        return 1.0

    return at


def _needed(home: Path | None, name: str) -> Path:
    if home is None:
        raise UserError(f"optimizer.optimizer is {name!r}; expected one of {', '.join(_KNOWN)} or file:Class.")
    return home
