"""The metrics of segmentation against MONAI's, and the stated values where masks are empty."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bench.core.errors import UserError
from bench.metrics import Truth, metric

Array = NDArray[Any]
NAMES = ["dice", "iou", "hausdorff95", "surface-dice"]
BEST = {"dice": 1.0, "iou": 1.0, "hausdorff95": 0.0, "surface-dice": 1.0}
WORST = {"dice": 0.0, "iou": 0.0, "hausdorff95": math.hypot(24, 32), "surface-dice": 0.0}
SHAPE = (24, 32)


def value(name: str, found: Array, true: Array, classes: int | None = None) -> float:
    return metric(name).compute({"mask": found}, Truth(true, classes))


def blobs(seed: int, count: int, classes: int, shape: tuple[int, int] = SHAPE) -> tuple[Array, Array]:
    """Found and true masks: round regions that touch borders, each other and not always anything."""
    drawn = np.random.default_rng(seed)
    fields = gaussian_filter(drawn.normal(size=(classes, count, *shape)), (0, 0, 3, 3))
    fields[5:] -= 0.2  # a class that few images hold
    noise = gaussian_filter(drawn.normal(size=(classes, count, *shape)), (0, 0, 2, 2))
    return fields.argmax(0).astype(np.uint8), (fields + noise / 2).argmax(0).astype(np.uint8)


def oracle(name: str, found: Array, true: Array, classes: int) -> Array:
    """MONAI's value of each image and foreground class; nan where a class is on neither side."""
    from monai.metrics import (
        DiceHelper,
        compute_hausdorff_distance,
        compute_iou,
        compute_surface_dice,
    )

    one, other = (torch.from_numpy(np.eye(classes, dtype=np.float32)[mask]).movedim(-1, 1) for mask in (found, true))
    made = {
        "dice": lambda: DiceHelper(include_background=False, ignore_empty=False, reduction="none", get_not_nans=False)(
            one, other
        ),
        "iou": lambda: compute_iou(one, other, include_background=False, ignore_empty=False),
        "hausdorff95": lambda: compute_hausdorff_distance(one, other, percentile=95),
        "surface-dice": lambda: compute_surface_dice(one, other, [1.0] * (classes - 1)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values: Array = made[name]().numpy().astype(float)
    values[~np.isfinite(values)] = WORST[name]  # the distance to an empty mask
    values[((one + other).sum((2, 3))[:, 1:] == 0).numpy()] = np.nan
    return values


def averaged(values: Array, name: str) -> float:
    """Over the classes that count, then over images."""
    images = [row[~np.isnan(row)] for row in values]
    return float(np.mean([row.mean() if len(row) else BEST[name] for row in images]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_blobs_agree_with_monai(name: str, classes: int) -> None:
    found, true = blobs(classes, 12, classes)
    expected = oracle(name, found, true, classes)
    assert np.isnan(expected).any() == (classes == 6)  # classes on neither side are among them
    assert value(name, found, true, classes) == pytest.approx(averaged(expected, name), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_thin_and_scattered_pixels_agree_with_monai(name: str, seed: int) -> None:
    """Single pixels, lines, masks that fill the image, and those on its border."""
    drawn = np.random.default_rng(seed)
    found, true = (drawn.random((2, 8, *SHAPE)) < [[[[0.01]]], [[[0.3]]]]).astype(np.uint8)
    found[0], true[0] = 0, 0
    found[0, 3, 4], true[0, 20, 30] = 1, 1
    found[1], true[1] = 1, 1
    true[1, 5, 5] = 0
    found[2], true[2] = 0, 0
    found[2, 0], true[2, :, -1] = 1, 1
    found[3] = 1
    assert value(name, found, true, 2) == pytest.approx(averaged(oracle(name, found, true, 2), name), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_equal_masks_have_the_best_value(name: str) -> None:
    _, true = blobs(0, 4, 4)
    assert value(name, true, true, 4) == BEST[name]


@pytest.mark.parametrize("name", NAMES)
def test_empty_masks_have_the_stated_values(name: str) -> None:
    empty, full = np.zeros((1, *SHAPE), np.uint8), np.zeros((1, *SHAPE), np.uint8)
    full[0, 4:9, 4:9] = 1
    assert value(name, empty, empty, 2) == BEST[name]
    assert value(name, full, empty, 2) == WORST[name]
    assert value(name, empty, full, 2) == WORST[name]
    both = value(name, np.concatenate([empty, empty]), np.concatenate([empty, full]), 2)
    assert both == pytest.approx((BEST[name] + WORST[name]) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_only_classes_that_are_somewhere_count(name: str) -> None:
    """Class 1 is found as it is, class 2 is missed, class 3 is nowhere; then class 3 is found where there is none."""
    true = np.zeros((1, *SHAPE), np.uint8)
    true[0, :6, :6], true[0, 10:15, 10:15] = 1, 2
    found = np.where(true == 2, 0, true).astype(np.uint8)
    assert value(name, found, true, 4) == pytest.approx((BEST[name] + WORST[name]) / 2)
    found[0, 20:, 20:] = 3
    assert value(name, found, true, 4) == pytest.approx((BEST[name] + 2 * WORST[name]) / 3)


def test_values_that_can_be_counted() -> None:
    """A square of 4 x 4 moved by 2 to the right."""
    found, true = np.zeros((2, 1, *SHAPE), np.uint8)
    found[0, 5:9, 5:9], true[0, 5:9, 7:11] = 1, 1
    assert value("dice", found, true) == 0.5
    assert value("iou", found, true) == pytest.approx(1 / 3)
    assert value("hausdorff95", found, true) == 2
    # Of 12 boundary pixels 3 of the upper side, 3 of the lower and the 2 between, on one side, are near the other's.
    assert value("surface-dice", found, true) == pytest.approx(8 / 12)


@pytest.mark.parametrize("name", NAMES)
def test_neither_order_nor_splitting_matters(name: str) -> None:
    found, true = blobs(5, 10, 3)
    whole, order = value(name, found, true, 3), np.random.default_rng(0).permutation(10)
    assert value(name, found[order], true[order], 3) == whole
    alone = [value(name, found[row : row + 1], true[row : row + 1], 3) for row in range(10)]
    assert math.fsum(alone) / 10 == whole


@pytest.mark.parametrize("name", ["hausdorff95", "surface-dice"])
def test_the_two_masks_may_be_exchanged_and_turned(name: str) -> None:
    found, true = blobs(6, 4, 3)
    expected = pytest.approx(value(name, found, true, 3), rel=1e-12)
    assert value(name, true, found, 3) == expected
    assert value(name, np.rot90(found, axes=(1, 2)).copy(), np.rot90(true, axes=(1, 2)).copy(), 3) == expected


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_a_sentence(name: str) -> None:
    mask = np.ones((2, 4, 4), np.uint8)
    with pytest.raises(UserError, match="another problem"):
        metric(name).compute({"logits": mask}, Truth(mask, 2))
    for other in (mask[:1], mask[:, :2], mask[0], mask[:0]):
        with pytest.raises(UserError, match="of one shape"):
            value(name, other, mask, 2)
    with pytest.raises(UserError, match="at least one"):
        value(name, mask[:0], mask[:0], 2)
    with pytest.raises(UserError, match="from 0 to 1; these masks go from 1 to 3"):
        value(name, mask * 3, mask, 2)
    with pytest.raises(UserError, match="class numbers"):
        value(name, mask.astype(np.float32), mask, 2)
