"""The statistics of boards: against transcriptions, SciPy, and simulation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.boards.measures import (
    crossed,
    elo,
    friedman,
    half_width,
    holm,
    letters,
    over_replicates,
    over_tasks,
    ranks,
    significant,
    win_rates,
)  # fmt: skip

DRAWN = np.random.default_rng(7)


def two_way(values: Any, paired: bool = False) -> tuple[float, float]:
    """Variance of the grand mean and degrees of freedom, by the textbook's sums, one layout (replicates, items)."""
    n, m = values.shape
    grand = values.mean()
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    msr = m * ((rows - grand) ** 2).sum() / (n - 1)
    msc = n * ((columns - grand) ** 2).sum() / (m - 1)
    residual = values - rows[:, None] - columns[None, :] + grand
    mse = (residual**2).sum() / ((n - 1) * (m - 1))
    msr, msc = max(msr, mse), max(msc, mse)
    spread = msr + msc - mse
    if paired:
        return spread / (n * m), spread / (msr / (n - 1) + (msc - mse) / (m - 1))
    parts = msr**2 / (n - 1) + msc**2 / (m - 1) + mse**2 / ((n - 1) * (m - 1))
    return spread / (n * m), spread**2 / parts


def test_crossed_effects_are_the_textbook_s() -> None:
    values = DRAWN.normal(size=(4, 5, 40)) + DRAWN.normal(size=(4, 5, 1)) + DRAWN.normal(size=(1, 1, 40))
    found = crossed(values)
    for one in range(4):
        assert (found.variances[one, one], found.freedom[one, one]) == pytest.approx(two_way(values[one]))
        for other in range(4):
            if other != one:
                expected = two_way(values[one] - values[other], paired=True)
                assert (found.variances[one, other], found.freedom[one, other]) == pytest.approx(expected, rel=1e-6)


def test_over_replicates_is_the_paired_t_test() -> None:
    values = DRAWN.normal(size=(3, 6))
    found = over_replicates(values)
    paired = stats.ttest_rel(values[0], values[1]).confidence_interval()
    gap = found.means[0] - found.means[1]
    half = half_width(found.variances[0, 1], found.freedom[0, 1])
    assert half is not None
    assert (gap - half, gap + half) == pytest.approx((paired.low, paired.high))
    one = stats.ttest_1samp(values[2], 0).confidence_interval()
    assert (found.means[2] - found.half(2), found.means[2] + found.half(2)) == pytest.approx((one.low, one.high))  # type: ignore[operator]


def test_one_replicate_says_nothing() -> None:
    for found in (crossed(DRAWN.normal(size=(3, 1, 50))), over_replicates(DRAWN.normal(size=(3, 1)))):
        assert found.half(0) is None
        assert not significant(found).any()
        assert ranks(significant(found)) == [(1, 3)] * 3


def test_holm_is_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = DRAWN.random(30) ** 3
    np.testing.assert_allclose(holm(p), multitest.multipletests(p, method="holm")[1])


def test_mean_squares_are_statsmodels() -> None:
    """The variance of a mean, from an analysis of variance that somebody else has made."""
    pandas, formula = pytest.importorskip("pandas"), pytest.importorskip("statsmodels.formula.api")
    anova = pytest.importorskip("statsmodels.stats.anova")
    values = DRAWN.normal(size=(4, 9)) + DRAWN.normal(size=(4, 1)) + DRAWN.normal(size=(1, 9))
    seed, item = np.indices(values.shape)
    frame = pandas.DataFrame({"y": values.ravel(), "seed": seed.ravel(), "item": item.ravel()})
    table = anova.anova_lm(formula.ols("y ~ C(seed) + C(item)", frame).fit())
    squares = table["sum_sq"] / table["df"]
    expected = squares["C(seed)"] + squares["C(item)"] - squares["Residual"]
    assert crossed(values[None]).variances[0, 0] == pytest.approx(expected / 36)


