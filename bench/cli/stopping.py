"""What Ctrl-C does to long work."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.core.errors import Interrupted


@contextmanager
def stops(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C ends the work at the next step with a checkpoint, the second at once, the third brutally.

    The second raises Interrupted, since Lightning takes a KeyboardInterrupt for its own and exits with 1.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number: int, frame: Any) -> None:
        if stop.is_set():
            signal.signal(number, before[number])
            raise Interrupted
        stop.set()
        print("Stopping after this step; press Ctrl-C again to stop at once.", file=sys.stderr)

    before: dict[int, Any] = {one: signal.signal(one, asked) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
