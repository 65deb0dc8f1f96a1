"""Spearman's correlation: Pearson's of the ranks, equal values sharing their mean rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._arrays import correlation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In -1..1; -1 where a prediction is not finite, 0 where it is undefined: one row, a constant column.

    Not torchmetrics' own: its denominator is 1e-6 too large (three rows in perfect order give 0.9999985), and
    its sums of equal ranks are 32-bit integers, which overflow at some hundred thousand rows.
    """
    return correlation(predictions, truth, _ranks)


def _ranks(column: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    _, places, counts = np.unique(column, return_inverse=True, return_counts=True)
    ranks: NDArray[Any] = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


METRIC = Metric(
    name="spearman",
    version=1,
    title="Spearman correlation",
    higher=True,
    range=(-1.0, 1.0),
    reads="values",
    compute=compute,
)
