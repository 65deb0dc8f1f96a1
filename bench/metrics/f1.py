"""F1 of class 1 against class 0, as GLUE reports it for MRPC and QQP (harmonic mean of precision and recall)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.metrics import Metric
from bench.metrics.arrays import chosen

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], labels: NDArray[Any], classes: int | None) -> float:
    """In 0..1; 0 where no row is of class 1 and none is predicted to be. A row with nan counts as predicted wrongly."""
    from torchmetrics.functional.classification import binary_f1_score

    if classes != 2:
        raise UserError(f"f1 is for two classes; this task has {classes}.")
    found, truth = chosen(predictions, labels)
    found[found < 0] = 1 - truth[found < 0]
    return float(binary_f1_score(found.double(), truth))


METRIC = Metric("f1", 1, "F1", (0.0, 1.0), compute)
