"""Accuracy of each group of rows, which the metrics over groups share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import UserError
from bench.metrics import Truth
from bench.metrics._arrays import confusion, rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.metrics._arrays import Predictions


def group_accuracies(predictions: Predictions, truth: Truth) -> NDArray[np.float64]:
    """The accuracy of each group that has rows, (groups,), in the order of their numbers.

    `truth.groups` holds a whole number per row, where a negative one says that the row is in none, or membership
    (N, groups), where a row may be in several or in none. Where no row is in a group all rows are one group. A row
    with a logit that is not finite is wrong; of equal logits the first counts. UserError without groups.
    """
    import numpy as np

    confusion(predictions, truth)  # its checks of logits and labels
    logits = rows(predictions, "logits", 2, truth)
    right = np.isfinite(logits).all(axis=1) & (logits.argmax(axis=1) == truth.labels)
    sizes, hits = _counts(truth, right)
    there = sizes > 0
    if not there.any():
        return np.array([right.mean()])
    found: NDArray[np.float64] = hits[there] / sizes[there]
    return found


def _counts(truth: Truth, right: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows, and right ones, of each group."""
    import numpy as np

    groups = truth.groups
    if groups is None:
        raise UserError("The metric looks at groups of rows one by one, and the task declares none (`group: COLUMN`).")
    if groups.ndim not in (1, 2) or len(groups) != len(right) or groups.dtype.kind not in "iub":
        raise UserError(
            f"The metric needs a whole number per row, or membership (rows, groups), as groups of {len(right)} rows; "
            f"these are {groups.dtype} {groups.shape}."
        )
    if groups.ndim == 2:
        members = groups.astype(bool)
        return members.sum(axis=0), members[right].sum(axis=0)
    inside = groups.astype(np.int64) >= 0
    numbers, place = np.unique(groups[inside], return_inverse=True)
    weights = right[inside].astype(np.int64)
    return np.bincount(place, minlength=len(numbers)), np.bincount(place[weights > 0], minlength=len(numbers))
