"""Which rows are labelled, how classes are numbered, what validates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.labelling import Published
from bench.data.prepare import unseal
from bench.execute.engine import prepared_data
from bench.plan.grid import plan
from bench.problems import problem_of

from ..conftest import Go


def task(**changes: Any) -> dict[str, Any]:
    return {
        "name": "t/gcd",
        "problem": "image-category-discovery",
        "label": "label",
        "classes": ["a", "b", "c", "d", "e"],
        "known": ["d", "b", "a"],
        "labelled": 0.5,
        "splits": {"train": "train"},
        "selection": "last",
        **changes,
    }


def published(rows: int = 200) -> tuple[np.ndarray[Any, Any], dict[str, Published]]:
    names = np.array(["a", "b", "c", "d", "e"])[np.arange(rows) * 7 % 5]
    return names, {"train": Published(problem_of(task()).encode(names.tolist()))}


def test_known_classes_come_first_in_declared_order() -> None:
    problem = problem_of(task())
    assert problem.encode(["a", "b", "d", "c", "e"]).tolist() == [0, 1, 2, 3, 4]
    assert problem.encode([0, 1, 3, 2, 4]).tolist() == [0, 1, 2, 3, 4]
    assert (problem.known(), problem.classes(), problem.outputs()) == (3, 5, 5)


def test_half_of_the_known_classes_rows_are_labelled_and_the_rest_is_the_test() -> None:
    names, splits = published()
    problem = problem_of(task())
    division = problem.divide(splits, None)
    pool, test = division.pools["train"], division.tests["test"].rows
    labels = np.asarray(pool.labels)
    assert len(labels) == 200
    for name, number in (("d", 2), ("b", 1), ("a", 0)):
        assert int((labels == number).sum()) == 20, name
        assert set(names[pool.rows[labels == number]]) == {name}
    assert set(names[labels >= 0]) == {"a", "b", "d"}
    assert sorted(test) == np.flatnonzero(labels < 0).tolist()
    part = problem.portions(division.pools, 0)
    assert list(part) == ["train"]
    assert part["train"].groups is not None
    assert (part["train"].groups == (labels < 0)).all()
    other = problem.portions(division.pools, 1)["train"]
    assert (other.labels == part["train"].labels).all(), "which rows are labelled is the task's, not the replicate's"


def test_hidden_classes_validate_and_are_unlabelled_in_training() -> None:
    _, splits = published()
    problem = problem_of(task(hidden=1, selection="val"))
    division = problem.divide(splits, None)
    parts = problem.portions(division.pools, 0)
    labels = np.asarray(division.pools["train"].labels)
    assert problem.known() == 2
    val, seen = parts["val"].places, parts["train"].labels
    assert seen is not None
    assert (seen[val] == -1).all()
    assert set(labels[val]) == {0, 1, 2}, "rows of the hidden class, and of the others"
    assert int((labels[val] == 2).sum()) == 20
    assert set(seen) == {-1, 0, 1}
    assert not set(val) & set(division.tests["test"].rows), "validation rows are no test rows"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"known": 5}, "names every class"),
        ({"known": ["a", "f"]}, "known of t/gcd has 'f', not in classes"),
        ({"hidden": 3}, "with 3 known classes at most 2"),
        ({"selection": "val"}, "for which known classes must be hidden"),
        ({"splits": {"train": "train", "val": "train[:20%]"}}, "takes train alone"),
        ({"splits": {"train": "train", "shots": 2}}, "takes train alone"),
    ],
)
def test_what_cannot_be_discovered_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        problem_of(task(**changes))


def test_the_fit_sees_no_label_of_a_test_row(toy: Path) -> None:
    access = Access.from_environment()
    (run,) = plan(["all=odd/kinds"], access=access)
    prepared = prepared_data(run, access)
    train, (test,) = prepared.pool(0)["train"], prepared.tests()
    ids, labels, _ = unseal(run.data, "test", access)
    assert train.labels is not None
    assert (train.labels[np.isin(train.rows, ids)] == -1).all()
    assert (ids == test.rows).all()
    assert set(labels) == {0, 1, 2}
    kept = [
        np.load(file) for file in (prepared.folder).rglob("*.npy") if "labels" in file.name or "strata" in file.name
    ]
    assert all(not np.isin(array, labels[labels == 2]).any() for array in kept), "no label of an unknown class is there"


def test_the_whole_way(toy: Path, go: Go) -> None:
    _, (row,) = go("all=odd/kinds")
    assert row["state"] == "done"
    assert row["selection"]["rule"] == "last"
    assert set(row["scores"]) == {"discovery-all", "discovery-old", "discovery-new", "score"}


def test_the_loss_does_not_depend_on_how_a_step_is_cut() -> None:
    import torch

    problem, drawn = problem_of(task()), torch.Generator().manual_seed(0)
    outputs = torch.randn((8, 5), generator=drawn, dtype=torch.float64)
    labels = torch.tensor([0, -1, 1, -1, 2, -1, 0, -1])
    whole = problem.loss(outputs, labels)
    for cuts in (2, 3, 4, 8):
        parts = zip(outputs.tensor_split(cuts), labels.tensor_split(cuts), strict=True)
        assert float(sum(problem.loss(*part) * len(part[1]) / 8 for part in parts)) == pytest.approx(float(whole))
    assert float(problem.loss(outputs[1::2], labels[1::2])) == 0
