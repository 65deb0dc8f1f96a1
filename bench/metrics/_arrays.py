"""What several metrics compute from predictions and labels, and the checks they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.metrics import Truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Predictions = Mapping[str, Array]


def confusion(predictions: Predictions, truth: Truth) -> list[list[int]]:
    """How many rows of true class i were predicted as class j, at [i][j]: whole numbers, exact.

    The highest logit predicts, the first of equal ones. A row with a logit that is not finite counts as a
    prediction of the class after the true one (the first after the last), which is wrong.
    """
    import numpy as np
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    logits = rows(predictions, "logits", 2, truth)
    count = logits.shape[1]
    if count < 2 or truth.classes not in (None, count):
        raise UserError(f"The metric needs logits for {truth.classes} classes; these predictions hold {count}.")
    labels = truth.labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= count:
        low, high = labels.min(), labels.max()
        raise UserError(f"The metric needs labels from 0 to {count - 1}; these run from {low} to {high}.")
    finite = np.isfinite(logits).all(axis=1)
    found = np.where(finite, logits.argmax(axis=1), (labels + 1) % count)
    matrix = multiclass_confusion_matrix(torch.tensor(found), torch.tensor(labels), num_classes=count)
    counts: list[list[int]] = matrix.tolist()
    return counts


def correlation(predictions: Predictions, truth: Truth, each: Callable[[Array], Array]) -> float:
    """Pearson's correlation of `each(values)` with `each(labels)`, in float64.

    -1 where a predicted value is not finite; else 0 where it is undefined: one row, or a constant column.
    """
    import numpy as np
    import torch
    from torchmetrics.functional.regression import pearson_corrcoef

    values = rows(predictions, "values", 1, truth).astype(np.float64)
    labels = truth.labels.astype(np.float64)
    if not np.isfinite(labels).all():
        raise UserError("The metric needs labels that are finite numbers.")
    if not np.isfinite(values).all():
        return -1.0
    if (values == values[0]).all() or (labels == labels[0]).all():
        return 0.0
    return float(pearson_corrcoef(torch.tensor(each(values)), torch.tensor(each(labels))))


def rows(predictions: Predictions, name: str, dimensions: int, truth: Truth) -> Array:
    """The array `name` of the predictions; UserError where it does not fit the labels, which have one dimension."""
    labels = truth.labels
    if name not in predictions:
        there = ", ".join(predictions)
        raise UserError(f"The metric reads {name}; these predictions hold {there}: another problem's.")
    found = predictions[name]
    if found.ndim != dimensions or labels.ndim != 1:
        shapes = f"{found.ndim} and {labels.ndim}"
        raise UserError(f"The metric needs {name} of {dimensions} and labels of 1 dimension: {shapes}.")
    if len(found) != len(labels) or not len(labels):
        sizes = f"{len(found)} and {len(labels)}"
        raise UserError(f"The metric needs as many predictions as labels, at least one: {sizes}.")
    return found
