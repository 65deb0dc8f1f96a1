"""Images of every kind become bytes of one size, decoded once and kept on disk."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from bench.core.errors import UserError
from bench.data.modalities.image import MODALITY
from bench.data.sources import Rows

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
LUMA = np.asarray(PIL.Image.fromarray(COLOURS).convert("L"))


def task(size: int = 12, channels: int = 3, **augment: Any) -> dict[str, Any]:
    return {"name": "t", "inputs": ["image"], "image": {"size": size, "channels": channels, "augment": augment}}


def written(images: Any, folder: Path, size: int = 12, channels: int = 3) -> Any:
    MODALITY.write(Rows({"image": images}), task(size, channels), np.arange(len(images)), folder)
    return MODALITY.open(folder).take(np.arange(len(images)))


def file(mode: str, kind: str = "PNG") -> dict[str, bytes]:
    made = io.BytesIO()
    PIL.Image.fromarray(COLOURS).convert(mode).save(made, kind)
    return {"bytes": made.getvalue()}


def encoded(pixels: Any, kind: str) -> dict[str, bytes]:
    made = io.BytesIO()
    PIL.Image.fromarray(pixels).save(made, kind)
    return {"bytes": made.getvalue()}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (COLOURS, COLOURS),
        (PIL.Image.fromarray(COLOURS), COLOURS),
        (file("RGB"), COLOURS),
        (file("RGB")["bytes"], COLOURS),
        (file("RGBA"), COLOURS),
        (file("L"), np.stack([LUMA] * 3, -1)),
        (file("LA"), np.stack([LUMA] * 3, -1)),
        (LUMA, np.stack([LUMA] * 3, -1)),
        (LUMA[..., None], np.stack([LUMA] * 3, -1)),
        (COLOURS.astype(np.int64), COLOURS),
        (COLOURS.tolist(), COLOURS),
        (COLOURS.astype(np.uint16) * 257, COLOURS),
        (COLOURS / 255, COLOURS),
        (encoded(LUMA.astype(np.uint16) * 257, "PNG"), np.stack([LUMA] * 3, -1)),
        (encoded(LUMA.astype(np.int32) * 257, "TIFF"), np.stack([LUMA] * 3, -1)),
        (encoded(LUMA.astype(np.float32) / 255, "TIFF"), np.stack([LUMA] * 3, -1)),
        (LUMA > 127, np.stack([255 * (LUMA > 127)] * 3, -1)),
    ],
)
def test_images_of_every_kind(image: Any, expected: Any, tmp_path: Path) -> None:
    """Same size, so that nothing but the reading of pixels shows."""
    assert (written([image], tmp_path)[0] == expected).all()


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    made = io.BytesIO()
    image = PIL.Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(made, "PNG")
    found = written([{"bytes": made.getvalue()}], tmp_path, size=2)
    assert found[0].tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]


def test_colour_becomes_luminance_where_one_channel_is_wanted(tmp_path: Path) -> None:
    found = written([file("RGB")], tmp_path, channels=1)
    assert found.shape == (1, 12, 12, 1)
    assert (found[0, ..., 0] == LUMA).all()


def test_images_of_any_size_come_to_the_declared_one(tmp_path: Path) -> None:
    left = np.zeros((10, 40, 3), np.uint8)
    left[:, :20] = 200
    PIL.Image.fromarray(left).save(tmp_path / "left.png")
    (found,) = written([tmp_path / "left.png"], tmp_path, size=8)
    assert (found[:, :3] == 200).all()
    assert (found[:, 5:] == 0).all()


def test_a_dark_image_is_scaled_like_its_neighbours(tmp_path: Path) -> None:
    """The scale is the type's, not the brightest pixel's."""
    sixteen = [np.full((4, 4), value, np.uint16) for value in (100, 25_700)]
    assert written(sixteen, tmp_path, size=4).reshape(2, -1).max(1).tolist() == [0, 100]
    whole = [np.full((4, 4), value, np.int64) for value in (1, 200)]
    assert written(whole, tmp_path, size=4).reshape(2, -1).max(1).tolist() == [1, 200]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.full((4, 4), 300), "int64 from 300 to 300; expected bytes, 16 bits"),
        (np.full((4, 4), np.nan), "nan"),
        (np.zeros((3, 8, 8), np.uint8), "shape (3, 8, 8); expected (height, width)"),
        (np.zeros((0, 4), np.uint8), "shape (0, 4)"),
        ({"bytes": file("RGB", "JPEG")["bytes"][:150]}, "cannot be decoded: "),
        ({"bytes": b"no image"}, "cannot be decoded: its bytes are of no known format."),
        ({"bytes": None, "path": "a.png"}, "missing"),
        (None, "missing"),
        (Path("nowhere.png"), "No such file"),
    ],
)
def test_what_is_no_image_is_a_sentence_that_names_the_row(image: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="^t, row 1 of image: .*" + re.escape(sentence)):
        written([COLOURS, image], tmp_path)


def test_an_image_too_large_to_be_meant_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 60)
    with pytest.raises(UserError, match="exceeds limit of 120 pixels"):
        written([file("RGB")], tmp_path)


def test_writing_keeps_the_order_asked_for_and_says_how_far_it_is(tmp_path: Path) -> None:
    images = [np.full((2, 2), shade, np.uint8) for shade in range(150)]
    order, told = np.arange(150)[::-1], list[int]()
    MODALITY.write(Rows({"image": images}), task(2, 1), order, tmp_path, told.append)
    assert (MODALITY.open(tmp_path).take(np.arange(150))[:, 0, 0, 0] == order).all()
    assert told == sorted(set(told))
    assert told[-1] == 150
    assert len(told) > 1


def test_writing_asks_for_one_image_at_a_time(tmp_path: Path) -> None:
    """What is decoded is not kept: a data set may be larger than the memory."""
    import weakref

    alive: list[Any] = []

    class Lazy:
        def __len__(self) -> int:
            return 50

        def __getitem__(self, row: int) -> Any:
            image = np.full((4, 4, 3), row, np.uint8)
            alive.append(weakref.ref(image))
            assert sum(one() is not None for one in alive) <= 2
            return image

    MODALITY.write(Rows({"image": Lazy()}), task(4), np.arange(50), tmp_path)
    assert len(alive) == 50, "each is asked for once"


def test_what_is_opened_is_a_map_of_the_file(tmp_path: Path) -> None:
    written([COLOURS] * 3, tmp_path)
    opened = MODALITY.open(tmp_path)
    assert isinstance(opened._array, np.memmap)
    assert len(set(opened.content().tolist())) == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_can_be_read_off_the_twin_s_image(channels: int, tmp_path: Path) -> None:
    """A threshold between the classes' mean brightness finds nearly every pixel of three classes."""
    drawn = np.random.default_rng(3)
    masks = drawn.integers(0, 3, (10, 12, 12))
    rows = MODALITY.twin(task(12, channels), masks / 2, drawn)
    found = written(rows.columns["image"], tmp_path, channels=channels).mean(-1)
    means = [found[masks == one].mean() for one in range(3)]
    assert means == sorted(means)
    guess = np.abs(found[..., None] - means).argmin(-1)
    assert (guess == masks).mean() > 0.95


def test_a_label_shows_in_the_twin_s_image(tmp_path: Path) -> None:
    """Images of one label are nearer to each other than to those of another."""
    labels = np.array([0.0, 0.0, 1 / 3, 1 / 3])
    rows = MODALITY.twin(task(), labels, np.random.default_rng(4))
    flat = written(rows.columns["image"], tmp_path).reshape(4, -1).astype(float)
    apart = np.abs(flat[:, None] - flat[None]).mean(-1)
    assert max(apart[0, 1], apart[2, 3]) < apart[:2, 2:].min()


def test_augment_leaves_labels_that_are_no_masks_alone() -> None:
    images = np.stack([COLOURS] * 4)
    for labels in (np.array([0, 1, 2, 3]), np.zeros((4, 5))):
        _, found = MODALITY.augment(images, task(flip=True), [0, 1, 2, 3], labels)
        assert found is labels
