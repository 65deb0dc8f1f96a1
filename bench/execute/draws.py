"""Torch's, numpy's and Python's random numbers, drawn from a named stream instead of from what ran before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch

from bench.core.streams import seed


@contextmanager
def drawn(stream: str, *coordinates: str | int, device: torch.device | None = None) -> Iterator[None]:
    """Draw from a stream inside, and leave the global generators as they were."""
    devices = [device] if device is not None and device.type == "cuda" else []
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=devices):
            reseed(seed(stream, *coordinates))
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def reseed(value: int) -> None:
    """Seed the global generators. Without a GPU torch's is seeded directly: `manual_seed` formats the call stack."""
    if _has_gpu():
        torch.manual_seed(value)
    else:
        torch.default_generator.manual_seed(value)
    np.random.seed(value % 2**32)
    random.seed(value)


@cache
def _has_gpu() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()
