"""Comparing two methods, and planning how many seeds that takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.boards.compare import Components, differences, needed, power, split
from bench.boards.publish import load
from bench.core.errors import UserError

from .conftest import Publish


def test_differences_are_on_shared_seeds_and_items(board: Path, made: Publish) -> None:
    declared, _ = made(board)
    records, evidence = load(declared)
    found = {one.task.partition(" ")[0]: one for one in differences(records, evidence, "all", "scaled")}
    waves = found["toy/waves"]
    assert (waves.seeds, waves.items) == (3, 96)
    own = {
        name: {
            one["replicate"]: one["scores"]["score"]
            for one in records
            if one["method"] == name and "waves" in one["task"]
        }
        for name in ("all", "scaled")
    }
    assert waves.gap == pytest.approx(np.mean([own["all"][seed] - own["scaled"][seed] for seed in range(3)]))
    assert waves.half is not None
    assert waves.p is not None
    assert found["toy/angle"].items is None
    back = {one.task: one for one in differences(records, evidence, "scaled", "all")}
    assert back[waves.task].gap == pytest.approx(-waves.gap)
    assert back[waves.task].p == pytest.approx(waves.p)
    with pytest.raises(UserError, match="no task on which both"):
        differences(records, evidence, "all", "nobody")


def test_components_are_found_again() -> None:
    drawn = np.random.default_rng(0)
    found = [
        split(drawn.normal(size=(8, 200)) + 0.5 * drawn.normal(size=(8, 1)) + 0.7 * drawn.normal(size=(1, 200)))
        for _ in range(200)
    ]
    assert np.mean([one.seeds for one in found]) == pytest.approx(0.25, rel=0.1)
    assert np.mean([one.items for one in found]) == pytest.approx(0.49, rel=0.1)
    assert np.mean([one.rest for one in found]) == pytest.approx(1.0, rel=0.05)


def test_needed_seeds_have_the_power_they_promise() -> None:
    known = Components(seeds=0.02, items=0.05, rest=1.0, count=400)
    seeds = needed(known, 0.2)
    assert seeds is not None
    drawn, hits, count = np.random.default_rng(1), 0, 2000
    from scipy.stats import t

    for _ in range(count):
        values = (
            0.2
            + drawn.normal(size=(seeds, 400))
            + np.sqrt(0.02) * drawn.normal(size=(seeds, 1))
            + np.sqrt(0.05) * drawn.normal(size=(1, 400))
        )
        variance = known.variance(seeds)
        estimate = values.mean(axis=1).var(ddof=1) / seeds + known.items / 400
        hits += abs(values.mean()) > t.ppf(0.975, seeds - 1) * np.sqrt(estimate)
        assert variance > 0
    assert 0.65 < hits / count < 0.95
    smaller = needed(known, 0.1)
    assert smaller is None or smaller > seeds
    assert needed(Components(0.0, 0.05, 0.0, 10), 0.05) is None, "no number of seeds makes up for ten items"
    assert needed(Components(0.01, 0.0, 0.0, None), 0.1) == pytest.approx(11, abs=2), (
        "n = 2 (1.96 + .84)^2 / 2 and a little"
    )


def test_power_is_the_median_pair_s(board: Path, made: Publish) -> None:
    declared, _ = made(board)
    records, evidence = load(declared)
    task = next(one["task"] for one in records if "waves" in one["task"])
    seeds, pairs = power(records, evidence, task, 0.2)
    assert pairs == 3
    assert seeds is None or seeds >= 2
    harder, _ = power(records, evidence, task, 0.05)
    assert harder is None or (seeds is not None and harder >= seeds)
    with pytest.raises(UserError, match="two seeds in common"):
        power([one for one in records if one["replicate"] == 0], evidence, task, 0.1)


def test_sign_flips_are_scipy_s_permutation_test() -> None:
    from scipy import stats

    from bench.boards.resampling import sign_flips

    drawn = np.random.default_rng(3)
    gaps = drawn.normal(0.4, 1, size=9)
    found = stats.permutation_test(
        (gaps,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flips(gaps) == pytest.approx(found.pvalue)
    many = drawn.normal(0.1, 1, size=300)
    assert sign_flips(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.03)
    assert sign_flips(np.ones(3)) == 0.25, "three seeds cannot say more"


def test_resampling_agrees_with_the_default(board: Path, made: Publish) -> None:
    declared, _ = made(board)
    records, evidence = load(declared)
    for one in differences(records, evidence, "all", "scaled"):
        assert one.permutation is not None
        if one.items is None:
            assert one.permutation >= 0.25
            assert one.bootstrap is None
        else:
            assert one.bootstrap is not None
            assert 0 < one.bootstrap < 0.5
