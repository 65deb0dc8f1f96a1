"""Matthews correlation of predicted and true classes (Matthews 1975; for several, Gorodkin 2004)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric
from bench.metrics.arrays import chosen

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], labels: NDArray[Any], classes: int | None) -> float:
    """In -1..1; 0 where all predictions, or all labels, are one class. A row with nan counts as a wrong class."""
    from torchmetrics.functional.classification import multiclass_matthews_corrcoef

    found, truth = chosen(predictions, labels)
    count = int(classes or 2)
    found[found < 0] = (truth[found < 0] + 1) % count
    if bool((found == found[0]).all()) or bool((truth == truth[0]).all()):
        return 0.0
    return float(multiclass_matthews_corrcoef(found, truth, num_classes=count))


METRIC = Metric("matthews", 1, "Matthews correlation", (-1.0, 1.0), compute)
