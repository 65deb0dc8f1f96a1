"""Accuracy: the share of rows whose highest logit is the true class's (the first of equal ones)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._arrays import confusion

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In 0..1. A row with a logit that is not finite is wrong."""
    counts = confusion(predictions, truth)
    return sum(row[place] for place, row in enumerate(counts)) / len(truth.labels)


METRIC = Metric(
    name="accuracy", version=1, title="Accuracy", higher=True, range=(0.0, 1.0), reads="logits", compute=compute
)
