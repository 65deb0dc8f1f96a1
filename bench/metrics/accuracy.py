"""Accuracy: the share of rows whose highest logit is the true class's (the first of equal ones)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric
from bench.metrics.arrays import chosen

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], labels: NDArray[Any], classes: int | None) -> float:
    """In 0..1. A row with nan is wrong."""
    found, truth = chosen(predictions, labels)
    return float((found == truth).double().mean())


METRIC = Metric("accuracy", 1, "Accuracy", (0.0, 1.0), compute)
