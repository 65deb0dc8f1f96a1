"""Pearson's correlation of predicted and true values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._arrays import correlation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In -1..1; -1 where a prediction is not finite, 0 where it is undefined: one row, a constant column."""
    return correlation(predictions, truth, _centred)


def _centred(column: NDArray[Any]) -> NDArray[Any]:
    """The column less its mean, in a unit near 1, so that neither offset nor unit costs digits."""
    scaled = _scaled(column)
    return _scaled(scaled - scaled.mean())


def _scaled(column: NDArray[Any]) -> NDArray[Any]:
    """Divided by a power of two, which is exact, so that the largest size is between 0.5 and 1."""
    import numpy as np

    scaled: NDArray[Any] = np.ldexp(column, -np.frexp(np.abs(column).max())[1])
    return scaled


METRIC = Metric(
    name="pearson",
    version=1,
    title="Pearson correlation",
    higher=True,
    range=(-1.0, 1.0),
    reads="values",
    compute=compute,
)
