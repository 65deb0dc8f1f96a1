"""Scoring: joining saved predictions with the sealed test labels, once a selection stands. Each join is an event."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.prepare import unseal
from bench.metrics import metric, metric_names, reported_names
from bench.predictions import CANDIDATES, load, path
from bench.predictions.measure import measure
from bench.problems import Problem
from bench.select import read as read_selection


def score(
    folder: Path, task: Mapping[str, Any], data: str, parts: list[str], problem: Problem, access: Access
) -> dict[str, Any]:
    """The score event of a run's predictions.

    `folder` is the run's, `data` the digest its data were prepared under, `parts` the parts with sealed labels that it
    predicted. One test part: `values` holds the metrics and `score`; several: `PART/metric` and `score`, their scores'
    mean. `primary` names the value that is the score. Where a rule chooses among finished runs, `candidates` holds the
    same for every candidate checkpoint, and `parts` the score of every part at each, those included that only a rule
    looks at.
    Raises UserError when no selection is written, or the predictions are not of the sealed rows.
    """
    chosen = str(read_selection(folder)["candidate"])
    names = [*metric_names(task), *reported_names(task)]
    event: dict[str, Any] = {
        "candidate": chosen,
        "primary": names[0] if len(metric_names(task)) == 1 and "test" in parts else "score",
        "metrics": {name: metric(name).version for name in names},
    }
    if not problem.afterwards:
        return {**event, "values": _joined(_measured(folder, chosen, task, data, parts, problem, access))}
    there = [one for one in CANDIDATES if path(folder, one, parts[0]).exists()]
    found = {one: _measured(folder, one, task, data, parts, problem, access) for one in there}
    values = {
        one: _joined({part: measured for part, measured in by.items() if _tested(part)}) for one, by in found.items()
    }
    scores = {one: {part: measured["score"] for part, measured in by.items()} for one, by in found.items()}
    return {**event, "values": values[chosen], "candidates": values, "parts": scores}


def part_score(
    folder: Path, candidate: str, task: Mapping[str, Any], data: str, part: str, problem: Problem, access: Access
) -> float:
    """The score of one sealed part at one checkpoint, for a rule that may look at it; nothing is recorded.

    Raises UserError when the run's own selection is not written.
    """
    read_selection(folder)
    there = candidate if path(folder, candidate, part).exists() else CANDIDATES[0]
    return _measured(folder, there, task, data, [part], problem, access)[part]["score"]


def _tested(part: str) -> bool:
    return part.partition("-")[0] == "test"


def _measured(
    folder: Path,
    candidate: str,
    task: Mapping[str, Any],
    data: str,
    parts: list[str],
    problem: Problem,
    access: Access,
) -> dict[str, dict[str, float]]:
    by_part = {}
    for part in parts:
        ids, labels, subgroups = unseal(data, part, access)
        predictions = load(folder, candidate, part)
        found = predictions.pop("ids")
        if len(found) != len(ids) or (found != ids).any():
            raise UserError(f"The predictions in {folder} for {part} are not of the task's test rows.")
        by_part[part] = measure(task, predictions, problem.truth(labels, subgroups))
    return by_part


def _joined(by_part: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    if list(by_part) == ["test"]:
        return dict(by_part["test"])
    values = {
        f"{part.removeprefix('test-')}/{name}": value
        for part, measured in by_part.items()
        for name, value in measured.items()
        if name != "score"
    }
    scores = [measured["score"] for measured in by_part.values()]
    return {**values, "score": sum(scores) / len(scores)}