def test_nemenyi_is_scikit_posthocs() -> None:
    """Two methods are told apart by the distance exactly where their p-value is below 5 %."""
    posthocs = pytest.importorskip("scikit_posthocs")
    scores = DRAWN.normal(size=(25, 5)) + np.array([0.0, 0.3, 0.6, 0.9, 1.2])
    average, _, distance = friedman(scores)
    p = posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    told = np.abs(average[:, None] - average[None, :]) > distance
    np.fill_diagonal(told, False)
    assert told.any()
    np.testing.assert_array_equal(told, p < 0.05)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_friedman_is_scipy_s_and_nemenyi_s_distance_is_demsar_s() -> None:
    scores = DRAWN.normal(size=(14, 4))
    average, p, distance = friedman(scores)
    assert p == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    np.testing.assert_allclose(average, stats.rankdata(-scores, axis=1).mean(axis=0))
    assert distance == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), rel=1e-3), "his table 5: q = 2.569 for four"


@pytest.mark.parametrize("seed", range(20))
def test_letters_are_shared_exactly_by_what_is_tied(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    means = drawn.normal(size=8)
    gaps = means[:, None] - means[None, :]
    told = drawn.random((8, 8)) < 0.5
    better = (gaps > 0.4) & (told | told.T)
    found = letters(list(means), better)
    for one in range(8):
        assert found[one]
        for other in range(8):
            tied = not (better[one, other] or better[other, one])
            assert bool(set(found[one]) & set(found[other])) == tied
    best = int(np.argmax(means))
    assert "a" in found[best]


def test_sixty_methods_need_few_letters() -> None:
    """Thin ties: every largest group of them would be tens of thousands."""
    drawn = np.random.default_rng(0)
    means = drawn.normal(size=60)
    told = drawn.random((60, 60)) < 0.25
    better = (means[:, None] > means[None, :]) & (told | told.T)
    found = letters(list(means), better)
    for one in range(60):
        for other in range(60):
            named = [set(re.findall(r"\(\d+\)|[a-z]", text)) for text in (found[one], found[other])]
            assert bool(named[0] & named[1]) == (not (better[one, other] or better[other, one]))
    assert max(len(re.findall(r"\(\d+\)|[a-z]", text)) for text in found) < 300


def test_where_nothing_varies_nothing_is_claimed() -> None:
    values = np.zeros((2, 4, 30))
    values[1] = 1.0
    found = crossed(values)
    assert found.half(0) is None
    assert not significant(found).any()
    assert not significant(over_replicates(values.mean(axis=2))).any()


def test_ranks_hold_their_ends() -> None:
    better = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]], dtype=bool)
    assert ranks(better) == [(1, 1), (2, 3), (2, 3)]


def test_win_rates_and_strengths() -> None:
    scores = np.array([[3.0, 2.0, 1.0]] * 6 + [[1.0, 2.0, 2.0]] * 2)
    rates = win_rates(scores)
    assert rates[0, 1] == 0.75
    assert rates[1, 2] == (6 + 0.5 * 2) / 8
    np.testing.assert_allclose(rates + rates.T, 1.0)
    found = elo(rates, 8)
    assert found[0] > found[1] > found[2]
    assert found.mean() == pytest.approx(1500)
    two = elo(np.array([[0.5, 0.7], [0.3, 0.5]]), 1000)
    assert two[0] - two[1] == pytest.approx(400 * np.log10(700.5 / 300.5)), "two players: the odds themselves"


def test_over_tasks_adds_variances() -> None:
    found = [over_replicates(DRAWN.normal(size=(3, 5))) for _ in range(4)]
    made = over_tasks(found)
    assert made.variances[0, 0] == pytest.approx(sum(one.variances[0, 0] for one in found) / 16)
    assert 4 <= made.freedom[0, 0] <= 16


