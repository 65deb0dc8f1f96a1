from __future__ import annotations

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.data.labelling import Published
from bench.data.splits import (
    Slice,
    divide,
    permuted,
    portions,
    positions_for_test,
    slices_for_test,
    source_splits,
    twin_splits,
)

SPLITS = {"train": "all[:60%]", "val": "all[60%:75%]", "test": "all[75%:]", "shuffle": "stratified"}


def test_slices_in_rows_and_per_cent() -> None:
    assert Slice.parse("train[:90%]", "x").bounds(11) == (0, 10)
    assert Slice.parse("train[90%:]", "x").bounds(11) == (10, 11)
    assert Slice.parse("train[5:200]", "x").bounds(11) == (5, 11)
    assert Slice.parse("train[-3:]", "x").bounds(11) == (8, 11)
    assert Slice.parse("train[:-200]", "x").bounds(11) == (0, 0)
    assert Slice.parse("train[-10%:]", "x").bounds(200) == (180, 200)
    assert Slice.parse("train[12.5%:]", "x").bounds(80) == (10, 80)
    assert Slice.parse("train", "x").bounds(11) == (0, 11)
    with pytest.raises(UserError, match="splits.val is 'train\\[90%'"):
        Slice.parse("train[90%", "splits.val")


def test_parts_have_names() -> None:
    assert list(slices_for_test({"test": "validation"})) == ["test"]
    several = {"train": "train", "test": {"matched": "a", "mismatched": "b"}}
    assert list(slices_for_test(several)) == ["test-matched", "test-mismatched"]
    assert source_splits(several) == ["a", "b", "train"]


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        ({"train": "train", "val": "validation", "test": "validation"}, "splits.val and splits.test share 10 rows"),
        ({"train": "train[:90%]", "val": "train[90%:]", "test": "train[95%:]"}, "splits.val and splits.test share 1"),
        ({"train": "train", "val": "train[90%:]", "test": "validation"}, "splits.train and splits.val share rows"),
        ({"train": "train", "val": None, "test": "train[:1]"}, "splits.train and splits.test share 1"),
    ],
)
def test_rows_in_two_parts_are_refused(splits: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        positions_for_test("t", splits, {"train": 20, "validation": 10})


@pytest.mark.parametrize("shuffle", ["none", "random", "stratified"])
def test_test_rows_never_depend_on_the_replicate(shuffle: str) -> None:
    labels = np.arange(200) % 4
    splits = {**SPLITS, "shuffle": shuffle}
    task = {"name": "t", "splits": splits}
    division = divide(task, {"all": Published(labels)}, lambda found: found)
    taken, pool = division.tests["test"].rows, division.pools["all"]
    seen = []
    for replicate in (0, 1):
        parts = portions(task, {"all": pool}, replicate)
        train, val = pool.rows[parts["train"].places], pool.rows[parts["val"].places]
        assert len(train) == 120
        assert len(val) == 30
        assert not set(train) & set(val)
        assert not (set(train) | set(val)) & set(taken)
        seen.append(set(train.tolist()))
    assert (seen[0] == seen[1]) is (shuffle == "none")


def test_a_twin_takes_quarters_where_rows_are_counted() -> None:
    counted = {"train": "train[2000:]", "val": "train[:2000]", "test": "validation"}
    assert twin_splits(counted) == {"train": "train[25%:]", "val": "train[:25%]", "test": "validation"}
    shares = {"train": "train[10%:]", "val": "train[:10%]", "test": "validation"}
    assert twin_splits(shares) == shares


def test_a_part_without_rows_is_refused() -> None:
    with pytest.raises(UserError, match=r"splits.train leaves no rows of 'train', which has 48"):
        positions_for_test("t", {"train": "train[2000:]", "test": "test"}, {"train": 48, "test": 48})


def test_stratified_slices_hold_each_class_in_its_share() -> None:
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    order = permuted("stratified", labels, ("split", "t", "train", None))
    for low, high in ((0, 100), (500, 600), (900, 1000)):
        counts = np.bincount(labels[order[low:high]], minlength=3)
        assert abs(counts[0] - 90) <= 1
        assert abs(counts[1] - 9) <= 1
        assert abs(counts[2] - 1) <= 1
    assert sorted(order.tolist()) == list(range(1000))
