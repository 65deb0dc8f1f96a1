"""Searches as lines: how a study stands, and what its trials say about a smaller budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.aggregate import names
from bench.aggregate.tuned import mark
from bench.select.trials import READS, Trial, best_of, spent

LEVEL = 0.95


@dataclass(frozen=True)
class SearchLine:
    """One study: its trials by how they ended, the declared parameters' score, the best one, what was chosen."""

    name: str
    method: str
    task: str
    fold: str | None
    replicate: int
    search: str
    rule: str
    reads: str  # what the rule looks at
    planned: int
    spent: Mapping[str, float]
    default: float | None
    best: float | None
    overrides: tuple[str, ...]
    edges: Sequence[str]
    sealed: bool
    scored_before: int


@dataclass(frozen=True)
class Point:
    """The best validation score after `trials` trials: expected, and between which two it lies with 95 %."""

    trials: int
    expected: float
    low: float
    high: float


def line(
    name: str, spec: Mapping[str, Any], trials: Sequence[Trial], selection: Mapping[str, Any] | None
) -> SearchLine:
    """How a study stands."""
    best = best_of(trials)
    first = next((one.value for one in trials if one.number == 0), None)
    method, task = names(spec)
    return SearchLine(
        name,
        method,
        task,
        spec["fold"],
        int(spec["replicate"]),
        mark(spec).removeprefix("tuned: "),
        str(spec["rule"]),
        READS.get(str(spec["rule"]), str(spec["rule"])),
        int(spec["trials"]),
        spent([one for one in trials if one.state != "running"]),
        first,
        best.value if best else None,
        best.overrides if best else (),
        list((selection or {}).get("edges") or ()),
        selection is not None,
        int((selection or {}).get("scored_before") or 0),
    )


def curve(trials: Sequence[Trial]) -> list[Point]:
    """The best validation score as a function of the number of trials, from one search (Dodge et al. 2019).

    The bootstrap over the order of trials, in closed form: with the declared parameters always first, the best of k
    trials is the larger of their score and of k - 1 draws, with replacement, from the others (arXiv:1909.03004,
    equation 6). `low` and `high` are the 2.5 % and 97.5 % quantiles of that best. A trial that was pruned or failed
    counts as the worst score that was seen. Trials of a sampler that learns are not exchangeable: there, the curve is
    a description, no forecast.
    """
    ended = [one for one in trials if one.state in ("done", "pruned", "failed")]
    done = [one.value for one in ended if one.state == "done" and one.value is not None]
    if not done:
        return []
    worst = min(done)
    scores = {one.number: one.value if one.state == "done" and one.value is not None else worst for one in ended}
    first = scores.pop(0, worst)
    others = sorted(max(first, score) for score in scores.values())
    tail = (1 - LEVEL) / 2
    points = [Point(1, first, first, first)]
    count = len(others)
    for draws in range(1, count + 1):
        below = [(place / count) ** draws for place in range(count + 1)]  # that the best is one of the lowest
        expected = sum(score * (below[place + 1] - below[place]) for place, score in enumerate(others))
        low = next(score for place, score in enumerate(others) if below[place + 1] >= tail)
        high = next(score for place, score in enumerate(others) if below[place + 1] >= 1 - tail)
        points.append(Point(draws + 1, expected, low, high))
    return points
