"""The data that a method's `fit` sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import DataLoader

from bench.data.prepare import Part
from bench.execute.backbones import Encoder
from bench.execute.loaders import Batch


@dataclass(frozen=True)
class Data:
    """Training and validation rows with labels, test inputs without, and the loader of training batches.

    `training()` makes the loader for the rest of the run; `resume` is the checkpoint it goes on from.
    """

    train: Part
    val: Part | None
    tests: tuple[Part, ...]
    encoder: Encoder
    training: Callable[[], DataLoader[Batch]]
    resume: Path | None
