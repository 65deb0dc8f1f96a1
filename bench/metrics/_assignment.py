"""Clusters matched with classes, once, over all classes: what the metrics of category discovery share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.errors import UserError
from bench.metrics import Truth
from bench.metrics._arrays import rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.metrics._arrays import Predictions


@dataclass(frozen=True)
class Matched:
    """Rows of known and of unknown classes, and how many of each lie in the cluster matched with their class."""

    old: int
    old_rows: int
    new: int
    new_rows: int


def matched(predictions: Predictions, truth: Truth) -> Matched:
    """Match clusters with classes so that as many rows as possible lie in their class's cluster.

    A row's cluster is the place of its highest logit, the first of equal ones; a row with a logit that is not finite
    is in no cluster, and wrong. One assignment over all classes serves every share that is made of it, as in "v2" of
    Vaze et al. (Generalized Category Discovery, 2022, arXiv:2201.02609). Where several assignments match as many rows,
    that counts which matches the most rows of known classes, so that the result depends neither on the order of rows
    nor on the clusters' numbers. Known classes are the first `truth.known`, none where it is not given.
    """
    import numpy as np

    logits = rows(predictions, "logits", 2, truth)
    labels = truth.labels.astype(np.int64)
    clusters, classes = logits.shape[1], truth.classes or int(labels.max()) + 1
    if labels.min() < 0 or labels.max() >= classes:
        low, high = labels.min(), labels.max()
        raise UserError(f"The metric needs labels from 0 to {classes - 1}; these run from {low} to {high}.")
    if not clusters:
        raise UserError("The metric needs logits for at least one cluster; these predictions hold none.")
    finite = np.isfinite(logits).all(axis=1)
    counts = np.zeros((clusters, classes), dtype=np.int64)
    np.add.at(counts, (logits[finite].argmax(axis=1), labels[finite]), 1)
    known = truth.known or 0
    right = _right(counts, known)
    old_rows = int((labels < known).sum())
    return Matched(int(right[:known].sum()), old_rows, int(right[known:].sum()), len(labels) - old_rows)


def known_of(truth: Truth) -> Truth:
    """The truth itself; UserError where it does not say which classes are known."""
    if truth.known is None:
        raise UserError("The metric needs the number of known classes, which only category discovery has.")
    return truth


def _right(counts: NDArray[np.int64], known: int) -> NDArray[np.int64]:
    """The matched rows of each class, from rows by (cluster, class)."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    weights = counts * (int(counts.sum()) + 1)  # whole numbers, exact in the solver's float64 below 2^53
    weights[:, :known] += counts[:, :known]
    places = linear_sum_assignment(weights, maximize=True)  # no padding: what is left over matches nothing
    right = np.zeros(counts.shape[1], dtype=np.int64)
    right[places[1]] = counts[places]
    return right
