"""The tenth percentile of the groups' accuracies, as WILDS reports it over reviewers (arXiv:2012.07421)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._groups import group_accuracies

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In 0..1: interpolated linearly between the two groups on either side, each group of the same weight.

    Groups without rows do not count; rows in no group count only where there is no group at all. A row with a
    logit that is not finite is wrong.
    """
    import numpy as np

    return float(np.percentile(group_accuracies(predictions, truth), 10))


METRIC = Metric(
    name="tenth-percentile-accuracy",
    version=1,
    title="Tenth-percentile accuracy",
    higher=True,
    range=(0.0, 1.0),
    reads="logits",
    compute=compute,
    needs="groups",
)
