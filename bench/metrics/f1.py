"""F1 of class 1 (harmonic mean of precision and recall), as GLUE reports it for MRPC and QQP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.metrics import Metric, Truth
from bench.metrics._arrays import confusion

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In 0..1; 0 where no row is of class 1 and none is predicted to be.

    A row with a logit that is not finite is wrong. UserError unless there are two classes.
    """
    counts = confusion(predictions, truth)
    if len(counts) != 2:
        raise UserError(f"f1 is for two classes; these predictions are of {len(counts)}.")
    right = counts[1][1]
    wrong = counts[0][1] + counts[1][0]
    return 2 * right / (2 * right + wrong) if right + wrong else 0.0


METRIC = Metric(name="f1", version=1, title="F1", higher=True, range=(0.0, 1.0), reads="logits", compute=compute)
