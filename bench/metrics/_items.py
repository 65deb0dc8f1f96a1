"""What each test row adds to a metric that is a mean over rows: the evidence that comparisons are made on.

These functions stand apart from the metrics' own files because they change no score, so that no key depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Truth
from bench.metrics._arrays import rows
from bench.metrics._masks import masks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def items(name: str, predictions: Mapping[str, Array], truth: Truth) -> Array | None:
    """One value per row whose mean is the metric, float64 (N,); None for a metric that is no mean over rows."""
    found = _ITEMS.get(name)
    return None if found is None else found(predictions, truth)


def _right(predictions: Mapping[str, Array], truth: Truth) -> Array:
    import numpy as np

    logits = rows(predictions, "logits", 2, truth)
    right = np.isfinite(logits).all(axis=1) & (logits.argmax(axis=1) == truth.labels)
    made: Array = right.astype(np.float64)
    return made


def _dice(predictions: Mapping[str, Array], truth: Truth) -> Array:
    return _overlap(predictions, truth, lambda shared, found, true: 2 * shared / (found + true))


def _iou(predictions: Mapping[str, Array], truth: Truth) -> Array:
    return _overlap(predictions, truth, lambda shared, found, true: shared / (found + true - shared))


def _overlap(predictions: Mapping[str, Array], truth: Truth, value: Callable[[Array, Array, Array], Array]) -> Array:
    """Per image, the mean over the foreground classes that count; 1 where none does."""
    import numpy as np

    found, true, classes = masks(predictions, truth)
    made = np.ones(len(found))
    for place, (one, other) in enumerate(zip(found, true)):
        pairs = np.bincount((other.astype(np.intp) * classes + one).ravel(), minlength=classes * classes)
        counts = pairs.reshape(classes, classes)
        sizes = counts.sum(axis=0)[1:], counts.sum(axis=1)[1:]
        counted = (sizes[0] + sizes[1]) > 0
        if counted.any():
            made[place] = value(counts.diagonal()[1:][counted], sizes[0][counted], sizes[1][counted]).mean()
    return made


_ITEMS: dict[str, Callable[[Mapping[str, Array], Truth], Array]] = {"accuracy": _right, "dice": _dice, "iou": _iou}
