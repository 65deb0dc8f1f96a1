"""95 % Hausdorff distance in pixels, per image and foreground class, then averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._masks import surfaces

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In pixels of the masks, averaged over an image's foreground classes, then over images; 0 is best.

    The larger of two 95th percentiles (interpolated): of the distances from each pixel of the predicted boundary to
    the true one, and of those back. A class on neither side does not count; an image with no class that counts has
    0; a class on one side only has the image's diagonal, sqrt(height^2 + width^2), more than any distance in it.
    """
    return surfaces(predictions, truth, _distance, best=0.0, worst=math.hypot)


def _distance(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    there, back = distance_transform_edt(~true)[found], distance_transform_edt(~found)[true]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


METRIC = Metric(
    name="hausdorff95",
    version=1,
    title="95 % Hausdorff distance (pixels)",
    higher=False,
    range=(0.0, math.inf),
    reads="mask",
    compute=compute,
)
