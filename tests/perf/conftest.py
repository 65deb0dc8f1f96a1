"""Figures are printed, nothing is asserted: `pytest -m perf -s tests/perf`."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest


def timed(work: Callable[[], object], times: int = 9, warm: int = 1) -> float:
    """The median of several measurements, in seconds, after a warm start."""
    for _ in range(warm):
        work()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return median(taken)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure whatever pytest captures."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", end="")

    return line
