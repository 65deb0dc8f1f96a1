"""Spearman's correlation: Pearson's of the ranks, equal values sharing their mean rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric
from bench.metrics.arrays import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], labels: NDArray[Any], classes: int | None) -> float:
    """In -1..1; 0 where it is undefined: one row, a constant column, a prediction that is not finite."""
    import torch
    from scipy.stats import rankdata
    from torchmetrics.functional.regression import pearson_corrcoef

    found = numbers(predictions, labels)
    if found is None:
        return 0.0
    ranks = [torch.from_numpy(rankdata(column.numpy())) for column in found]
    return float(pearson_corrcoef(ranks[0] - ranks[0].mean(), ranks[1] - ranks[1].mean()))


METRIC = Metric("spearman", 1, "Spearman correlation", (-1.0, 1.0), compute)
