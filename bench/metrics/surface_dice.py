"""Normalised surface Dice: the share of both boundaries that lies within a pixel of the other one.

Nikolov et al. Deep learning to achieve clinically applicable segmentation of head and neck anatomy for radiotherapy.
2018. arXiv:1809.04430; a boundary's length is the number of its pixels, as in MONAI without subvoxels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._masks import surfaces

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In 0..1 at a tolerance of one pixel, averaged over an image's foreground classes, then over images.

    A class on neither side does not count; an image with no class that counts has 1; a class on one side only 0.
    """
    return surfaces(predictions, truth, _agreement, best=1.0, worst=lambda height, width: 0.0)


def _agreement(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    near = int((found & _widened(true)).sum() + (true & _widened(found)).sum())
    return near / int(found.sum() + true.sum())


def _widened(edge: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels at a distance of at most 1: the boundary's own and their four neighbours."""
    near = edge.copy()
    near[1:] |= edge[:-1]
    near[:-1] |= edge[1:]
    near[:, 1:] |= edge[:, :-1]
    near[:, :-1] |= edge[:, 1:]
    return near


METRIC = Metric(
    name="surface-dice",
    version=1,
    title="Surface Dice (1 pixel)",
    higher=True,
    range=(0.0, 1.0),
    reads="mask",
    compute=compute,
)
