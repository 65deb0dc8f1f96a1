"""Folds, their rows, what each selection rule needs; and the whole way from runs to a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.aggregate import lines
from bench.aggregate.folds import joined, value
from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.labelling import Published
from bench.execute.engine import prepared_data
from bench.plan.grid import plan
from bench.problems import problem_of
from bench.tables import results

from ..conftest import Go

DOMAINS = ["a", "b", "c"]


def task(**changes: Any) -> dict[str, Any]:
    return {
        "name": "t/dg",
        "problem": "image-domain-generalization",
        "label": "label",
        "domain": "domain",
        "domains": DOMAINS,
        "classes": ["x", "y"],
        "splits": {"train": "all[20%:]", "val": "all[:20%]", "shuffle": "random"},
        **changes,
    }


def published(rows: int = 300) -> dict[str, Published]:
    place = np.arange(rows)
    return {"all": Published(place % 2, place % 7 % 3)}


def test_a_fold_holds_one_domain_out_and_cuts_it_in_two() -> None:
    problem, found = problem_of(task()), published()["all"]
    assert found.groups is not None
    division = problem.divide(published(), "b")
    test, target = division.tests["test"].rows, division.tests["target-val"].rows
    members = np.flatnonzero(found.groups == 1)
    assert sorted([*test, *target]) == members.tolist()
    assert len(target) == round(0.2 * len(members))
    pool = division.pools["all"]
    assert not set(pool.rows) & set(members)
    assert set(np.unique(pool.groups)) == {0, 2}
    for replicate in (0, 1):
        parts = problem.portions(division.pools, replicate)
        train, val = (pool.rows[parts[name].places] for name in ("train", "val"))
        assert sorted([*train, *val]) == pool.rows.tolist()
        for number in (0, 2):
            size = int((found.groups == number).sum())
            assert int((found.groups[val] == number).sum()) == round(0.2 * size)
    again = problem_of(task()).divide(published(), "b")
    assert (again.tests["test"].rows == test).all(), "test rows know no replicate"
    first, second = (problem.portions(division.pools, one)["val"].places for one in (0, 1))
    assert set(first) != set(second)


def test_a_fold_of_two_domains_has_the_parts_of_both() -> None:
    division = problem_of(task()).divide(published(), "a+c")
    assert list(division.tests) == ["test-a", "target-val-a", "test-c", "target-val-c"]
    alone = problem_of(task()).divide(published(), "c")
    assert (division.tests["test-c"].rows == alone.tests["test"].rows).all(), "the same rows as when held out alone"


def test_pieces_of_a_domain_share_no_rows() -> None:
    for splits, sentence in (
        ({"train": "all[:80%]", "val": "all[:40%]"}, "share rows of the domain 'a'"),
        ({"train": "all[20%:]", "val": "all[:0%]"}, "piece of the domain 'a'"),
    ):
        with pytest.raises(UserError, match=sentence):
            problem_of(task(splits=splits)).divide(published(), "b")
    without = {"all": Published(np.arange(9) % 2, np.array([0, 1] * 4 + [0]))}
    with pytest.raises(UserError, match=r"piece of the domain 'c' \(0 rows\)"):
        problem_of(task()).divide(without, "a")


def test_leave_one_domain_out_needs_a_run_for_each_pair() -> None:
    problem = problem_of(task())
    assert problem.folds() == DOMAINS
    assert problem.extra_folds("leave-one-domain-out") == ["a+b", "a+c", "b+c"]
    assert problem.extra_folds("oracle") == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"domains": None}, "at least two different names"),
        ({"domains": ["a", "a"]}, "at least two different names"),
        ({"splits": {"train": "all"}}, "train and val must cut one published split"),
        ({"splits": {"train": "all", "val": "other"}}, "train and val must cut one published split"),
        ({"splits": {"train": "all[20%:]", "val": "all[:20%]", "shuffle": "stratified"}}, "in order or at random"),
        ({"splits": {"train": "all[20%:]", "val": "all[:20%]", "shots": 2}}, "without shots"),
        ({"domains": ["a", "../b"]}, "a name has letters"),
        ({"domains": ["a", "b", "a+b"]}, "a name has letters"),
    ],
)
def test_what_cannot_be_folded_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        problem_of(task(**changes))


def test_unknown_domains_are_refused() -> None:
    with pytest.raises(UserError, match="has no fold 'd'"):
        problem_of(task()).divide(published(), "d")
    with pytest.raises(UserError, match="The data has the domain 'd', not in domains"):
        problem_of(task()).marks({"domain": ["a", "d"]})
    with pytest.raises(UserError, match="domains run from 0 to 3; the task declares 3"):
        problem_of(task()).marks({"domain": [0, 3]})
    with pytest.raises(UserError, match="names or whole numbers, not float64"):
        problem_of(task()).marks({"domain": [0.5, 1.2]})
    named = problem_of(task(domains=["2", "0", "1"]))
    assert named.marks({"domain": [0, 1, 2]})["groups"].tolist() == [1, 2, 0], "numbers are names where the names are"
    with pytest.raises(UserError, match="domain is 'domain'; the data has place"):
        problem_of(task()).marks({"place": ["a"]})


def test_official_splits_are_one_run_with_groups_for_the_metric() -> None:
    splits = {"train": "train", "val": "val", "test": "test"}
    problem = problem_of(task(splits=splits, group="region", domains=None))
    assert problem.folds() == []
    marks = problem.marks({"domain": ["p", "q", "p"], "region": [[0, 1], [1, 0], [1, 1]]})
    assert marks["groups"].tolist() == [0, 1, 0]
    assert marks["subgroups"].shape == (3, 2)


def test_a_training_batch_holds_as_many_rows_of_each_domain(toy: Path) -> None:
    from bench.execute.loaders import schedule

    (run,) = plan(["all=odd/places"], folds=["west"], access=Access.from_environment())
    train = prepared_data(run, Access.from_environment()).pool(0)["train"]
    assert train.groups is not None
    order = schedule(train, run.task["name"], 0, 4, balanced=True)
    seen = []
    for step in range(24):
        rows = order.rows(step)
        assert np.bincount(train.groups[rows], minlength=4).tolist() == [4, 4, 4, 0]
        for cut in np.array_split(rows, 4):
            assert np.bincount(train.groups[cut], minlength=4).tolist() == [1, 1, 1, 0]
        seen.append(rows)
    assert len(np.unique(np.concatenate(seen[:8]))) == 96, "an epoch repeats no row"
    assert (order.rows(3) == schedule(train, run.task["name"], 0, 4, balanced=True).rows(3)).all(), (
        "a function of the step"
    )


def test_the_runs_of_a_task_of_folds(toy: Path) -> None:
    access = Access.from_environment()
    runs = plan(["all=odd/places"], access=access)
    assert [run.fold for run in runs] == ["north", "east", "south", "west"]
    more = plan(["all=odd/places", "task.selection=leave-one-domain-out"], access=access)
    assert len(more) == 10
    assert [run.key for run in more[:4]] == [run.key for run in runs], "a rule is no part of a run"
    assert {run.inputs for run in more} == {runs[0].inputs}, "the folds share their inputs"
    assert len({run.data for run in more}) == 10
    with pytest.raises(UserError, match=r"has no fold 'wset'. Did you mean \"west\"\?"):
        plan(["all=odd/places"], folds=["wset"], access=access)
    with pytest.raises(UserError, match="is one run and has no folds"):
        plan(["all=toy/waves"], folds=["west"], access=access)


def test_from_runs_to_a_table(toy: Path, go: Go) -> None:
    _, rows = go("all=odd/places", "task.selection=leave-one-domain-out")
    assert [row["state"] for row in rows] == ["done"] * 10
    by_rule = {line.selection: line for line in lines(rows)}
    assert list(by_rule) == ["val", "leave-one-domain-out", "oracle"]
    for line in by_rule.values():
        assert line.domains is not None
        assert set(line.domains) == {"north", "east", "south", "west"}
        assert line.mean["score"] == pytest.approx(np.mean(list(line.domains.values())))
        assert line.mean["worst"] == min(line.domains.values())
    folds = rows[0]["request"]["folds"]
    own = {row["fold"]: row for row in rows}
    pairs = [own["north+west"], own["east+west"], own["south+west"]]
    expected = np.mean([row["parts"]["last"][f"test-{row['fold'].split('+')[0]}"] for row in pairs])
    assert value(own, "west", "leave-one-domain-out", folds) == pytest.approx(expected)
    assert value(own, "west", "oracle", folds) == own["west"]["parts"]["last"]["target-val"]
    assert value(own, "west", "val", folds) == own["west"]["selection"]["value"]
    table = results(list(by_rule.values()))
    assert [row[2] for row in table.rows] == [
        "training-domain validation",
        "leave-one-domain-out",
        "oracle (target validation)",
    ]


def test_a_rule_without_its_runs_has_no_line(toy: Path, go: Go) -> None:
    _, rows = go("all=odd/places", "task.selection=leave-one-domain-out")
    pairs = [row for row in rows if "+" in row["fold"]]
    some = [row for row in rows if row not in pairs[1:]]
    assert [line.selection for line in lines(some)] == ["val", "oracle"]
    assert joined(some, "leave-one-domain-out") == []


def test_one_fold_of_a_newer_variant_hides_no_result(toy: Path, go: Go) -> None:
    _, rows = go("all=odd/places")
    newer = {**rows[0], "variant": "newer", "at": "9"}
    (line, _) = lines([*rows, newer])
    assert (line.replicates, line.older) == (1, 1)


def test_a_task_that_lacks_a_fold_has_no_score(toy: Path, go: Go) -> None:
    _, rows = go("all=odd/places")
    assert joined(rows, "val")
    (line,) = lines(rows[:3])
    assert line.mean == {}
    assert line.states == {"of 4 domains": 3}
    assert line.domains is not None
    assert list(line.domains) == ["north", "east", "south"]


def test_training_domains_are_numbered_without_gaps(go: Go) -> None:
    """Whatever is held out, a method sees 0 to the number of training domains less one."""
    for held_out in ("0", "30", "75"):
        (run,) = plan(["erm=demo/rotated-digits"], folds=[held_out], twin=True, access=Access.from_environment())
        train = prepared_data(run, Access.from_environment()).pool(0)["train"]
        problem = problem_of(run.task)
        domains = problem.domains_of(train.groups, len(train))
        assert sorted(set(domains.tolist())) == [0, 1, 2, 3, 4]
        assert train.groups is not None
        assert len({(int(group), int(domain)) for group, domain in zip(train.groups, domains, strict=True)}) == 5
