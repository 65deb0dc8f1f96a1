"""Accuracy of the group of rows where it is lowest (Koh et al. WILDS. 2021. arXiv:2012.07421)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._groups import group_accuracies

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In 0..1. Groups without rows do not count; rows in no group count only where there is no group at all.

    A row with a logit that is not finite is wrong.
    """
    return float(group_accuracies(predictions, truth).min())


METRIC = Metric(
    name="worst-group-accuracy",
    version=1,
    title="Worst-group accuracy",
    higher=True,
    range=(0.0, 1.0),
    reads="logits",
    compute=compute,
    needs="groups",
)
