"""A trial's process never holds test labels."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from bench.execute.grid import _attempt

from ..execute.test_wall import CANARY, _watch, canary, holds, within
from .conftest import Tune

__all__ = ["canary"]


def test_no_object_holds_a_test_label_while_a_sweep_searches(
    canary: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything the garbage collector knows is looked at: at every step of every trial, and as each one ends."""
    import bench.execute.grid
    import bench.search.sweep

    spy = canary / "methods" / "kinds" / "spy.yaml"
    spy.write_text(spy.read_text() + "search:\n  optimizer.lr: {low: 1.0e-4, high: 1.0e-2, log: true}\n")
    found: list[str] = []
    looks: list[int] = []

    def look(*objects: Any) -> None:
        looks.append(gc.collect())
        for value in gc.get_objects():
            for one in (value, *within(value)):
                if one is not CANARY and holds(one):
                    found.append(f"{type(one)} in {type(value)}")

    def looking(*given: Any) -> bool:
        ended = _attempt(*given)
        look()
        return ended

    _watch(canary, monkeypatch, look)
    monkeypatch.setattr(bench.execute.grid, "_attempt", looking)
    monkeypatch.setattr(bench.search.sweep, "_look", lambda *_: None)
    done = tune("spy=toy/angle", "task.budget.steps=2", trials=3)
    assert len(done.selection["trials"]) == 3
    assert len(looks) == 3 * 2 + 3
    assert not found
