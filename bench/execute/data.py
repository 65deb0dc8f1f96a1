"""The data that a closed-form phase sees."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.prepare import Part


@dataclass(frozen=True)
class Data:
    """Training and validation rows with labels, test inputs without."""

    train: Part
    val: Part | None
    tests: tuple[Part, ...]
