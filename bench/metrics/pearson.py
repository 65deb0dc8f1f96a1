"""Pearson's correlation of predicted and true values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric
from bench.metrics.arrays import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], labels: NDArray[Any], classes: int | None) -> float:
    """In -1..1; 0 where it is undefined: one row, a constant column, a prediction that is not finite."""
    from torchmetrics.functional.regression import pearson_corrcoef

    found = numbers(predictions, labels)
    if found is None:
        return 0.0
    # Centred first: a large offset would cost the running sums their digits.
    values, truth = (column - column.mean() for column in found)
    return float(pearson_corrcoef(values, truth))


METRIC = Metric("pearson", 1, "Pearson correlation", (-1.0, 1.0), compute)
