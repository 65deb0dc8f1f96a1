"""How work is carried out for a person, from the command line and from Python alike: options checked, the network
forbidden where that was asked, and signals that leave a run which the same request goes on from."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.core.errors import Interrupted, UserError
from bench.data.access import Access
from bench.execute.options import Options, check


def options_for(
    device: str = "auto",
    workers: int = 0,
    threads: int | None = None,
    micro_batch: int | None = None,
    log: Sequence[str] = ("csv",),
    debug: bool = False,
) -> Options:
    """The options of a session, checked; how often a run is written down stands in the environment."""
    loggers = tuple(log)
    options = Options(device, workers, threads, micro_batch, loggers, checkpoint_seconds(), debug=debug)
    check(options)
    return options


def access_for(offline: bool) -> Access:
    """Where data may come from; without the network the libraries of the hub are told too."""
    access = Access.from_environment(offline)
    if access.offline:
        forbid_network()
    return access


def checkpoint_seconds() -> float:
    """How often a run writes down where it is: BENCH_CHECKPOINT_SECONDS, by default every minute."""
    given = os.environ.get("BENCH_CHECKPOINT_SECONDS", "60")
    try:
        return max(0.0, float(given))
    except ValueError:
        raise UserError(f"BENCH_CHECKPOINT_SECONDS is {given!r}; expected a number of seconds.") from None


def forbid_network() -> None:
    """Tell the hub's own libraries too, before they are imported."""
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})


@contextmanager
def stops(stop: threading.Event) -> Iterator[list[int]]:
    """The first Ctrl-C or SIGTERM ends the work at the next step with a checkpoint, the second at once, the third
    brutally. Gives the signals that came.

    The second raises Interrupted, since Lightning takes a KeyboardInterrupt for its own and exits with 1. Outside the
    main thread, where Python hands no signals out, nothing changes.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def asked(number: int, frame: Any) -> None:
        received.append(number)
        if stop.is_set():
            signal.signal(number, before[number])
            raise Interrupted
        stop.set()
        print("Stopping after this step; press Ctrl-C again to stop at once.", file=sys.stderr)

    before: dict[int, Any] = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
