"""Waves on small images; the label is their direction."""

import numpy as np


def waves(rows):
    return {split: _make(rows, place, classes=3) for place, split in enumerate(("train", "test"))}


def angles(rows):
    return {split: _make(rows, place, classes=None) for place, split in enumerate(("train", "test"))}


def _make(rows, seed, classes):
    drawn = np.random.default_rng(seed)
    labels = drawn.integers(classes, size=rows) / (classes - 1) if classes else drawn.random(rows)
    down, across = np.mgrid[0:8, 0:8] / 8 * 6
    angle = (np.pi / 2 * labels)[:, None, None]
    images = 127 + 90 * np.sin(np.cos(angle) * across + np.sin(angle) * down + drawn.random((rows, 1, 1)))
    noise = drawn.normal(0, 12, size=images.shape)
    column = (labels * (classes - 1)).round().astype(int) if classes else labels
    return {"image": (images + noise).clip(0, 255).astype(np.uint8), "label": column}
