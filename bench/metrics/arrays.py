"""What metrics read from predictions and labels, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def chosen(predictions: Mapping[str, NDArray[Any]], labels: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """(predicted classes, true classes), int64 (N,). A row with a logit that is nan predicts class -1: never right."""
    import numpy as np
    import torch

    logits = _rows(predictions, "logits", labels)
    classes = np.where(np.isnan(logits).any(axis=1), -1, np.nan_to_num(logits).argmax(axis=1))
    return torch.from_numpy(classes.astype(np.int64)), torch.from_numpy(labels.astype(np.int64))


def numbers(predictions: Mapping[str, NDArray[Any]], labels: NDArray[Any]) -> tuple[Tensor, Tensor] | None:
    """(predicted values, true values), float64 (N,); None where a correlation is undefined.

    That is: fewer than two rows, a constant column, or a prediction that is not finite.
    """
    import numpy as np
    import torch

    values, truth = _rows(predictions, "values", labels).astype(np.float64), labels.astype(np.float64)
    if len(truth) < 2 or not np.isfinite(values).all() or np.ptp(values) == 0 or np.ptp(truth) == 0:
        return None
    return torch.from_numpy(values), torch.from_numpy(truth)


def _rows(predictions: Mapping[str, NDArray[Any]], name: str, labels: NDArray[Any]) -> NDArray[Any]:
    if name not in predictions:
        raise UserError(f"The metric reads {name}; these predictions hold {', '.join(predictions)}: another problem's.")
    found = predictions[name]
    if len(found) != len(labels) or not len(labels):
        raise UserError(
            f"The metric needs as many predictions as labels, at least one: {len(found)} and {len(labels)}."
        )
    return found
