"""How many classes there are, from labelled rows alone (Vaze et al. Generalized Category Discovery. 2022).

As the authors' code has it (github.com/sgvaze/generalized-category-discovery, methods/estimate_k): plain k-means over
all rows, judged by the clustering accuracy of the labelled ones, maximised over k by Brent's bounded search between
the number of known classes and a bound.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.optimize import linear_sum_assignment, minimize_scalar

from ._clustering import Array, plain


def estimate(rows: Array, labels: Array, known: int, most: int, seed: int, inits: int, iterations: int) -> int:
    """The number of clusters of `rows`, from `known` to `most`; `labels` are -1 where there is none.

    A cluster number's accuracy does not depend on which others were tried. ValueError without a labelled row.
    """
    labelled = labels >= 0
    if not labelled.any():
        raise ValueError("without a labelled row there is nothing to judge a number of classes by")
    low, high = max(2, known), min(most, len(rows))
    if high <= low:
        return low

    @cache
    def accuracy(count: int) -> float:
        found = plain(rows, count, np.random.Generator(np.random.Philox(key=seed)), inits, iterations)
        return clustering_accuracy(found.places[labelled], labels[labelled])

    found = minimize_scalar(lambda count: -accuracy(int(count)), bounds=(low, high), method="bounded")
    return int(found.x)


def clustering_accuracy(places: Array, labels: Array) -> float:
    """The share of rows whose cluster is matched with their class, by the best assignment."""
    counts = np.zeros((int(places.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (places, labels), 1)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum()) / len(labels)
