"""Intersection over union (Jaccard index), per image and foreground class, then averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._masks import overlaps

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In 0..1, averaged over an image's foreground classes, then over images.

    A class on neither side does not count; an image with no class that counts has 1; a class on one side only 0.
    """
    return overlaps(predictions, truth, lambda shared, found, true: shared / (found + true - shared), best=1.0)


METRIC = Metric(name="iou", version=1, title="IoU", higher=True, range=(0.0, 1.0), reads="mask", compute=compute)
