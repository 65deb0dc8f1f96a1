"""From rows of runs to lines: means, intervals, variants, and what is not done."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from bench.aggregate import Line, interval, lines, names, quantile, suite_lines


def row(**changed: Any) -> dict[str, Any]:
    """A finished run's row."""
    request = {"method": "lora", "task": "toy/waves", "overrides": [], "precision": "32", "twin": False}
    request |= changed.pop("request", {})
    base = {
        "key": "0" * 64,
        "method": request["method"],
        "task": request["task"],
        "replicate": 0,
        "variant": str(sorted(request.items())),
        "state": "done",
        "request": request,
        "scores": {"accuracy": 0.5, "score": 0.5},
        "cost": {"fit_seconds": 2.0, "peak_bytes": None},
        "provisional": [],
        "at": "2026-01-01T00:00:00+00:00",
    }
    return {**base, **changed}


def scored(*values: float, **more: Any) -> list[dict[str, Any]]:
    return [
        row(scores={"accuracy": value, "score": value}, replicate=seed, **more) for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 10, 29, 30, 31, 35, 50, 100, 1000, 100_000])
def test_t_quantiles_are_those_of_scipy(freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.t.ppf(0.975, freedom)
    assert quantile(freedom) == pytest.approx(expected, rel=1e-6 if freedom <= 30 else 2e-5)


def test_quantiles_fall_with_the_degrees_of_freedom() -> None:
    found = [quantile(freedom) for freedom in range(1, 200)]
    assert found == sorted(found, reverse=True)
    assert found[-1] > 1.959963


@pytest.mark.parametrize("values", [[0.1, 0.9], [0.5, 0.51, 0.49], [1e-9, 2e-9, 4e-9], [1e9 + n for n in range(40)]])
def test_the_interval_is_that_of_scipy(values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    low, high = stats.t.interval(0.95, len(values) - 1, sum(values) / len(values), stats.sem(values))
    assert interval(values) == pytest.approx((high - low) / 2, rel=3e-5)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_no_interval_from_fewer_than_two(values: list[float]) -> None:
    assert interval(values) is None


def test_equal_values_have_an_interval_of_nothing() -> None:
    assert interval([0.1] * 10) == 0.0


def test_the_interval_does_not_depend_on_the_order() -> None:
    values = [random.Random(place).random() * 10 ** (place % 7) for place in range(50)]
    found = {interval(random.Random(seed).sample(values, len(values))) for seed in range(5)}
    assert max(found) - min(found) < 1e-9 * max(found)  # type: ignore[type-var,operator]


def test_one_seed_has_a_mean_and_no_interval() -> None:
    (line,) = lines(scored(0.6))
    assert line.mean == {"accuracy": 0.6, "score": 0.6}
    assert line.half is None
    assert line.replicates == 1


def test_seeds_are_averaged_with_their_interval() -> None:
    (line,) = lines(scored(0.4, 0.6))
    assert line.mean["score"] == pytest.approx(0.5)
    assert line.half is not None
    assert line.half["score"] == pytest.approx(12.706205 * 0.1)
    assert line.replicates == 2


def test_of_several_variants_the_newest_is_shown() -> None:
    old = scored(0.1, 0.2, variant="a", at="2026-01-01T00:00:00+00:00")
    new = scored(0.9, variant="b", at="2026-01-02T00:00:00+00:00")
    (line,) = lines([*new, *old])
    assert line.mean["score"] == 0.9
    both = lines([*new, *old], everything=True)
    assert [one.replicates for one in both] == [2, 1]  # the oldest first


def test_a_variant_is_as_new_as_its_newest_run() -> None:
    mixed = [
        *scored(0.1, variant="a", at="2026-01-01T00:00:00+00:00"),
        *scored(0.2, variant="a", at="2026-01-03T00:00:00+00:00"),
        *scored(0.9, variant="b", at="2026-01-02T00:00:00+00:00"),
    ]
    (line,) = lines(mixed)
    assert line.mean["score"] == pytest.approx(0.15)


def test_a_variant_that_is_only_queued_does_not_hide_results() -> None:
    """It has no time yet; what was found before the code changed stays in the table until there is something new."""
    queued = row(state="queued", scores=None, cost=None, provisional=None, variant="b", at=None)
    (line,) = lines([*scored(0.5, variant="a"), queued])
    assert line.mean["score"] == 0.5


def test_what_is_not_done_is_counted() -> None:
    rows = [*scored(0.5, 0.7), *(row(state=state, scores=None, cost=None) for state in ("failed", "failed", "queued"))]
    (line,) = lines(rows)
    assert line.states == {"failed": 2, "queued": 1}
    assert line.replicates == 2


def test_a_line_of_failures_alone() -> None:
    (line,) = lines([row(state="failed", scores=None, cost=None, provisional=None)])
    assert (line.replicates, line.mean, line.half, line.cost) == (0, {}, None, {})


def test_costs_are_averaged_over_the_runs_that_know_them() -> None:
    rows = [
        row(cost={"fit_seconds": 1.0, "peak_bytes": None}),
        row(cost={"fit_seconds": 3.0, "peak_bytes": 100, "later": 1}),
        row(cost=None),
    ]
    (line,) = lines(rows)
    assert line.cost["fit_seconds"] == 2.0
    assert line.cost["peak_bytes"] == 100


def test_reasons_are_told_once() -> None:
    (line,) = lines([row(provisional=["b", "a"]), row(provisional=["a"]), row(provisional=None)])
    assert line.provisional == ["a", "b"]


def test_lines_are_sorted_by_task_then_method() -> None:
    rows = [row(request={"method": method, "task": task}) for task in ("b", "a") for method in ("y", "x")]
    assert [(line.task, line.method) for line in lines(rows)] == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]


def test_overrides_make_another_line() -> None:
    assert names(row(request={"overrides": ["optimizer.lr=1", "task.budget.steps=2"]})["request"]) == (
        "lora optimizer.lr=1",
        "toy/waves budget.steps=2",
    )
    assert names(row(request={"precision": "bf16", "twin": True})["request"]) == (
        "lora precision=bf16",
        "toy/waves twin",
    )
    assert len(lines([row(), row(request={"overrides": ["optimizer.lr=1"]})])) == 2


def line(task: str, score: float | None, method: str = "lora") -> Line:
    return Line(method, task, 1, {} if score is None else {"score": score}, None, {}, {}, [], task)


def suite_mean(made: list[Line], tasks: list[str], method: str, setting: str = "") -> float | None:
    found = [one for one in suite_lines(made, {"all": tasks}) if (one.method, one.setting) == (method, setting)]
    return found[0].mean if found else None


def test_a_suite_says_how_many_seeds_its_average_rests_on_and_what_failed() -> None:
    rows = [row(task="a", replicate=seed, request={"task": "a"}, variant="va") for seed in range(5)]
    rows.append(row(request={"task": "b"}, variant="vb"))
    rows += [row(request={"task": "b"}, variant="vb", state="failed", scores=None) for _ in range(4)]
    (found,) = suite_lines(lines(rows), {"all": ["a", "b"]})
    assert found.seeds == (1, 5)
    assert found.states == {"failed": 4}


def test_a_suite_never_mixes_settings() -> None:
    short = {"overrides": ["task.budget.steps=5"]}
    rows = [row(request={"task": "a"}, variant="1"), row(request={"task": "b", **short}, variant="2")]
    rows.append(row(request={"task": "a", **short}, variant="3"))
    found = {one.setting: (one.mean is None, one.tasks) for one in suite_lines(lines(rows), {"all": ["a", "b"]})}
    assert found == {"": (True, 1), "budget.steps=5": (False, 2)}


def test_one_variant_is_one_line_however_it_was_asked_for() -> None:
    """The order of overrides, and saying a default aloud, do not part what is the same."""
    asked = (["optimizer.lr=1", "head.x=2"], ["head.x=2", "optimizer.lr=1"], ["head.x=2", "optimizer.lr=1", "a.b=0"])
    (made,) = lines(row(request={"overrides": one}, replicate=seed, variant="v") for seed, one in enumerate(asked))
    assert made.method == "lora head.x=2 optimizer.lr=1"
    assert made.replicates == 3


def test_a_newer_variant_without_a_result_hides_nothing() -> None:
    rows = [row(variant="old", at="1"), row(variant="new", at="2", state="failed", scores=None)]
    (made,) = lines(rows)
    assert (made.replicates, made.older) == (1, 1)
    assert len(lines(rows, everything=True)) == 2


def test_a_suite_s_average_needs_all_its_tasks() -> None:
    made = [line("a", 0.2), line("b", 0.6), line("c", None), line("a", 0.9, "full")]
    assert suite_mean(made, ["a", "b"], "lora") == pytest.approx(0.4)
    assert suite_mean(made, ["a", "b", "c"], "lora") is None
    assert suite_mean(made, ["a", "d"], "lora") is None
    assert suite_mean(made, ["a"], "full") == 0.9
    assert suite_mean(made, ["a"], "none") is None


def test_a_score_of_nothing_is_a_score() -> None:
    assert suite_mean([line("a", 0.0), line("b", 0.5)], ["a", "b"], "lora") == 0.25


def test_means_are_finite() -> None:
    (made,) = lines(scored(*(0.1 * place for place in range(10))))
    assert all(math.isfinite(value) for value in made.mean.values())


def test_a_suite_of_groups_is_the_mean_of_their_means() -> None:
    made = [line("a", 0.2), line("b", 0.4), line("c", 0.9), line("d", None)]
    (found,) = suite_lines(made, {"many": ["a", "b"], "one": ["c"]})
    assert found.groups == {"many": pytest.approx(0.3), "one": 0.9}
    assert found.mean == pytest.approx(0.6), "and not the mean of the three tasks, 0.5"
    (found,) = suite_lines(made, {"many": ["a", "b"], "more": ["c", "d"]})
    assert (found.mean, dict(found.groups)) == (None, {"many": pytest.approx(0.3)})
