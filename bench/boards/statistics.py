"""The statistics of one task under one rule: intervals, ties, ranks, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.aggregate.folds import joined
from bench.boards.measures import Pairs, crossed, letters, over_replicates, ranks, significant
from bench.boards.records import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.boards.build import Group

    Array = NDArray[Any]

SHARED = "new seeds and new test items"
SEEDS = "new seeds, the same test items"
ALONE = "one seed: nothing is known of its spread"


def measure(interval: str, group: Group, evidence: Mapping[str, Array]) -> dict[str, Any]:
    """Means, half widths, letters, rank intervals of the methods that have a result, as plain lists.

    Methods are compared on the replicates that all of them have; a mean is over all of a method's own. `mean` and
    `half` are in the score's unit, turned so that higher is better.
    """
    import numpy as np

    methods = [line.method for line in group.lines if line.mean]
    scores = {name: scores_of(group.records[name], group.rule) for name in methods}
    signs = {line.method: _sign(line) for line in group.lines if line.mean}
    common = sorted(set.intersection(*(set(found) for found in scores.values())))
    table = np.array([[scores[name][one] for one in common] for name in methods]) if common else None
    items = items_of(group, methods, common, evidence) if interval in ("crossed", "bootstrap") else None
    if items is not None:
        pairs = crossed(items)
    elif table is not None:
        pairs = over_replicates(table)
    else:
        empty = np.full((len(methods), len(methods)), np.nan)
        pairs = Pairs(np.array([np.mean(list(scores[name].values())) for name in methods]), empty, empty)
    better = significant(pairs)
    means = [float(np.mean(list(scores[name].values()))) for name in methods]
    own = [_own(interval, scores[name], _own_items(group, name, evidence)) for name in methods]
    top = int(np.argmax(pairs.means))
    return {
        "methods": methods,
        "common": common,
        "mean": [signs[name] * value for name, value in zip(methods, means, strict=True)],
        "half": [half for half, _ in own],
        "basis": [basis for _, basis in own],
        "letters": letters([float(value) for value in pairs.means], better),
        "ranks": [list(one) for one in ranks(better)],
        "best": [bool(not better[top, place]) for place in range(len(methods))],
        "turned": [float(value) for value in pairs.means],
        "variances": _plain(pairs.variances),
        "freedom": _plain(pairs.freedom),
    }


def pairs_of(measured: Mapping[str, Any], methods: Sequence[str]) -> Pairs:
    """The pairs of some methods, from what `measure` gave."""
    import numpy as np

    places = [measured["methods"].index(name) for name in methods]
    variances, freedom = (
        np.array([[np.nan if one is None else one for one in row] for row in measured[name]], dtype=np.float64)
        for name in ("variances", "freedom")
    )
    return Pairs(
        np.array(measured["turned"])[places], variances[np.ix_(places, places)], freedom[np.ix_(places, places)]
    )


def scores_of(records: Sequence[Record], rule: str) -> dict[int, float]:
    """The score of each replicate, turned so that higher is better; of a task with folds, their mean."""
    if records and records[0]["request"].get("folds"):
        rows = [{**one, "rule": rule if one.get("tuned") else None} for one in records]
        return {int(row["replicate"]): float(row["scores"]["score"]) for row in joined(rows, rule)}
    return {int(one["replicate"]): float(one["scores"]["score"]) for one in records}


def _sign(line: Any) -> int:
    """-1 where the value that is shown counts down (a distance), so that a turned mean is turned back."""
    if line.primary in line.mean and line.primary != "score" and "score" in line.mean:
        return -1 if line.mean[line.primary] * line.mean["score"] < 0 else 1
    return 1


def items_of(
    group: Group, methods: Sequence[str], common: Sequence[int], evidence: Mapping[str, Array]
) -> Array | None:
    """(methods, replicates, items) where every run has evidence of the same rows; None otherwise."""
    import numpy as np

    if not common:
        return None
    found = [_own_items(group, name, evidence) for name in methods]
    if any(one is None for one in found):
        return None
    chosen = [[one[replicate] for replicate in common] for one in found if one is not None]
    if len({len(values) for rows in chosen for values in rows}) != 1:
        return None
    return np.array(chosen)


def _own_items(group: Group, method: str, evidence: Mapping[str, Array]) -> dict[int, Array] | None:
    """What each test row adds, by replicate; None where a run has no evidence, or several parts or folds."""
    made = {}
    for record in group.records[method]:
        parts = list((record.get("evidence") or {}).values())
        if len(parts) != 1 or record["fold"] is not None or parts[0] not in evidence:
            return None
        made[int(record["replicate"])] = evidence[parts[0]]
    return made


def _own(interval: str, scores: Mapping[int, float], items: Mapping[int, Array] | None) -> tuple[float | None, str]:
    """Half the width of a method's own interval, and its estimand."""
    import numpy as np

    from bench.boards.resampling import bootstrap, interquartile

    if len(scores) < 2:
        return None, ALONE
    if interval == "interquartile":
        return interquartile(list(scores.values())), "the middle half of new seeds, the same test items"
    same = items is not None and set(items) == set(scores) and len({len(one) for one in items.values()}) == 1
    if items is not None and same and interval == "crossed":
        return crossed(np.array([[items[one] for one in sorted(items)]])).half(0), SHARED
    if items is not None and same and interval == "bootstrap":
        return bootstrap(np.array([items[one] for one in sorted(items)])), SHARED
    values = np.array([[scores[one] for one in sorted(scores)]])
    return over_replicates(values).half(0), SEEDS


def _plain(values: Array) -> list[list[float | None]]:
    """Lists that JSON can hold: None for nan."""
    import math

    return [[None if math.isnan(one) else float(one) for one in row] for row in values]
