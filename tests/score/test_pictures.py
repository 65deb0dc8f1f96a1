"""Overlays: which pixel gets which colour, which rows are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from bench.score.pictures import AGREED, FALSE, MISSED, OTHER, overlay, spread, write_pictures


class Inputs:
    def take(self, rows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return np.full((len(rows), 256, 256, 1), 100, dtype=np.uint8)


def test_each_kind_of_pixel_has_its_colour() -> None:
    truth, prediction = np.zeros((256, 256), np.uint8), np.zeros((256, 256), np.uint8)
    truth[0, :3], prediction[0, :4] = (1, 1, 2), (1, 0, 1, 2)
    sheet = overlay(np.full((256, 256, 1), 100, np.uint8), truth, prediction, "row 7")
    assert sheet.size == (512, 256 + 36)
    for place, colour in enumerate((AGREED, MISSED, OTHER, FALSE)):
        blended = tuple(round(0.45 * 100 + 0.55 * one) for one in colour)
        assert sheet.getpixel((256 + place, 0)) == blended
    assert sheet.getpixel((256 + 4, 0)) == sheet.getpixel((0, 0)) == (100, 100, 100)


def test_small_images_are_enlarged() -> None:
    assert overlay(np.zeros((32, 32, 3), np.uint8), *np.zeros((2, 32, 32), np.uint8), "x").size == (512, 256 + 36)


def test_rows_are_spread_from_the_worst_to_the_best() -> None:
    assert spread([0.5, 0.1, 0.9], 8) == [1, 0, 2]
    values = [place / 100 for place in range(101)][::-1]
    assert spread(values, 5) == [100, 75, 50, 25, 0]
    assert spread(values, 1) == [100]


def test_files_are_named_by_rank_and_row(tmp_path: Path) -> None:
    truths = np.zeros((3, 256, 256), np.uint8)
    truths[:, :10] = 1
    predictions = truths.copy()
    predictions[1, :5] = 0
    files = write_pictures(Inputs(), np.array([4, 9, 6]), truths, predictions, 2, tmp_path / "pictures", count=2)
    assert [file.name for file in files] == ["01-row-9.png", "02-row-6.png"]
    assert PIL.Image.open(files[0]).size == (512, 292)
