"""A board from its records: every cell with its interval and its ties, averages, ranks; nothing is read but records.

The statistics of a task are kept in the cache under the digest of what they were made from, so that a board of many
records is built again in the time it takes to read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.aggregate import Line, lines, names
from bench.boards.declare import Board
from bench.boards.detail import costs, method_entries, notes, record_entries, task_entries
from bench.boards.measures import LEVEL
from bench.boards.memory import remembered
from bench.boards.overall import critical_difference, overall
from bench.boards.records import Record, unhurried
from bench.boards.statistics import SEEDS
from bench.core.errors import UserError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Evidence = Mapping[str, NDArray[Any]]

MOST_RECORDS = 20_000  # that the page lists one by one; of more it would be too large to open on a phone
DECLARED = "declared"  # the rule that each task declares; of held-out domains, training-domain validation
RULE_TITLES = {
    DECLARED: "as each task declares",
    "val": "training-domain validation",
    "last": "last step",
    "oracle": "oracle (target validation)",
    "leave-one-domain-out": "leave-one-domain-out",
}
ESTIMANDS = {
    "crossed": "new seeds and new test items",
    "t": "new seeds, the same test items",
    "bootstrap": "new seeds and new test items",
    "interquartile": "the middle half of new seeds, the same test items",
}


@dataclass(frozen=True)
class Group:
    """What is compared: the lines of one task under one rule, with each one's scores by replicate."""

    task: str
    rule: str
    lines: Sequence[Line]
    records: Mapping[str, Sequence[Record]]  # method -> its done records

    @property
    def shown(self) -> str:
        """The rule as the board's choice of rules names it: others than the declared one are a matter of folds."""
        folded = any(line.domains is not None for line in self.lines)
        return self.rule if folded and self.rule != "val" else DECLARED


def build(board: Board, records: Sequence[Record], evidence: Evidence, cache: Path | None = None) -> dict[str, Any]:
    """The whole board as plain values: what every table and the page are drawn from."""
    with unhurried():
        return _build(board, named(records), evidence, cache)


def _build(board: Board, records: Sequence[Record], evidence: Evidence, cache: Path | None) -> dict[str, Any]:
    groups = groups_of(records)
    measured = [_measured(board, group, evidence, cache) for group in groups]
    tasks = task_entries(board, records)
    primary = {entry["name"]: entry["primary"] for entry in tasks}
    cells = [
        cell
        for group, found in zip(groups, measured, strict=True)
        for cell in _cells(group, found, primary, len(records) <= MOST_RECORDS)
    ]
    for cell in cells:
        if cell["low"] is not None and cell["basis"] != ESTIMANDS[board.body["interval"]]:
            cell["note"] = f"Interval: {cell['basis']}."
    cells += _reported(board, groups, primary)
    rules = sorted({group.shown for group in groups}, key=lambda rule: (rule != DECLARED, rule)) or [DECLARED]
    methods = list(dict.fromkeys([line.method for group in groups for line in group.lines] + _names(board)))
    made = {
        "name": board.name,
        "title": board.body["title"],
        "caption": board.body["caption"],
        "built_with": f"bench {metadata.version('methodbench')}",
        "level": LEVEL,
        "estimand": ESTIMANDS[board.body["interval"]],
        "rules": [{"name": rule, "title": RULE_TITLES.get(rule, rule)} for rule in rules],
        "normalisations": _normalisations(board),
        "tasks": tasks,
        "methods": method_entries(methods, records),
        "cells": cells,
        "records": record_entries(records) if len(records) <= MOST_RECORDS else [],
        "notes": notes(board, records, cells),
    }
    found = [(group, one) for group, one in zip(groups, measured, strict=True) if one is not None]
    made["overall"] = overall(board, made, found, cache)
    made["critical_difference"], made["win_rates"] = critical_difference(board, made)
    return made


def named(records: Sequence[Record]) -> list[Record]:
    """Records under the names that their requests give them, whatever else they say."""
    made = []
    for one in records:
        method, task = names(one["request"])
        made.append({**one, "method": method, "task": task})
    return made


def groups_of(records: Sequence[Record]) -> list[Group]:
    """Records by task and rule; what was not done is in no group, and stated among the cells."""
    rows = [_row(one) for one in records]
    made = lines(rows)
    done: dict[tuple[str, str], list[Record]] = {}
    for one in records:
        if one["state"] == "done":
            done.setdefault((one["method"], one["task"]), []).append(one)
    by_group: dict[tuple[str, str], list[Line]] = {}
    for line in made:
        by_group.setdefault((line.task, line.selection), []).append(line)
    rules = {task: [rule for other, rule in by_group if other == task and rule] for task, _ in by_group}
    for (task, rule), found in list(by_group.items()):
        if not rule:  # nothing of these is done: they fail, or are missing, under every rule of the task
            for other in rules[task]:
                by_group[task, other] += found
            if rules[task]:
                del by_group[task, rule]
    return [
        Group(task, rule or "val", found, {line.method: done.get((line.method, task), []) for line in found})
        for (task, rule), found in sorted(by_group.items())
    ]


