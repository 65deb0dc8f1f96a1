"""What a row adds to a metric: its mean is the metric."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics import Truth, metric, names
from bench.metrics._items import items

DRAWN = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["accuracy"])
def test_classes(name: str) -> None:
    logits = DRAWN.normal(size=(97, 4)).astype(np.float32)
    logits[3, 1] = np.nan
    truth = Truth(DRAWN.integers(0, 4, 97), 4)
    found = items(name, {"logits": logits}, truth)
    assert found is not None
    assert found.shape == (97,)
    assert found.mean() == pytest.approx(metric(name).compute({"logits": logits}, truth), abs=1e-12)
    assert found[3] == 0


@pytest.mark.parametrize("name", ["dice", "iou"])
def test_masks(name: str) -> None:
    masks = DRAWN.integers(0, 3, (9, 12, 12)).astype(np.uint8)
    labels = DRAWN.integers(0, 3, (9, 12, 12)).astype(np.uint8)
    masks[0], labels[0] = 0, 0
    labels[1] = 0
    truth = Truth(labels, 3)
    found = items(name, {"mask": masks}, truth)
    assert found is not None
    assert (found[0], found[1]) == (1.0, 0.0)
    assert found.mean() == pytest.approx(metric(name).compute({"mask": masks}, truth), abs=1e-12)
    for place in range(9):
        one = Truth(labels[place : place + 1], 3)
        assert found[place] == pytest.approx(metric(name).compute({"mask": masks[place : place + 1]}, one), abs=1e-12)


def test_metrics_that_are_no_means_have_none() -> None:
    truth = Truth(np.array([0, 1]), 2)
    without = [
        name
        for name in names()
        if items(
            name,
            {"logits": np.eye(2), "mask": np.zeros((2, 1, 1), int)},
            Truth(np.zeros((2, 1, 1), int), 2) if name in ("dice", "iou") else truth,
        )
        is None
    ]
    assert set(names()) - set(without) == {"accuracy", "dice", "iou"}
