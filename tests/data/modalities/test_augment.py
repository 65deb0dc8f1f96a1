"""What augmentation does to images and masks, and what it depends on."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import PIL.Image
import pytest

from bench.core.errors import UserError
from bench.data.modalities._augment import AUGMENT, augmented
from bench.declarations.fields import check_value

EVERYTHING: dict[str, Any] = {
    "flip": True,
    "vflip": True,
    "shift": 2,
    "crop": [0.5, 1.0],
    "rotate": 20.0,
    "jitter": 0.3,
    "gray": 0.3,
}


def images(count: int = 20, size: int = 24, channels: int = 3) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, channels)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("key", [*EVERYTHING, "all"])
def test_each_row_depends_on_its_own_seed_alone(key: str, channels: int) -> None:
    wanted = EVERYTHING if key == "all" else {key: EVERYTHING[key]}
    given = images(channels=channels)
    before = given.copy()
    whole, _ = augmented(given, wanted, list(range(20)))
    assert (given == before).all(), "the cached images stay as they are"
    assert whole.shape == given.shape
    for row in (0, 7, 19):
        alone, _ = augmented(given[row : row + 1], wanted, [row])
        assert (alone[0] == whole[row]).all()
    if (key, channels) != ("gray", 1):
        assert (whole != given).any(), key


def test_nothing_wanted_changes_nothing() -> None:
    given = images()
    assert augmented(given, check_value({}, AUGMENT, "", "t"), list(range(20)))[0] is given


def test_flips_are_flips_of_half_the_images() -> None:
    given = images(400, 6)
    changed, _ = augmented(given, {"flip": True}, list(range(400)))
    same = (changed == given).all(axis=(1, 2, 3))
    turned = (changed == given[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | turned).all()
    assert 150 < same.sum() < 250


@pytest.mark.parametrize(
    "wanted", [{"flip": True}, {"vflip": True}, {"shift": 3}, {"crop": [0.4, 0.8]}, {"rotate": 30.0}]
)
def test_masks_move_with_their_images(wanted: dict[str, Any]) -> None:
    """A white shape on black, and its mask: after the change they still agree but at the shape's border."""
    masks = np.zeros((12, 32, 32), dtype=np.uint8)
    masks[:, 6:20, 10:28] = 1
    changed, moved = augmented((255 * masks)[..., None], wanted, list(range(12)), masks)
    assert moved is not None
    assert set(np.unique(moved)) == {0, 1}, "classes are not blended"
    assert (moved != masks).any()
    assert ((changed[..., 0] > 127) != (moved > 0)).mean() < 0.03


def test_colour_changes_leave_masks_alone() -> None:
    masks = (images(5)[..., 0] > 127).astype(np.uint8)
    _, moved = augmented(images(5), {"jitter": 0.4, "gray": 1.0}, list(range(5)), masks)
    assert moved is not None
    assert (moved == masks).all()


def test_gray_images_are_their_luminance() -> None:
    given = images(6)
    changed, _ = augmented(given, {"gray": 1.0}, list(range(6)))
    luma = (given.astype(float) * [0.299, 0.587, 0.114]).sum(-1)
    assert np.abs(changed.astype(float) - luma[..., None]).max() <= 0.51


def test_jitter_is_within_its_bounds() -> None:
    given = np.full((200, 4, 4, 3), 100, dtype=np.uint8)
    changed, _ = augmented(given, {"jitter": 0.3}, list(range(200)))
    assert 69 <= changed.min() < 75, "a plain grey image has a brightness and nothing else"
    assert 125 < changed.max() <= 131
    assert (changed == changed[:, :1, :1, :1]).all()


def test_jitter_turns_the_hue_within_its_bounds() -> None:
    """Red, whatever its saturation and brightness become: its hue says how far it was turned."""
    red = np.zeros((200, 4, 4, 3), dtype=np.uint8)
    red[..., 0] = 200
    changed, _ = augmented(red, {"jitter": 0.1}, list(range(200)))
    hues = [colorsys.rgb_to_hsv(*image[0, 0] / 255)[0] for image in changed]
    away = [(hue + 0.5) % 1 - 0.5 for hue in hues]
    assert -0.105 < min(away) < -0.08
    assert 0.08 < max(away) < 0.105


def test_jitter_agrees_with_torchvision() -> None:
    """The same factors, in the same order, through torchvision's own functions on PIL images."""
    functional = pytest.importorskip("torchvision.transforms.functional")
    given = images(10, 16)
    changed, _ = augmented(given, {"jitter": 0.3}, list(range(10)))
    for seed in range(10):
        drawn = np.random.Generator(np.random.Philox(key=seed)).random(14)
        brightness, contrast, saturation = (0.7 + 0.6 * drawn[place] for place in (9, 10, 12))
        image = PIL.Image.fromarray(given[seed])
        image = functional.adjust_brightness(image, brightness)
        image = functional.adjust_contrast(image, contrast)
        image = functional.adjust_saturation(image, saturation)
        image = functional.adjust_hue(image, 0.3 * (2 * drawn[13] - 1))
        assert np.abs(np.asarray(image).astype(int) - changed[seed]).mean() < 3


def test_a_crop_shows_a_part_of_the_declared_size() -> None:
    """On a ramp the range of values that is left tells the width of the part."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, None, :, None] * 4, (300, 64, 64, 1)).copy()
    changed, _ = augmented(ramp, {"crop": [0.25, 0.25]}, list(range(300)))
    widths = (changed.max(axis=(1, 2, 3)).astype(float) - changed.min(axis=(1, 2, 3))) / 4
    assert 64 * np.sqrt(0.25 * 3 / 4) - 3 <= widths.min()
    assert widths.max() <= 64 * np.sqrt(0.25 * 4 / 3) + 1


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"crop": [0.9, 0.5]}, "0 < low <= high <= 1"),
        ({"crop": [0.0, 0.5]}, "0 < low <= high <= 1"),
        ({"jitter": 2}, "jitter"),
        ({"grey": 0.1}, 'Did you mean "gray"'),
    ],
)
def test_wrong_declarations(wanted: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_value(wanted, AUGMENT, "image.augment", "t")
