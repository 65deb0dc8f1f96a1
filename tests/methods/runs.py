"""What every built-in method is held to when it runs on the twin of a task."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ..conftest import Go, Stopper

STEPS = 8  # of a twin


def record_of(store: Any, rows: Sequence[Any]) -> dict[str, Any]:
    """The record of the only run; its traceback where it failed."""
    (row,) = rows
    assert row["state"] == "done", store.error(row["key"]) or row["outcome"]
    found: dict[str, Any] = store.record(row["key"])
    return found


def trained(store: Any, record: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The trained state of a record."""
    return load_file(store.folder(record["key"]) / "trained.safetensors")


def logits(store: Any, record: dict[str, Any], part: str = "test") -> np.ndarray:
    """What was predicted at the last step."""
    from bench.predictions import load

    found: np.ndarray = load(store.folder(record["key"]), "last", part)["logits"]
    return found


def same_bits_when_stopped_at_every_step(go: Go, *arguments: str, **options: Any) -> dict[str, Any]:
    """The record of an unbroken run, whose bits a run has that was stopped after each of its steps, and resumed."""
    store, rows = go(*arguments, twin=True, store="unbroken", **options)
    record = record_of(store, rows)
    steps = record["cost"]["steps"]
    for step in range(1, steps):
        stop = threading.Event()
        stopper = Stopper(step, stop)
        broken, (row,) = go(*arguments, twin=True, store="broken", stop=stop, progress=stopper, **options)
        assert row["state"] == "queued", broken.error(row["key"])
        assert stopper.begun == [step - 1]
    broken, rows = go(*arguments, twin=True, store="broken", **options)
    resumed = record_of(broken, rows)
    assert resumed["history"] == record["history"]
    for name in ("steps", "updates", "closed_form", "skipped_updates"):
        assert resumed["cost"][name] == record["cost"][name]
    ours, theirs = trained(store, record), trained(broken, resumed)
    assert set(ours) == set(theirs)
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different, f"{different} differ after a resumption"
    np.testing.assert_array_equal(logits(store, record), logits(broken, resumed))
    return record


def equal_under_micro_batches(go: Go, *arguments: str, rows: int = 3, tolerance: float = 1e-4, **options: Any) -> None:
    """Pieces of `rows` rows make the same steps but for rounding (the twins' networks have no dropout)."""
    store, whole = go(*arguments, twin=True, store="whole", **options)
    other, cut = go(*arguments, twin=True, store="cut", micro_batch=rows, **options)
    one, two = logits(store, record_of(store, whole)), logits(other, record_of(other, cut))
    scale = np.abs(one).max()
    np.testing.assert_allclose(two, one, atol=tolerance * scale)
