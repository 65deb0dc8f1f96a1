"""The board as the page's script reads it: compact JSON that is inert inside a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.printable import printable
from bench.tables.page.faces import COSTS, Face, Faces, number

MARKS = {
    "provisional": "made from uncommitted code or from data that differ from the published ones",
    "post hoc": "a search's trial that was not chosen, scored afterwards",
    "stale": "its method, metric or data changed since",
    "reported": "another's number: from a publication, or sent without what would verify it",
    "verified": "sent by somebody, and scored here from its predictions",
    "imported": "predictions made elsewhere, scored here",
}
_PLAIN = frozenset({int, float, bool, type(None)})
# What could end the script element, open a comment in it, or end a line in a string.
_UNSAFE = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}


def inert(value: Any) -> str:
    """JSON whose every string is printable and which no HTML parser can leave. ValueError for what is not finite."""
    text = json.dumps(_clean(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_UNSAFE)


def _clean(value: Any) -> Any:
    # By exact type first: a board of 100,000 records has two million values.
    kind = type(value)
    if kind is str:
        return value if value.isprintable() else printable(value)  # what isprintable accepts has nothing to write out
    if kind in _PLAIN:
        return value
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, Mapping):
        return {printable(key): _clean(item) for key, item in value.items()}
    return value if isinstance(value, int | float) else printable(value)


def packed_board(board: Mapping[str, Any], found: Faces) -> dict[str, Any]:
    """Everything but the records. Cells stand by the numbers of their rule, task and metric, then of their method."""
    names = [method["name"] for method in board["methods"]]
    rules = _numbers(board["rules"])
    norms = _numbers(board["normalisations"])
    tasks = _numbers(board["tasks"])
    metrics = {task["name"]: _numbers(task["metrics"]) for task in board["tasks"]}
    places = {record["key"]: place for place, record in enumerate(board.get("records", ()))}
    return {
        "rules": [_titled(rule) for rule in board["rules"]],
        "norms": [_titled(norm) for norm in board["normalisations"]],
        "methods": [_titled(method) for method in board["methods"]],
        "tasks": [_task(task) for task in board["tasks"]],
        "costs": COSTS,
        "marks": list(MARKS),
        "level": board["level"],
        "heads": found.heads,
        "cells": {
            f"{rules[rule]}/{tasks[task]}/{metrics[task][metric]}": [
                _packed(column[name], places) if name in column else 0 for name in names
            ]
            for (rule, task, metric), column in found.tasks.items()
        },
        "overall": {
            f"{rules[rule]}/{norms[norm]}": [
                [_packed(face, places) for face in rows[name]] if name in rows else 0 for name in names
            ]
            for (rule, norm), rows in found.overall.items()
        },
        "critical": {str(rules[one["rule"]]): _critical(one, names) for one in board.get("critical_difference", ())},
        "wins": {
            str(rules[one["rule"]]): [
                [number(one["matrix"].get(row, {}).get(column)) for column in names] for row in names
            ]
            for one in board.get("win_rates", ())
        },
    }


def _numbers(named: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {one["name"]: place for place, one in enumerate(named)}


def _titled(one: Mapping[str, Any]) -> dict[str, str]:
    return {"name": one["name"], "title": one.get("title") or one["name"]}


def _task(task: Mapping[str, Any]) -> dict[str, Any]:
    metrics = [{**_titled(one), "higher": bool(one["higher"]), "unit": one.get("unit", "")} for one in task["metrics"]]
    primary = [one["name"] for one in task["metrics"]].index(task["primary"])
    return {**_titled(task), "family": task["family"], "metrics": metrics, "primary": primary}


def _packed(face: Face, places: Mapping[str, int]) -> dict[str, Any]:
    """A face without what it does not have; the script reads these letters."""
    whole = {
        "t": face.text,
        "v": face.value,
        "l": face.low,
        "h": face.high,
        "d": face.detail,
        "b": int(face.best),
        "m": face.marks,
        "n": face.note,
        "x": face.bar,
        "c": face.costs if any(cost is not None for cost in face.costs) else None,
        "s": face.seeds,
        "k": [places[key] for key in face.keys if key in places],
    }
    return {name: item for name, item in whole.items() if item or (name in "vlh" and item is not None)}


def _critical(one: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    ranks = {name: number(value) for name, value in one["ranks"].items()}
    return {
        "cd": number(one.get("cd")),
        "p": number(one.get("p")),
        "ranks": [[names.index(name), value] for name, value in ranks.items() if value is not None],
        "cliques": [sorted(names.index(name) for name in clique) for clique in one.get("cliques", ())],
    }


def packed_records(board: Mapping[str, Any]) -> dict[str, Any]:
    """The records as rows; what many share (versions, hardware, parameters, names) is kept once and referred to."""
    methods = _numbers(board["methods"])
    tasks = _numbers(board["tasks"])
    shared: dict[str, int] = {}
    kept: list[Any] = []

    def once(value: Any) -> int:
        text = repr(value)
        if text not in shared:
            shared[text] = len(kept)
            # What is not finite, which JSON has no word for, becomes its name.
            kept.append(json.loads(json.dumps(value, sort_keys=True, default=str), parse_constant=str))
        return shared[text]

    def measured(values: Mapping[str, Any] | None) -> list[Any]:
        found = values or {}
        return [once(list(found)), [number(value) for value in found.values()]]

    rows = [
        [
            methods[record["method"]],
            tasks[record["task"]],
            once(record.get("fold")),
            record.get("replicate"),
            *measured(record.get("scores")),
            *measured(record.get("cost")),
            once(record.get("parameters") or {}),
            once(record.get("versions") or {}),
            once(record.get("hardware") or ""),
            once(record.get("commit")),
            once(list(record.get("marks") or ())),
            record.get("command") or "",
            record["key"],
        ]
        for record in board.get("records", ())
    ]
    return {"shared": kept, "rows": rows}
