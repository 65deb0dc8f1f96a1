"""Tables of searches: what each study chose, and how much a smaller budget would have found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.aggregate.searches import Point, SearchLine
from bench.tables import Table, seconds

_STEPS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def searches(lines: Sequence[SearchLine]) -> Table:
    """One row per study: validation score of the declared parameters and of the best trial, its parameters."""
    folded = any(line.fold for line in lines)
    seeded = any(line.replicate for line in lines)
    header = ["task", "method", *(["without"] if folded else []), *(["seed"] if seeded else [])]
    left = len(header)
    header += ["trials", "declared", "best", "spent", "chosen"]
    rows = [
        [
            line.task,
            line.method,
            *([line.fold or ""] if folded else []),
            *([str(line.replicate)] if seeded else []),
            _trials(line),
            _percent(line.default),
            _percent(line.best),
            f"{int(line.spent['steps']):,} steps, {seconds(line.spent['seconds'])}",
            " ".join(line.overrides) or "the declared parameters",
        ]
        for line in lines
    ]
    raw = [{**asdict(line), "overrides": list(line.overrides)} for line in lines]
    notes = ["Scores in per cent, higher is better, on what the choice was made by; no trial's test score was known."]
    notes += sorted({f"Chosen by {line.rule}: {line.reads}." for line in lines})
    if any(not line.sealed for line in lines):
        notes.append("Open: a study whose budget is not spent has chosen nothing yet.")
    for line in lines:
        notes += [f"{line.method} on {line.task}: {edge}; the best may lie beyond it." for edge in line.edges]
        if line.scored_before:
            said = f"{line.scored_before} of the trials had been scored on the test before, by other commands"
            notes.append(f"{line.method} on {line.task}: {said}.")
    return Table(header, rows, raw, "Searches", notes, left=left)


def curves(lines: Sequence[SearchLine], points: Mapping[str, Sequence[Point]]) -> Table:
    """The expected best validation score after so many trials, with the interval in which it lies."""
    longest = max((len(found) for found in points.values()), default=0)
    shown = [step for step in _STEPS if step < longest] + ([longest] if longest else [])
    rows = []
    for line in lines:
        by_count = {point.trials: point for point in points[line.name]}
        fold = f" without {line.fold}" if line.fold else ""
        cells = [_point(by_count[step]) if step in by_count else "-" for step in shown]
        rows.append([f"{line.task}{fold}", line.method, *cells])
    raw = [{"study": line.name, "points": [asdict(point) for point in points[line.name]]} for line in lines]
    notes = [
        "Expected best validation score in per cent after so many trials, the declared parameters first; in brackets "
        "where the best would lie in 95 % of orders (bootstrap over the order of trials).",
    ]
    if any("random" not in line.search for line in lines):
        notes.append("A sampler that learns makes later trials better: for it the curve is a description, no forecast.")
    return Table(["task", "method", *(str(step) for step in shown)], rows, raw, "Budget curve", notes)


def _standing(row: Mapping[str, Any]) -> str:
    if row["chosen"]:
        return "chosen"
    if row["post_hoc"]:
        return "post hoc"
    return "declared parameters" if row["number"] == 0 else "scored by another command"


def _trials(line: SearchLine) -> str:
    ended = int(line.spent["trials"])
    parts = [f"{int(line.spent[state])} {state}" for state in ("pruned", "failed") if line.spent.get(state)]
    count = f"{ended}" if ended == line.planned else f"{ended} of {line.planned}"
    return f"{count} ({', '.join(parts)})" if parts else count


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _point(point: Point) -> str:
    return f"{100 * point.expected:.1f} [{100 * point.low:.1f}, {100 * point.high:.1f}]"


def opened(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Every trial's test score beside its validation score, which alone has chosen."""
    cells = [
        [
            str(row["label"]),
            str(row["number"]),
            _percent(row["value"]),
            _percent(row["test"]),
            _standing(row),
            " ".join(row["overrides"]),
        ]
        for row in rows
    ]
    notes = ["post hoc: looked at after the search had chosen; no result of the method, and read by no rule."]
    header = ["study", "trial", "validation", "test", "", "parameters"]
    return Table(header, cells, list(rows), "Trials on the test, afterwards", notes, left=1)
