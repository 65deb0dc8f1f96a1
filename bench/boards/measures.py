"""All pairs of methods on one task, and over tasks: what can be told apart, and what is tied.

Arrays hold every method at once, so that sixty methods cost little more than two. Scores are turned so that higher is
better. The estimand is new seeds and new items where items are known, new seeds on the same items otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

LEVEL = 0.95
_NOTHING = 1e-24  # a variance that is nought but for rounding


@dataclass(frozen=True)
class Pairs:
    """What is known of `count` methods: means (M,), and of every pair the difference's variance and its degrees of
    freedom (M, M), nan where a pair cannot be compared. The diagonal holds those of a method's own mean.
    """

    means: Array
    variances: Array
    freedom: Array

    def half(self, place: int) -> float | None:
        """Half the width of a method's 95 % interval; None where one replicate says nothing of it."""
        return half_width(float(self.variances[place, place]), float(self.freedom[place, place]))


def half_width(variance: float, freedom: float) -> float | None:
    """Half the width of a 95 % t interval; None where it is not known, or nothing varied, which shows no spread."""
    import math

    from scipy.stats import t

    if not (math.isfinite(variance) and math.isfinite(freedom)) or variance <= _NOTHING:
        return None
    return float(t.ppf(0.5 + LEVEL / 2, max(freedom, 1.0)) * math.sqrt(max(variance, 0.0)))


def crossed(values: Array) -> Pairs:
    """From scores of items (methods, replicates, items): crossed random effects of replicates and items.

    The variance of a mean is (MSR + MSC - MSE) / nm from the mean squares of a two-way layout without repetition, with
    Satterthwaite's degrees of freedom (Satterthwaite. 1946); MSR and MSC count as at least MSE, in both. A difference
    of two methods is a layout of differences; its degrees of freedom are the harmonic mean of the parts', weighted by
    their shares of the variance, which is fewer. Without both cautions the tails of small p-values are too thin: of
    six equal methods some pair was told apart on 13 % of boards in place of 5 %. One replicate gives nan.
    """
    import numpy as np

    count, seeds, items = values.shape
    means = values.mean(axis=(1, 2))
    if seeds < 2 or items < 2:
        empty = np.full((count, count), np.nan)
        return Pairs(means, empty, empty)
    centred = values - means[:, None, None]
    total = _apart(centred.reshape(count, -1))
    rows = items * _apart(centred.mean(axis=2))
    columns = seeds * _apart(centred.mean(axis=1))
    rest = np.maximum(total - rows - columns, 0.0) / ((seeds - 1) * (items - 1))
    rows, columns = rows / (seeds - 1), columns / (items - 1)
    # A mean square below the residual's is chance: taking it at its word would find certainty in luck.
    rows, columns = np.maximum(rows, rest), np.maximum(columns, rest)
    spread = rows + columns - rest
    parts = rows**2 / (seeds - 1) + columns**2 / (items - 1) + rest**2 / ((seeds - 1) * (items - 1))
    alone = np.divide(spread**2, parts, out=np.full_like(spread, float(seeds - 1)), where=parts > 0)
    shares = rows / (seeds - 1) + (columns - rest) / (items - 1)
    freedom = np.divide(spread, shares, out=np.full_like(spread, float(seeds - 1)), where=shares > 0)
    np.fill_diagonal(freedom, np.diag(alone))
    return Pairs(means, spread / (seeds * items), freedom)


def over_replicates(values: Array) -> Pairs:
    """From scores of replicates (methods, replicates): t over seeds, differences of the same seed. One gives nan."""
    import numpy as np

    count, seeds = values.shape
    means = values.mean(axis=1)
    if seeds < 2:
        empty = np.full((count, count), np.nan)
        return Pairs(means, empty, empty)
    variances = _apart(values - means[:, None]) / (seeds - 1) / seeds
    return Pairs(means, variances, np.full((count, count), float(seeds - 1)))


def over_tasks(found: Sequence[Pairs]) -> Pairs:
    """The mean over tasks, whose errors are independent; Welch's degrees of freedom. These tasks, not new ones."""
    import numpy as np

    tasks = len(found)
    means = np.mean([one.means for one in found], axis=0)
    variances = np.sum([one.variances for one in found], axis=0)
    parts = np.sum([one.variances**2 / np.maximum(one.freedom, 1.0) for one in found], axis=0)
    freedom = np.divide(variances**2, parts, out=np.ones_like(variances), where=parts > 0)
    return Pairs(means, variances / tasks**2, freedom)


def significant(pairs: Pairs) -> Array:
    """Which pairs differ at 5 % over all pairs together (Holm. 1979): (M, M), True where the row is better."""
    import numpy as np
    from scipy.stats import t

    count = len(pairs.means)
    gaps = pairs.means[:, None] - pairs.means[None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(gaps) / np.sqrt(np.where(pairs.variances > _NOTHING, pairs.variances, np.nan))
    p = 2 * t.sf(ratio, np.maximum(pairs.freedom, 1.0))
    p = np.where(np.isnan(p), 1.0, p)
    upper = np.triu_indices(count, 1)
    told = np.zeros((count, count), dtype=bool)
    told[upper] = holm(p[upper]) <= 1 - LEVEL
    return (told | told.T) & (gaps > 0)


def holm(p: Array) -> Array:
    """Holm's adjusted p-values."""
    import numpy as np

    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]) if len(p) else p
    made = np.empty_like(p, dtype=np.float64)
    made[order] = np.minimum(adjusted, 1.0)
    return made


