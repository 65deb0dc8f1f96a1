"""What the metrics of segmentation share: checks, the loop over images and classes, boundaries.

A value is computed for each image and each foreground class (all but class 0), then averaged over the classes that
count, then over the images. With empty masks:

- A class without a pixel in truth and prediction does not count in that image.
- An image in which no class counts has the metric's best value: it is right that nothing is there.
- A class that is empty on one side only has the metric's worst value.

So MONAI's functions with their `ignore_empty=False` are followed, but for a class that is on neither side, which
there has the value 1 or nan, and for distances to an empty mask, which there are infinite or nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.metrics import Truth

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Mask = NDArray[np.bool_]


def overlaps(
    predictions: Mapping[str, Array], truth: Truth, value: Callable[[Array, Array, Array], Array], best: float
) -> float:
    """The mean of `value(shared, found, true)`: pixels per foreground class in both masks, the found and the true."""
    import numpy as np

    found, true, classes = masks(predictions, truth)
    values = []
    for one, other in zip(found, true):
        pairs = np.bincount((other.astype(np.intp) * classes + one).ravel(), minlength=classes * classes)
        counts = pairs.reshape(classes, classes)
        sizes = counts.sum(axis=0)[1:], counts.sum(axis=1)[1:]
        counted = (sizes[0] + sizes[1]) > 0
        per_class = value(counts.diagonal()[1:][counted], sizes[0][counted], sizes[1][counted])
        values.append(math.fsum(per_class) / len(per_class) if len(per_class) else best)
    return math.fsum(values) / len(values)


def surfaces(
    predictions: Mapping[str, Array],
    truth: Truth,
    value: Callable[[Mask, Mask], float],
    best: float,
    worst: Callable[[int, int], float],
) -> float:
    """The mean of `value(found, true)`: the boundaries of one class in both masks, neither empty.

    `worst(height, width)` is the value of a class that is empty on one side only.
    """
    found, true, _ = masks(predictions, truth)
    values = []
    for one, other in zip(found, true):
        per_class = [_surface(one == number, other == number, value, worst) for number in _present(one, other)]
        values.append(math.fsum(per_class) / len(per_class) if per_class else best)
    return math.fsum(values) / len(values)


def masks(predictions: Mapping[str, Array], truth: Truth) -> tuple[Array, Array, int]:
    """Predicted and true class numbers (N, height, width), and how many classes there are; UserError where unfit."""
    labels = truth.labels
    if "mask" not in predictions:
        raise UserError(f"The metric reads mask; these predictions hold {', '.join(predictions)}: another problem's.")
    found = predictions["mask"]
    if found.ndim != 3 or found.shape != labels.shape or not found.size:
        raise UserError(
            "The metric needs predicted and true masks (images, height, width) of one shape, at least one image: "
            f"{found.shape} and {labels.shape}."
        )
    if found.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise UserError(f"The metric needs class numbers; these masks hold {found.dtype} and {labels.dtype}.")
    classes = truth.classes or int(max(found.max(), labels.max(), 1)) + 1
    lowest, highest = min(found.min(), labels.min()), max(found.max(), labels.max())
    if lowest < 0 or highest >= classes:
        raise UserError(f"The metric needs classes from 0 to {classes - 1}; these masks go from {lowest} to {highest}.")
    return found, labels, classes


def boundary(mask: Mask) -> Mask:
    """The pixels of a mask with a neighbour above, below, left or right outside of it; outside the image is outside."""
    inside = mask.copy()
    inside[1:] &= mask[:-1]
    inside[:-1] &= mask[1:]
    inside[:, 1:] &= mask[:, :-1]
    inside[:, :-1] &= mask[:, 1:]
    inside[[0, -1]] = False
    inside[:, [0, -1]] = False
    edge: Mask = mask & ~inside
    return edge


def _present(one: Array, other: Array) -> list[int]:
    """The foreground classes that have a pixel in either mask."""
    import numpy as np

    counts = np.bincount(one.ravel(), minlength=1), np.bincount(other.ravel(), minlength=1)
    return sorted({int(number) for count in counts for number in np.flatnonzero(count)} - {0})


def _surface(
    found: Mask, true: Mask, value: Callable[[Mask, Mask], float], worst: Callable[[int, int], float]
) -> float:
    height, width = found.shape
    if not (found.any() and true.any()):
        return worst(height, width)
    edges = boundary(found), boundary(true)
    down, across = _extent(edges[0] | edges[1])
    return value(edges[0][down, across], edges[1][down, across])


def _extent(mask: Mask) -> tuple[slice, slice]:
    """The rows and columns that hold the mask's pixels."""
    import numpy as np

    down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(down[0]), int(down[-1]) + 1), slice(int(across[0]), int(across[-1]) + 1)
