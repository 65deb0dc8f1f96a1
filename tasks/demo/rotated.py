"""Digits turned by several angles, each image by one of them: RotatedMNIST's definition on scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

SIZE = 32  # what the 8 x 8 images are enlarged to before they are turned


def rotate(
    load: Callable[[str], Mapping[str, Any]], angles: Sequence[int] = (0, 15, 30, 45, 60, 75), seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Split `all`: `image` uint8 (1797, 32, 32), `label` 0..9, `domain` the angle's digits.

    All images in one random order are dealt out to the angles in turn, and turned counter-clockwise (bilinear).
    """
    import numpy as np
    import PIL.Image

    parts = [load(split) for split in ("train", "test")]
    pixels = np.concatenate([part["image"] for part in parts])
    labels = np.concatenate([part["label"] for part in parts])
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(pixels))
    rows, domains = [], []
    for place, angle in enumerate(angles):
        mine = order[place :: len(angles)]
        rows += list(mine)
        domains += [angle] * len(mine)
    how = PIL.Image.Resampling.BILINEAR
    images = []
    for row, angle in zip(rows, domains, strict=True):
        enlarged = PIL.Image.fromarray(pixels[row]).resize((SIZE, SIZE), how)
        images.append(np.asarray(enlarged.rotate(angle, resample=how, fillcolor=0), dtype=np.uint8))
    return {"all": {"image": np.stack(images), "label": labels[rows], "domain": [str(angle) for angle in domains]}}
