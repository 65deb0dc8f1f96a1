"""Generated pictures of cells as a microscope might show them, with a mask of cytoplasm and nuclei.

Nothing is downloaded: every image is a function of the seed, its split and its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLITS = {"train": 160, "val": 40, "test": 100}
CYTOPLASM, NUCLEUS = 1, 2


def cells(size: int = 64, rows: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, dict[str, Any]]:
    """`image` uint8 (N, size, size) and `mask` uint8 (N, size, size), 0 background, 1 cytoplasm, 2 nucleus.

    `rows` says how many images each split has, by default 160 in train, 40 in val, 100 in test.
    """
    import numpy as np

    made = {}
    for place, (split, count) in enumerate((rows or SPLITS).items()):
        pictures = [
            _picture(np.random.Generator(np.random.Philox(key=[seed, (place << 32) + number])), size)
            for number in range(count)
        ]
        made[split] = {
            "image": np.stack([image for image, _ in pictures]),
            "mask": np.stack([mask for _, mask in pictures]),
        }
    return made


def _picture(draw: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One image and its mask. Light, stain and sharpness differ from image to image, grey levels from cell to cell."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    down, across = (np.mgrid[0:size, 0:size] + 0.5).astype(np.float32)
    level = np.full((size, size), draw.uniform(0.1, 0.2), dtype=np.float32)
    mask = np.zeros((size, size), dtype=np.uint8)
    stain = draw.uniform(0.22, 0.36)
    for middle, radius in _places(draw, size):
        around = _outline(draw, down - middle[0], across - middle[1], radius)
        cell = around < 1
        body = draw.uniform(0.36, 0.56)
        level[cell] = body - 0.08 * around[cell] ** 2  # flatter, so darker, towards its rim
        offset = draw.uniform(-0.25, 0.25, 2) * radius
        inner = _outline(draw, down - middle[0] - offset[0], across - middle[1] - offset[1], radius * 0.52, 0.06)
        nucleus = (inner < 1) & (around < 0.9)
        # Most nuclei are brighter than their cytoplasm, some darker; neither is a grey level of its own.
        level[nucleus] = body + stain * (draw.uniform(0.7, 1.2) if draw.random() < 0.65 else -draw.uniform(0.6, 0.8))
        mask[cell], mask[nucleus] = CYTOPLASM, NUCLEUS
    _debris(draw, level, down, across)
    level = level + 0.1 * gaussian_filter(draw.normal(size=level.shape), 1.5)  # grain of the tissue
    level = gaussian_filter(level, draw.uniform(0.5, 0.9))
    slope = draw.uniform(-0.4, 0.4, 2)
    light = draw.uniform(0.8, 1.15) + (slope[0] * (down / size - 0.5) + slope[1] * (across / size - 0.5))
    noisy = level * light + draw.normal(size=level.shape) * draw.uniform(0.02, 0.04)
    return (noisy.clip(0, 1) * 255).round().astype(np.uint8), mask


def _places(draw: np.random.Generator, size: int) -> list[tuple[NDArray[np.float64], float]]:
    """Middles (down, across) and radii in pixels of 3 to 7 cells; every second one touches the cell before it."""
    import numpy as np

    found: list[tuple[NDArray[np.float64], float]] = []
    for number in range(int(draw.integers(3, 8))):
        radius = float(draw.uniform(0.13, 0.19)) * size
        middle = draw.uniform(0.1, 0.9, 2) * size
        if number % 2:
            last, beside = found[-1]
            angle = draw.uniform(0, 2 * np.pi)
            middle = last + 0.95 * (radius + beside) * np.array([np.sin(angle), np.cos(angle)])
            middle = middle.clip(0.05 * size, 0.95 * size)
        found.append((middle, radius))
    return found


def _outline(
    draw: np.random.Generator, down: NDArray[Any], across: NDArray[Any], radius: float, uneven: float = 0.1
) -> NDArray[np.float32]:
    """Distance from the middle in units of an uneven ellipse's radius: below 1 inside. Shape of `down`, in pixels."""
    import numpy as np

    angle, stretch = draw.uniform(0, np.pi), draw.uniform(1, 1.35)
    along = (across * np.cos(angle) + down * np.sin(angle)) / stretch
    over = (down * np.cos(angle) - across * np.sin(angle)) * stretch
    turn = np.arctan2(over, along)
    waves = np.arange(2, 6)
    heights, phases = draw.normal(size=4) * uneven / np.sqrt(waves), draw.uniform(0, 2 * np.pi, 4)
    edge = 1 + sum(height * np.cos(wave * turn + phase) for wave, height, phase in zip(waves, heights, phases))
    found: NDArray[np.float32] = (np.hypot(along, over) / (radius * np.maximum(edge, 0.5))).astype(np.float32)
    return found


def _debris(draw: np.random.Generator, level: NDArray[np.float32], down: NDArray[Any], across: NDArray[Any]) -> None:
    """Specks and fibres drawn into `level`, as bright as cells or nuclei; they are no part of any class."""
    import numpy as np

    size = len(level)
    for _ in range(int(draw.integers(3, 8))):
        middle, angle = draw.uniform(0, size, 2), draw.uniform(0, np.pi)
        length, width = (
            draw.uniform(5, 12) if draw.random() < 0.4 else draw.uniform(0.8, 2),
            draw.uniform(0.6, 1.3),
        )
        along = (across - middle[1]) * np.cos(angle) + (down - middle[0]) * np.sin(angle)
        over = (down - middle[0]) * np.cos(angle) - (across - middle[1]) * np.sin(angle)
        speck = (np.abs(along) < length) & (np.abs(over) < width)
        level[speck] = draw.uniform(0.3, 0.9)
