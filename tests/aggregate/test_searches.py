"""The budget curve against the bootstrap whose limit it is."""

from __future__ import annotations

import itertools

import numpy as np

from bench.aggregate.searches import curve, line
from bench.select.trials import Trial

SPEC = {
    "method": "lora", "task": "toy/waves", "overrides": [], "fold": None, "replicate": 0, "rule": "val", "trials": 9,
    "sampler": "random", "sampler_seed": 0, "pruner": "none", "seconds": None, "precision": "32", "twin": False,
}  # fmt: skip


def trials(values: list[float | None]) -> list[Trial]:
    return [
        Trial(number, "failed" if value is None else "done", value, (), f"{number:064x}", 5, 1.0)
        for number, value in enumerate(values)
    ]


def test_the_curve_is_the_limit_of_the_bootstrap() -> None:
    values = [0.62, 0.50, 0.91, 0.70, 0.66, 0.85, 0.40, 0.77, 0.73]
    found = curve(trials(list(values)))
    drawn = np.random.default_rng(0).choice(values[1:], size=(200_000, 8))
    best = np.maximum(np.maximum.accumulate(drawn, axis=1), values[0])
    assert [one.trials for one in found] == list(range(1, 10))
    assert found[0].expected == found[0].low == found[0].high == 0.62, "the declared parameters come first"
    np.testing.assert_allclose([one.expected for one in found[1:]], best.mean(axis=0), atol=2e-3)
    for draws, point in enumerate(found[1:]):
        low, high = np.quantile(best[:, draws], [0.025, 0.975], method="inverted_cdf")
        assert (point.low, point.high) == (low, high)
    assert all(one.expected <= other.expected for one, other in itertools.pairwise(found))


def test_failures_count_as_the_worst_and_none_is_no_curve() -> None:
    found = curve(trials([None, 0.5, None, 0.9]))
    assert found[0].expected == 0.5
    assert found[-1].expected < 0.9
    assert curve(trials([None])) == []


def test_a_line_says_what_was_spent_and_chosen() -> None:
    made = line("x", SPEC, trials([0.5, None, 0.8]), None)
    assert (made.default, made.best, made.sealed) == (0.5, 0.8, False)
    assert made.spent == {"trials": 3, "done": 2, "failed": 1, "steps": 15, "seconds": 3.0}
    assert made.search == "9 trials, random"