def _row(record: Record) -> dict[str, Any]:
    """A record in the form in which `aggregate` reads rows."""
    return {
        **record,
        "variant": f"{record['method']} = {record['task']}",
        "label": (record["method"], record["task"]),
        "scores": record.get("scores"),
        "cost": record.get("cost"),
        "rule": record["rule"] if record.get("tuned") else None,
        "at": "",
    }


def _measured(board: Board, group: Group, evidence: Evidence, cache: Path | None) -> dict[str, Any] | None:
    """The statistics of one group, from the cache where it has them; None where nothing is done."""
    from bench.boards.statistics import measure

    basis = [[line.method, _basis(line, group)] for line in group.lines if line.mean]
    if not basis:
        return None
    interval = str(board.body["interval"])
    found: dict[str, Any] = remembered(
        cache, [interval, group.task, group.rule, basis], lambda: measure(interval, group, evidence)
    )
    return found


def _basis(line: Line, group: Group) -> list[Any]:
    """Everything that the statistics of a line are made from."""
    return [
        [one["replicate"], one["fold"], one["scores"], one.get("candidates"), one.get("evidence")]
        for one in group.records[line.method]
    ]


def _cells(
    group: Group, measured: Mapping[str, Any] | None, primary: Mapping[str, str], detailed: bool
) -> list[dict[str, Any]]:
    """One cell per method and metric; ties and ranks belong to the task's own score."""
    found = []
    for line in group.lines:
        of_method = group.records[line.method]
        common = {
            "method": line.method,
            "task": group.task,
            "rule": group.shown,
            "seeds": line.replicates,
            "cost": costs(line),
            "keys": [one["key"] for one in of_method] if detailed else [],
            "marks": _marks(line, of_method),
        }
        if not line.mean or measured is None:
            note = ", ".join(f"{count} {state}" for state, count in sorted(line.states.items())) or "missing"
            empty = {"metric": primary[group.task], "mean": None, "low": None, "high": None, "group": "", "rank": None}
            found.append({**common, **empty, "best": False, "basis": "", "note": note})
            continue
        place = measured["methods"].index(line.method)
        for metric, mean in line.mean.items():
            if metric == "score" and line.primary != "score":
                continue
            main = metric == line.primary
            half = measured["half"][place] if main else (line.half or {}).get(metric)
            found.append(
                {
                    **common,
                    "metric": metric,
                    "mean": measured["mean"][place] if main else mean,
                    "low": None if half is None else (measured["mean"][place] if main else mean) - half,
                    "high": None if half is None else (measured["mean"][place] if main else mean) + half,
                    "group": measured["letters"][place] if main else "",
                    "rank": measured["ranks"][place] if main else None,
                    "best": bool(main and measured["best"][place]),
                    "basis": measured["basis"][place] if main else SEEDS,
                    "note": "",
                }
            )
    return found


def _marks(line: Line, records: Sequence[Record]) -> list[str]:
    marks = ["provisional"] if line.provisional else []
    marks += ["post hoc"] if any(one.get("post_hoc") for one in records) else []
    marks += ["stale"] if any(one.get("stale") for one in records) else []
    marks += sorted({str(one["standing"]) for one in records if one.get("standing")})
    return marks


def _reported(board: Board, groups: Sequence[Group], primary: Mapping[str, str]) -> list[dict[str, Any]]:
    """Published numbers: shown beside ours, compared with nothing, since nobody has their predictions."""
    rules = {group.task: group.shown for group in reversed(groups)}
    found = []
    for one in board.body["reported"]:
        if one["task"] not in primary:
            raise UserError(f"{board.path}: reported names the task {one['task']!r}.{nearest(one['task'], primary)}")
        half = one.get("half")
        found.append(
            {
                "method": one["method"],
                "task": one["task"],
                "rule": rules.get(one["task"], DECLARED),
                "metric": primary[one["task"]],
                "mean": one["value"],
                "low": None if half is None else one["value"] - half,
                "high": None if half is None else one["value"] + half,
                "seeds": one.get("seeds") or 0,
                "group": "",
                "rank": None,
                "best": False,
                "marks": ["reported"],
                "basis": "",
                "note": f"{one['citation']} Protocol: {one['protocol']}",
                "cost": {},
                "keys": [],
            }
        )
    return found


def _names(board: Board) -> list[str]:
    return list(dict.fromkeys(one["method"] for one in board.body["reported"]))


def _normalisations(board: Board) -> list[dict[str, str]]:
    found = [{"name": "none", "title": "as measured"}, {"name": "minmax", "title": "0 the worst, 1 the best method"}]
    if board.body.get("baseline"):
        found.append({"name": "baseline", "title": f"difference from {board.body['baseline']}"})
    return found
