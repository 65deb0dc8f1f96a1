"""The metrics over groups and macro F1, against plain transcriptions of their formulas and scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.metrics import Truth, metric

Array = NDArray[Any]
OVER_GROUPS = ["worst-group-accuracy", "tenth-percentile-accuracy"]
ALL = [*OVER_GROUPS, "macro-f1"]


def logits(found: Array, classes: int) -> Array:
    return np.eye(classes, dtype=np.float32)[found] * 3 - 1


def value(name: str, found: Array, labels: Array, groups: Array | None = None, classes: int = 4) -> float:
    return metric(name).compute({"logits": logits(found, classes)}, Truth(labels, classes, groups=groups))


def drawn(seed: int, rows: int = 300, classes: int = 4) -> tuple[Array, Array]:
    """Labels, and predictions that are right about half of the time."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=rows)
    return labels, np.where(random.random(rows) < 0.5, labels, random.integers(classes, size=rows))


def accuracies(labels: Array, found: Array, groups: Array) -> list[float]:
    """One group after the other, row by row."""
    columns = groups.T if groups.ndim == 2 else [groups == number for number in sorted(set(groups[groups >= 0]))]
    rows = [np.flatnonzero(column) for column in columns]
    return [sum(int(labels[row] == found[row]) for row in each) / len(each) for each in rows if len(each)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("overlapping", [False, True])
def test_groups_agree_with_a_transcription(seed: int, overlapping: bool) -> None:
    labels, found = drawn(seed)
    random = np.random.default_rng(seed + 10)
    groups = random.integers(-1, 23, size=len(labels))
    if overlapping:
        groups = (random.random((len(labels), 16)) < 0.1).astype(np.uint8)
    each = accuracies(labels, found, groups)
    assert value("worst-group-accuracy", found, labels, groups) == pytest.approx(min(each), abs=1e-12)
    ordered, place = sorted(each), 0.1 * (len(each) - 1)
    low = math.floor(place)
    between = ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])
    assert value("tenth-percentile-accuracy", found, labels, groups) == pytest.approx(between, abs=1e-12)


def test_civil_comments_groups_as_wilds_looks_at_them() -> None:
    """For each identity, rows that mention it, apart by label; rows that mention none are in no group."""
    random = np.random.default_rng(0)
    labels, found = drawn(0, rows=500, classes=2)
    mentioned = random.random((500, 8)) < 0.2
    worst = min(
        np.mean(found[rows] == labels[rows])
        for identity in range(8)
        for toxic in range(2)
        if (rows := np.flatnonzero(mentioned[:, identity] & (labels == toxic))).size
    )
    groups = np.stack([mentioned[:, i] & (labels == toxic) for i in range(8) for toxic in range(2)], axis=1)
    for kind in (bool, np.uint8, np.int64):
        got = value("worst-group-accuracy", found, labels, groups.astype(kind), classes=2)
        assert got == pytest.approx(worst, abs=1e-12)


@pytest.mark.parametrize("name", OVER_GROUPS)
def test_degenerate_groups(name: str) -> None:
    labels, found = np.array([0, 1, 2, 3, 0]), np.array([0, 1, 0, 3, 1])
    one = np.zeros(5, dtype=np.int64)
    assert value(name, found, labels, one) == pytest.approx(0.6)
    assert value(name, found, labels, one - 1) == pytest.approx(0.6)  # no row in a group: all rows are one
    assert value(name, found, labels, np.zeros((5, 3), dtype=np.uint8)) == pytest.approx(0.6)
    empty = np.stack([one + 1, one], axis=1)  # the second group has no row
    assert value(name, found, labels, empty) == pytest.approx(0.6)
    alone = np.array([7, 7, 3, 7, 7])  # the only row of group 3 is wrong
    expected = 0.0 if name.startswith("worst") else 0.1 * 0.75
    assert value(name, found, labels, alone) == pytest.approx(expected)


def test_groups_that_do_not_fit_are_refused() -> None:
    labels, found = drawn(0, rows=6)
    for groups in (np.zeros(5, np.int64), np.zeros((6, 2, 1), np.int64), np.zeros(6), np.array(["a"] * 6)):
        with pytest.raises(UserError, match="groups of 6 rows"):
            value("worst-group-accuracy", found, labels, groups)
    with pytest.raises(UserError, match="declares none"):
        value("worst-group-accuracy", found, labels)


@pytest.mark.parametrize("seed", range(4))
def test_macro_f1_agrees_with_scikit_learn_as_wilds_calls_it(seed: int) -> None:
    """With classes that are never true, never predicted, or neither."""
    labels, found = drawn(seed, rows=40, classes=9)
    labels[labels > 6], found[found == 2] = 0, 3
    expected = sklearn.metrics.f1_score(labels, found, average="macro", labels=np.unique(labels))
    assert value("macro-f1", found, labels, classes=9) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "found", "expected"),
    [
        ([0, 0], [0, 0], 1.0),
        ([0, 0], [1, 1], 0.0),
        ([0], [0], 1.0),
        ([0, 0, 0, 0], [0, 0, 0, 1], 6 / 7),  # class 1 has no row, and costs nothing but the recall of class 0
        ([0, 1], [0, 0], 1 / 3),  # 2/3 and 0
    ],
)
def test_degenerate_macro_f1(labels: list[int], found: list[int], expected: float) -> None:
    assert value("macro-f1", np.array(found), np.array(labels)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_wrong(name: str, lost: float) -> None:
    labels, _ = drawn(0, rows=40)
    groups = np.arange(40) % 5
    given, wrong = logits(labels, 4), labels.copy()
    given[3, labels[3]], wrong[3] = lost, (labels[3] + 1) % 4
    truth = Truth(labels, 4, groups=groups)
    assert metric(name).compute({"logits": given}, truth) == pytest.approx(value(name, wrong, labels, groups))
    assert metric(name).compute({"logits": np.full_like(given, lost)}, truth) == 0.0


@pytest.mark.parametrize("name", ALL)
def test_order_and_batches_do_not_matter(name: str) -> None:
    labels, found = drawn(1)
    groups = np.random.default_rng(1).integers(-1, 12, size=len(labels))
    expected = value(name, found, labels, groups)
    order = np.random.default_rng(2).permutation(len(labels))
    assert value(name, found[order], labels[order], groups[order]) == pytest.approx(expected, abs=1e-14)
    joined = np.concatenate(np.split(logits(found, 4), range(7, len(labels), 7)))
    joined.setflags(write=False)
    assert metric(name).compute({"logits": joined}, Truth(labels, 4, groups=groups)) == expected
