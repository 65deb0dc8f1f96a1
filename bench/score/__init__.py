"""Scoring: joining saved predictions with the sealed test labels, once a selection stands. Each join is an event."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.prepare import unseal
from bench.metrics import metric, metric_names
from bench.predictions import load
from bench.predictions.measure import measure
from bench.select import read as read_selection


def score(
    folder: Path, task: Mapping[str, Any], data: str, parts: list[str], classes: int | None, access: Access
) -> dict[str, Any]:
    """The score event of a run's selected predictions.

    `folder` is the run's, `data` the digest its data were prepared under, `parts` the test parts it predicted.
    One test part: `values` holds the metrics and `score`; several: `PART/metric` and `score`, their scores' mean.
    Raises UserError when no selection is written, or the predictions are not of the sealed rows.
    """
    chosen = read_selection(folder)
    names = metric_names(task)
    by_part = {}
    for part in parts:
        ids, labels = unseal(data, part, access)
        predictions = load(folder, chosen["candidate"], part)
        found = predictions.pop("ids")
        if len(found) != len(ids) or (found != ids).any():
            raise UserError(f"The predictions in {folder} for {part} are not of the task's test rows.")
        by_part[part] = measure(names, predictions, labels, classes)
    return {
        "candidate": chosen["candidate"],
        "values": _joined(by_part),
        "primary": "score",
        "metrics": {name: metric(name).version for name in names},
    }


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
