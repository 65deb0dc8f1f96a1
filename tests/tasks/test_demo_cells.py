"""The generated cells: the same each time, of the declared sizes and classes, and nuclei that no threshold finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench.core.loading import load

HOME = Path(__file__).parents[2] / "tasks" / "demo"
Splits = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HOME / "cells.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def made(declared: dict[str, Any]) -> Splits:
    found: Splits = load(declared["source"]["generator"], HOME)(**declared["source"]["params"])
    return found


def test_every_split_has_its_size_and_every_class(made: Splits, declared: dict[str, Any]) -> None:
    assert {split: len(columns["image"]) for split, columns in made.items()} == {"train": 160, "val": 40, "test": 100}
    size = declared["image"]["size"]
    for columns in made.values():
        assert columns["image"].shape == columns["mask"].shape == (len(columns["image"]), size, size)
        assert columns["image"].dtype == columns["mask"].dtype == np.uint8
        shares = np.bincount(columns["mask"].ravel()) / columns["mask"].size
        assert len(shares) == len(declared["classes"])
        assert shares[0] > shares[1] > shares[2] > 0.03
        assert (columns["mask"] == 2).any((1, 2)).mean() > 0.95


def test_an_image_depends_on_seed_split_and_number_alone(made: Splits) -> None:
    cells = load("cells:cells", HOME)
    few, other = cells(rows={"train": 3, "val": 2}), cells(rows={"train": 3}, seed=1)
    for split in few:
        for column in ("image", "mask"):
            assert np.array_equal(few[split][column], made[split][column][: len(few[split][column])])
    assert not np.array_equal(few["train"]["image"], other["train"]["image"])
    everything = np.concatenate([columns["image"].reshape(-1, 64 * 64) for columns in made.values()])
    assert len(np.unique(everything, axis=0)) == 300
    assert cells(size=32, rows={"train": 1})["train"]["mask"].shape == (1, 32, 32)


def test_no_threshold_finds_the_nuclei(made: Splits) -> None:
    """The threshold that is best on train."""
    best = max(range(0, 256, 4), key=lambda level: _dice(made["train"], level))
    assert 0.3 < _dice(made["test"], best) < 0.7


def _dice(columns: dict[str, Any], level: int) -> float:
    """Dice of the pixels of at least this grey level with the nuclei, averaged over images."""
    found, true = columns["image"] >= level, columns["mask"] == 2
    total = found.sum((1, 2)) + true.sum((1, 2))
    return float(np.mean(2 * (found & true).sum((1, 2)) / np.maximum(total, 1)))
