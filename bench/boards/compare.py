"""Two methods side by side: the difference, what is known of it, and how many seeds would tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.boards.build import Group, groups_of
from bench.boards.measures import LEVEL, half_width
from bench.boards.records import Record
from bench.boards.resampling import bootstrap, sign_flips
from bench.boards.statistics import items_of, measure, pairs_of, scores_of
from bench.core.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

POWER = 0.8
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Difference:
    """One method against another on one task. `gap` is first less second, higher is better; shares, not per cent."""

    task: str
    first: float
    second: float
    gap: float
    half: float | None
    p: float | None
    seeds: int
    items: int | None
    permutation: float | None  # p of sign flips over items, or over seeds where no items are known
    bootstrap: float | None  # half the width of the two-way percentile bootstrap; None without items
    needed: int | None  # seeds that would separate a true difference of this size; None where none are enough
    basis: str


@dataclass(frozen=True)
class Components:
    """Variances of one difference: of seeds, of items, and of what is left for each item of each seed."""

    seeds: float
    items: float
    rest: float
    count: int | None  # of items; None where only seeds are known

    def variance(self, seeds: int) -> float:
        """Of the mean difference over so many seeds."""
        if self.count is None:
            return self.seeds / seeds
        return self.seeds / seeds + self.items / self.count + self.rest / (seeds * self.count)


def differences(records: Sequence[Record], evidence: Mapping[str, Array], first: str, second: str) -> list[Difference]:
    """Every task on which both have results on seeds in common; UserError where there is none."""
    found = []
    groups = groups_of(records)
    for group in groups:
        if {first, second} <= {line.method for line in group.lines if line.mean}:
            pair = Group(
                group.task, group.rule, [line for line in group.lines if line.method in (first, second)], group.records
            )
            found.append(replace(_difference(pair, evidence, first, second), task=_task(group, groups)))
    if not found:
        raise UserError(f"There is no task on which both {first!r} and {second!r} have results.")
    return found


def _task(group: Group, groups: Sequence[Group]) -> str:
    """The task, and the rule where it is read under several."""
    several = sum(one.task == group.task for one in groups) > 1
    return f"{group.task} ({group.rule})" if several else group.task


def _difference(group: Group, evidence: Mapping[str, Array], first: str, second: str) -> Difference:
    import math

    from scipy.stats import t

    measured = measure("crossed", group, evidence)
    pairs = pairs_of(measured, [first, second])
    gap, variance, freedom = float(pairs.means[0] - pairs.means[1]), pairs.variances[0, 1], pairs.freedom[0, 1]
    half = half_width(float(variance), float(freedom))
    p = None
    if half is not None:
        p = float(2 * t.sf(abs(gap) / math.sqrt(variance), freedom))
    known = components(group, evidence, first, second)
    items = items_of(group, [first, second], measured["common"], evidence)
    return Difference(
        group.task,
        float(pairs.means[0]),
        float(pairs.means[1]),
        gap,
        half,
        p,
        len(measured["common"]),
        None if items is None else items.shape[2],
        _permuted(group, items, first, second, measured["common"]),
        None if items is None or len(measured["common"]) < 2 else bootstrap(items[0] - items[1]),
        None if known is None or not gap else needed(known, abs(gap)),
        measured["basis"][0] if half is not None else "one seed in common: nothing is known of the spread",
    )


def _permuted(group: Group, items: Array | None, first: str, second: str, common: Sequence[int]) -> float | None:
    import numpy as np

    if items is not None:
        return sign_flips((items[0] - items[1]).mean(axis=0))
    scores = [scores_of(group.records[name], group.rule) for name in (first, second)]
    return sign_flips(np.array([scores[0][one] - scores[1][one] for one in common])) if len(common) > 1 else None


def components(group: Group, evidence: Mapping[str, Array], first: str, second: str) -> Components | None:
    """The variance components of a difference, from the seeds both have; None for fewer than two."""
    scores = [scores_of(group.records[name], group.rule) for name in (first, second)]
    common = sorted(set(scores[0]) & set(scores[1]))
    if len(common) < 2:
        return None
    items = items_of(group, [first, second], common, evidence)
    if items is not None:
        return split(items[0] - items[1])
    import numpy as np

    gaps = np.array([scores[0][one] - scores[1][one] for one in common])
    return Components(float(gaps.var(ddof=1)), 0.0, 0.0, None)


def split(values: Array) -> Components:
    """Variance components of a layout (seeds, items), none below nought."""
    seeds, items = values.shape
    grand, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    of_rows = items * ((rows - grand) ** 2).sum() / (seeds - 1)
    of_columns = seeds * ((columns - grand) ** 2).sum() / (items - 1)
    rest = ((values - rows[:, None] - columns[None, :] + grand) ** 2).sum() / ((seeds - 1) * (items - 1))
    return Components(
        float(max(0.0, of_rows - rest) / items), float(max(0.0, of_columns - rest) / seeds), float(rest), items
    )


def needed(known: Components, gap: float) -> int | None:
    """The fewest seeds with which a true difference `gap` is found with 80 % power at 5 %; None where the test's own
    items leave more doubt than any number of seeds could remove.
    """
    import math

    from scipy.stats import t

    for seeds in range(2, MOST_SEEDS + 1):
        of_seeds = known.seeds + (known.rest / known.count if known.count else 0.0)
        variance = known.variance(seeds)
        if not variance:
            return seeds
        share = (of_seeds / seeds) / variance
        of_items = ((1 - share) ** 2 / max(1, (known.count or 2) - 1)) if known.count else 0.0
        freedom = 1 / (share**2 / (seeds - 1) + of_items)
        reach = float(t.ppf(0.5 + LEVEL / 2, freedom) + t.ppf(POWER, freedom)) * math.sqrt(variance)
        if reach <= gap:
            return seeds
    return None


def power(records: Sequence[Record], evidence: Mapping[str, Array], task: str, gap: float) -> tuple[int | None, int]:
    """How many seeds find a difference `gap` on a task, from all pairs of methods that were run there: the median
    pair's, and how many pairs there are. UserError where no two methods share two seeds.
    """
    found: list[int] = []
    count = 0
    for group in groups_of(records):
        if group.task != task:
            continue
        names = [line.method for line in group.lines if line.mean]
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                known = components(group, evidence, first, second)
                if known is not None:
                    count += 1
                    found.append(needed(known, gap) or MOST_SEEDS + 1)
    if not found:
        raise UserError(f"No two methods have two seeds in common on {task}; run some first, with --seeds 3.")
    middle = sorted(found)[len(found) // 2]
    return (None if middle > MOST_SEEDS else middle), count