def coverage(seeds: int, items: int, of_seeds: float, of_items: float, count: int = 4000) -> float:
    """The share of intervals that hold the true mean, nought, with new seeds and items each time."""
    drawn = np.random.default_rng(seeds * 1000 + items)
    hits = 0
    for _ in range(count // 500):
        values = (
            drawn.normal(size=(500, seeds, items))
            + np.sqrt(of_seeds) * drawn.normal(size=(500, seeds, 1))
            + np.sqrt(of_items) * drawn.normal(size=(500, 1, items))
        )
        for one in values:
            found = crossed(one[None])
            half = found.half(0)
            assert half is not None
            hits += abs(found.means[0]) <= half
    return hits / count


def test_the_default_interval_covers() -> None:
    assert 0.93 < coverage(5, 40, 0.02, 0.5, 1500) < 0.975


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 4, 5, 8, 10])
@pytest.mark.parametrize(("items", "of_seeds", "of_items"), [(100, 0.01, 0.5), (100, 0.1, 0.2), (500, 0.001, 1.0)])
def test_coverage_of_the_default_interval(seeds: int, items: int, of_seeds: float, of_items: float) -> None:
    found = coverage(seeds, items, of_seeds, of_items)
    print(f"\n{seeds} seeds, {items} items, variances {of_seeds} and {of_items}: {100 * found:.1f} %")
    if seeds >= 5:
        assert 0.935 <= found <= 0.965


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(("middle", "of_seeds"), [(0.5, 0.05), (1.5, 0.05), (1.0, 0.2)])
def test_coverage_where_items_are_right_or_wrong(seeds: int, middle: float, of_seeds: float) -> None:
    """Items that are right with a probability of their own, on the scale of a probit; 400 of them."""
    from scipy.special import ndtr

    drawn, count, hits = np.random.default_rng(seeds), 3000, 0
    true = float(ndtr(middle / np.sqrt(1 + 1.0 + of_seeds**2)))
    for _ in range(count):
        level = middle + drawn.normal(size=(1, 400)) + of_seeds * drawn.normal(size=(seeds, 1))
        right = (drawn.normal(size=(seeds, 400)) < level).astype(float)
        found = crossed(right[None])
        half = found.half(0)
        assert half is not None
        hits += abs(found.means[0] - true) <= half
    print(f"\n{seeds} seeds, 400 right or wrong, {100 * true:.0f} % right: {100 * hits / count:.1f} %")
    assert seeds < 5 or 0.935 <= hits / count <= 0.965


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_seeds", "of_items"), [(0.1, 0.3), (0.03, 0.3), (0.0, 0.0), (0.1, 0.0), (0.3, 0.3), (0.0, 0.3)]
)
def test_false_wins_stay_below_their_level(of_seeds: float, of_items: float) -> None:
    """Six equal methods: on how many boards any pair is told apart, at a nominal 5 %. Standard deviations."""
    drawn, count, wrong = np.random.default_rng(1), 1500, 0
    for _ in range(count):
        own = of_seeds * drawn.normal(size=(6, 5, 1)) + of_items * drawn.normal(size=(6, 1, 200))
        values = drawn.normal(size=(1, 1, 200)) + drawn.normal(size=(6, 5, 200)) + own
        wrong += bool(significant(crossed(values)).any())
    print(f"\nsd of seeds {of_seeds}, of items {of_items}: false wins on {100 * wrong / count:.1f} % of boards")
    assert wrong / count <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.1, 0.2, 0.3, 0.5])
def test_how_often_a_true_difference_is_missed(gap: float) -> None:
    """Two methods whose means differ by `gap` residual standard deviations, on 200 items and 5 seeds."""
    drawn, count, ties = np.random.default_rng(2), 1500, 0
    for _ in range(count):
        own = 0.03 * drawn.normal(size=(2, 5, 1)) + 0.3 * drawn.normal(size=(2, 1, 200))
        values = drawn.normal(size=(1, 1, 200)) + drawn.normal(size=(2, 5, 200)) + own
        values[0] += gap
        ties += not significant(crossed(values))[0, 1]
    print(f"\na difference of {gap}: a tie on {100 * ties / count:.1f} % of boards")
    assert gap < 0.5 or ties / count < 0.05
