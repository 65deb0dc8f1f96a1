"""On a GPU, where there is one: the same runs in mixed precision, finite and close to the CPU's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.predictions import load

from .conftest import Go

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU here")


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("arguments", [("full,lora=glue/rte",), ("full,lora=demo/digits",)])
def test_twins_on_a_gpu_are_close_to_the_cpu_s(go: Go, arguments: tuple[str, ...], precision: str) -> None:
    there, rows = go(*arguments, twin=True, precision=precision, device="cuda", store="gpu")
    here, same = go(*arguments, twin=True, precision=precision, device="cpu", store="cpu")
    for row, other in zip(rows, same, strict=True):
        assert row["key"] == other["key"]
        assert row["state"] == "done", there.error(row["key"])
        found, expected = (
            load(store.folder(row["key"]), "last", "test")["logits"]  # type: ignore[arg-type]
            for store in (there, here)
        )
        assert np.isfinite(found).all()
        # Dropout is drawn by another generator there, so that only the size of the outputs can be compared.
        assert np.abs(found - expected).mean() < max(0.5, np.abs(expected).mean())
        assert row["cost"]["peak_bytes"] > 0


def test_digits_are_learned_as_on_the_cpu(go: Go) -> None:
    _, (row,) = go("lora=demo/digits", precision="bf16", device="cuda")
    assert row["scores"]["accuracy"] > 0.9


def test_a_stopped_run_goes_on_on_the_gpu(toy: Path, go: Go) -> None:
    import threading

    from .conftest import Stopper

    stop = threading.Event()
    go("all=toy/waves", device="cuda", stop=stop, progress=Stopper(5, stop))
    _, (row,) = go("all=toy/waves", device="cuda")
    assert row["state"] == "done"
