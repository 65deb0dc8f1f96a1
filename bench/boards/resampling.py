"""Intervals by resampling, as options beside the default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.boards.measures import LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 2000
_EXACT, _FLIPS = 12, 10_000


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


def sign_flips(gaps: NDArray[Any]) -> float:
    """The p-value of a paired permutation test: how often signs at random give a mean as far from nought.

    `gaps` are differences of items (each the mean over seeds) or of seeds. All 2^n signs where there are at most 12
    gaps, 10,000 at random otherwise. Five seeds cannot give less than 1/16; items can.
    """
    import itertools

    import numpy as np

    count = len(gaps)
    if count <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))
        far = np.abs(signs @ gaps) >= abs(gaps.sum()) - 1e-12
        return float(far.mean())
    drawn = np.random.default_rng(0)
    signs = drawn.integers(0, 2, (_FLIPS, count), dtype=np.int8) * 2.0 - 1.0
    far = np.abs(signs @ gaps) >= abs(gaps.sum()) - 1e-12
    return float((1 + far.sum()) / (1 + _FLIPS))


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