def ranks(better: Array) -> list[tuple[int, int]]:
    """Rank intervals: from one more than are surely better, to the number that are not surely worse."""
    count = len(better)
    return [(1 + int(better[:, place].sum()), count - int(better[place].sum())) for place in range(count)]


def letters(means: Sequence[float], better: Array) -> list[str]:
    """Compact letters: two methods share one exactly where they are tied.

    The tied pairs are covered by groups, each grown greedily from the best pair that is in none yet (Gramm et al.
    2007). Listing every largest group, as Piepho (2004) does, can take tens of thousands of letters for sixty methods.
    """
    count = len(means)
    order = sorted(range(count), key=lambda place: (-means[place], place))
    tied = {one: {other for other in order if not (better[one, other] or better[other, one])} for one in order}
    groups: list[set[int]] = []
    for place, one in enumerate(order):
        for other in order[place:]:
            if other in tied[one] and not any({one, other} <= group for group in groups):
                group = {one, other}
                for more in order:
                    if group <= tied[more]:
                        group.add(more)
                groups.append(group)
    found = [group for group in groups if not any(group < larger for larger in groups)]
    found.sort(key=lambda group: sorted(order.index(place) for place in group))
    return ["".join(_letter(number) for number, group in enumerate(found) if place in group) for place in range(count)]


def friedman(scores: Array) -> tuple[Array, float, float]:
    """(tasks, methods) -> average ranks, the p of Friedman's test, the critical difference of Nemenyi's.

    Demsar. Statistical Comparisons of Classifiers over Multiple Data Sets. 2006. Two methods are compared by the
    normal approximation alone.
    """
    import numpy as np
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    tasks, count = scores.shape
    average = rankdata(-scores, axis=1).mean(axis=0)
    p = float("nan")
    if count > 2 and tasks > 1 and np.ptp(scores, axis=1).any():
        p = float(friedmanchisquare(*scores.T).pvalue)
    quantile = float(studentized_range.ppf(LEVEL, count, np.inf)) / np.sqrt(2) if count > 1 else 0.0
    return average, p, float(quantile * np.sqrt(count * (count + 1) / (6 * tasks)))


def win_rates(scores: Array) -> Array:
    """(tasks, methods) -> (methods, methods): the share of tasks on which the row is better, ties as half."""
    import numpy as np

    gaps = scores[:, :, None] - scores[:, None, :]
    rates: Array = ((gaps > 0) + 0.5 * (gaps == 0)).mean(axis=0)
    np.fill_diagonal(rates, 0.5)
    return rates


def elo(rates: Array, tasks: int) -> Array:
    """Bradley-Terry strengths on Elo's scale, mean 1500 (Bradley, Terry. 1952; MM: Hunter. 2004).

    `rates` is (..., methods, methods). Half a win and half a loss are added to every pair, so that a method that wins
    everything has a finite strength.
    """
    import numpy as np

    count = rates.shape[-1]
    wins = (rates * tasks + 0.5) * (1 - np.eye(count))
    won, played = wins.sum(axis=-1), wins + np.swapaxes(wins, -1, -2)
    strength = np.ones(rates.shape[:-1])
    for _ in range(2000):
        made = won / (played / (strength[..., :, None] + strength[..., None, :])).sum(axis=-1)
        made /= np.exp(np.log(made).mean(axis=-1, keepdims=True))
        moved = np.abs(np.log(made / strength)).max()
        strength = made
        if moved < 1e-9:
            break
    found: Array = 1500 + 400 * np.log10(strength)
    return found


def elo_intervals(scores: Array, draws: int = 200) -> Array:
    """(tasks, methods) -> (methods, 3): the strength, and its 95 % percentile bootstrap over tasks."""
    import numpy as np

    tasks = len(scores)
    centre = elo(win_rates(scores), tasks)
    low = high = centre
    if tasks > 1:
        drawn = np.random.default_rng(0)
        samples = np.stack([win_rates(scores[drawn.integers(0, tasks, tasks)]) for _ in range(draws)])
        low, high = np.quantile(elo(samples, tasks), [0.025, 0.975], axis=0)
    found: Array = np.stack([centre, low, high], axis=1)
    return found


def _apart(values: Array) -> Array:
    """(M, k) centred -> (M, M): sums of squares of every pair's differences; on the diagonal, of each alone."""
    import numpy as np

    gram = values @ values.T
    own = np.diag(gram)
    found = np.maximum(own[:, None] + own[None, :] - 2 * gram, 0.0)
    np.fill_diagonal(found, own)
    made: Array = found
    return made


def _letter(number: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[number] if number < 26 else f"({number})"
