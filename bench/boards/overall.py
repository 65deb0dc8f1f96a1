"""Over tasks: averages with intervals, ranks as intervals, the critical difference, who wins how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.boards.declare import Board
from bench.boards.measures import elo_intervals, friedman, letters, over_tasks, ranks, significant, win_rates
from bench.boards.memory import remembered
from bench.boards.statistics import pairs_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Built = Mapping[str, Any]
ELO_TASKS = 5  # a bootstrap over fewer tasks says that nothing is uncertain


def overall(
    board: Board, made: Built, found: Sequence[tuple[Any, Mapping[str, Any]]], cache: Path | None = None
) -> list[dict[str, Any]]:
    """One entry per method, rule and normalisation. A method that lacks a task follows the board's `missing` rule."""
    entries = []
    for rule in (one["name"] for one in made["rules"]):
        measured = {group.task: one for group, one in found if group.shown == rule}
        tasks, methods, table = _table(board, measured)
        if not tasks or not methods:
            continue
        whole = [name for name in methods if all(name in measured[task]["methods"] for task in tasks)]
        pairs = over_tasks([pairs_of(measured[task], whole) for task in tasks]) if whole else None
        better = significant(pairs) if pairs is not None else None
        marks = letters([float(one) for one in pairs.means], better) if pairs is not None and better is not None else []
        places = ranks(better) if better is not None else []
        average, _, _ = friedman(table)
        basis = ["elo", table.tolist()]
        strengths = (
            remembered(cache, basis, partial(_strengths, table))
            if len(methods) > 1 and len(tasks) >= ELO_TASKS
            else None
        )
        for kind in (one["name"] for one in made["normalisations"]):
            values = _normalised(kind, table, methods, board)
            for place, name in enumerate(methods):
                at = whole.index(name) if name in whole else None
                half = pairs.half(at) if pairs is not None and at is not None and kind == "none" else None
                mean = None if values is None else float(values[:, place].mean())
                entries.append(
                    {
                        "method": name,
                        "rule": rule,
                        "normalisation": kind,
                        "mean": mean,
                        "low": None if half is None or mean is None else mean - half,
                        "high": None if half is None or mean is None else mean + half,
                        "rank": list(places[at]) if at is not None else None,
                        "average_rank": float(average[place]),
                        "group": marks[at] if at is not None else "",
                        "tasks": sum(name in measured[task]["methods"] for task in tasks),
                        "elo": None if strengths is None else strengths[place],
                    }
                )
    return entries


def _strengths(table: NDArray[Any]) -> list[list[float]]:
    found: list[list[float]] = elo_intervals(table).tolist()
    return found


def critical_difference(board: Board, made: Built) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Friedman's and Nemenyi's figures per rule, from two tasks on, and the share of tasks each method wins."""
    import math

    distances, rates = [], []
    for rule in (one["name"] for one in made["rules"]):
        tasks, methods, table = _cells_table(board, made, rule)
        if len(tasks) < 2 or len(methods) < 2:
            continue
        average, p, distance = friedman(table)
        order = sorted(range(len(methods)), key=lambda place: (average[place], methods[place]))
        cliques: list[list[str]] = []
        for start, one in enumerate(order):
            inside = [other for other in order[start:] if average[other] - average[one] <= distance]
            names = [methods[other] for other in inside]
            if len(names) > 1 and not any(set(names) <= set(known) for known in cliques):
                cliques.append(names)
        distances.append(
            {
                "rule": rule,
                "cd": distance,
                "p": None if math.isnan(p) else p,
                "ranks": {methods[place]: float(average[place]) for place in order},
                "cliques": cliques,
                "tasks": len(tasks),
            }
        )
        won = win_rates(table)
        matrix = {
            one: {other: float(won[row, column]) for column, other in enumerate(methods) if other != one}
            for row, one in enumerate(methods)
        }
        rates.append({"rule": rule, "matrix": matrix})
    return distances, rates


def _table(board: Board, measured: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str], NDArray[Any]]:
    """(tasks, methods) of scores, higher is better, under the board's rule for what is missing."""
    import numpy as np

    tasks = sorted(measured)
    methods = sorted({name for task in tasks for name in measured[task]["methods"]})
    if board.body["missing"] == "none":
        methods = [name for name in methods if all(name in measured[task]["methods"] for task in tasks)]
    elif board.body["missing"] == "drop-task":
        tasks = [task for task in tasks if all(name in measured[task]["methods"] for name in methods)]
    rows = []
    for task in tasks:
        known = dict(zip(measured[task]["methods"], measured[task]["turned"], strict=True))
        rows.append([known.get(name, min(known.values())) for name in methods])
    return tasks, methods, np.array(rows, dtype=np.float64).reshape(len(tasks), len(methods))


def _cells_table(board: Board, made: Built, rule: str) -> tuple[list[str], list[str], NDArray[Any]]:
    measured: dict[str, dict[str, list[Any]]] = {}
    for one in made["cells"]:
        if one["rule"] == rule and one["mean"] is not None and one["rank"] is not None:
            entry = measured.setdefault(one["task"], {"methods": [], "turned": []})
            higher = _higher(made, one["task"], one["metric"])
            entry["methods"].append(one["method"])
            entry["turned"].append(one["mean"] if higher else -one["mean"])
    return _table(board, measured)


def _higher(made: Built, task: str, metric: str) -> bool:
    entry = next(one for one in made["tasks"] if one["name"] == task)
    return bool(next((one["higher"] for one in entry["metrics"] if one["name"] == metric), True))


def _normalised(kind: str, table: NDArray[Any], methods: Sequence[str], board: Board) -> NDArray[Any] | None:
    """Scores on a common scale per task; None where a baseline has no result."""
    import numpy as np

    if kind == "none":
        return table
    if kind == "minmax":
        low, high = table.min(axis=1, keepdims=True), table.max(axis=1, keepdims=True)
        scaled: NDArray[Any] = np.divide(table - low, high - low, out=np.full_like(table, 0.5), where=high > low)
        return scaled
    if board.body["baseline"] not in methods:
        return None
    gaps: NDArray[Any] = table - table[:, [methods.index(board.body["baseline"])]]
    return gaps
