"""F1 averaged over the classes that have rows, each of the same weight, as WILDS reports it for iWildCam.

A class that no row is of is left out, even where it is predicted: those predictions count against the precision of
no class, and against the recall of their own (Koh et al. WILDS. 2021. arXiv:2012.07421).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._arrays import confusion

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In 0..1. Never undefined: a class has rows, so that its recall and with it its F1 have a value.

    A row with a logit that is not finite is wrong, and counts as a prediction of the next class.
    """
    counts = confusion(predictions, truth)
    true, found = [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]
    each: list[float] = [2 * counts[k][k] / (true[k] + found[k]) for k in range(len(counts)) if true[k]]
    return sum(each) / len(each)


METRIC = Metric(
    name="macro-f1", version=1, title="Macro F1", higher=True, range=(0.0, 1.0), reads="logits", compute=compute
)
