"""Waves on small images, seen from four places."""

import numpy as np

PLACES = ("north", "east", "south", "west")


def waves(rows):
    drawn = np.random.default_rng(7)
    labels = drawn.integers(3, size=rows)
    down, across = np.mgrid[0:8, 0:8] / 8 * 6
    angle = (np.pi / 4 * labels)[:, None, None]
    images = 127 + 90 * np.sin(np.cos(angle) * across + np.sin(angle) * down + drawn.random((rows, 1, 1)))
    pixels = (images + drawn.normal(0, 12, size=images.shape)).clip(0, 255).astype(np.uint8)
    return {"train": {"image": pixels, "label": labels, "place": [PLACES[row % 4] for row in range(rows)]}}
