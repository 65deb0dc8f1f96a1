"""Intervals by resampling, as options beside the default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.boards.measures import LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 2000


def bootstrap(values: NDArray[Any]) -> float:
    """Half the width of the two-way percentile bootstrap of a mean: replicates and items (rows, columns) redrawn."""
    import numpy as np

    drawn = np.random.default_rng(0)
    rows, columns = values.shape
    made = np.empty(DRAWS)
    for place in range(DRAWS):
        by_row = np.bincount(drawn.integers(0, rows, rows), minlength=rows) / rows
        by_column = np.bincount(drawn.integers(0, columns, columns), minlength=columns) / columns
        made[place] = by_row @ values @ by_column
    return _half(made)


def interquartile(values: Sequence[float]) -> float:
    """Half the width of the bootstrap of an interquartile mean over seeds (Agarwal et al. 2021)."""
    import numpy as np
    from scipy.stats import trim_mean

    drawn = np.random.default_rng(0)
    samples = drawn.choice(np.asarray(values), size=(DRAWS, len(values)))
    return _half(trim_mean(samples, 0.25, axis=1))


def _half(made: NDArray[Any]) -> float:
    import numpy as np

    low, high = np.quantile(made, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float((high - low) / 2)
