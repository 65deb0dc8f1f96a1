"""Aggregation: from rows of single runs to one line per method and task, with what is known of its spread."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.aggregate import folds

# Two-sided 95 % quantiles of Student's t, by degrees of freedom 1..30; beyond, an expansion of the normal's.
_T95 = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
    2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
    2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272,
)  # fmt: skip
_Z95 = 1.959964


@dataclass(frozen=True)
class Line:
    """One method on one task: the mean over replicates and, from two on, the half width of its 95 % t interval.

    The interval's estimand is new seeds on the same items; it says nothing about new items.
    """

    method: str
    task: str
    replicates: int
    mean: Mapping[str, float]
    half: Mapping[str, float] | None
    cost: Mapping[str, float]
    states: Mapping[str, int]  # runs of this line that are not done
    provisional: Sequence[str]
    base: str = ""  # the task's own name, without what was overridden
    older: int = 0  # variants of the same name that are not shown
    primary: str = "score"  # the value that is the score
    selection: str = ""  # the rule that chose
    post_hoc: int = 0  # how many of its scores came after a search had chosen something else
    domains: Mapping[str, float] | None = None  # the mean score of each fold, where the task stands for several

    @property
    def setting(self) -> str:
        """What was overridden of the task, and `twin`."""
        return self.task.removeprefix(self.base).strip()


@dataclass(frozen=True)
class SuiteLine:
    """One method over a suite, under one setting of its tasks; `mean` is None while a task is missing."""

    method: str
    setting: str
    mean: float | None
    tasks: int
    seeds: tuple[int, int]  # fewest and most replicates of a task
    states: Mapping[str, int]
    groups: Mapping[str, float]  # the mean of each group all of whose tasks are there
    selection: str = ""


def lines(rows: Iterable[Mapping[str, Any]], everything: bool = False) -> list[Line]:
    """One line per variant; of several variants of one name the newest with a result, unless `everything`.

    A variant is what replicates share: the same key but for the seed, however it was asked for. Variants of one name
    differ in what no name says: code, data, a declaration that was edited.
    """
    variants: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        variants.setdefault(row["variant"], []).append(row)
    groups: dict[tuple[str, str, str], list[list[Mapping[str, Any]]]] = {}
    for variant in variants.values():
        labels = {row.get("label") or names(row["request"]) for row in variant}
        label = min(labels, key=lambda pair: (len("".join(pair)), pair))
        rule = str(variant[0].get("rule") or "")  # the rule a search chose by: others' choices are no older versions
        groups.setdefault((*label, rule), []).append(variant)
    made = []
    for (method, task, _), found in sorted(groups.items(), key=lambda item: (item[0][1], item[0][0])):
        ordered = sorted(found, key=lambda variant: (_complete(variant), _age(variant)))
        for variant in ordered if everything else ordered[-1:]:
            older = 0 if everything else len(ordered) - 1
            made += [_line(method, task, variant, older, rule) for rule in folds.rules(variant)]
    return made


def names(request: Mapping[str, Any]) -> tuple[str, str]:
    """How a run's method and task are called in a table: with what was overridden."""
    last = {one.partition("=")[0]: one for one in request["overrides"]}  # the last override of a key counts
    overrides = [last[key] for key in sorted(last)]
    task = [one.removeprefix("task.") for one in overrides if one.startswith("task.")]
    method = [one for one in overrides if not one.startswith("task.")]
    marks = [f"precision={request['precision']}"] if request["precision"] != "32" else []
    twin = ["twin"] if request["twin"] else []
    tuned = [f"({request['tuned']})"] if request.get("tuned") else []
    return " ".join([request["method"], *method, *marks, *tuned]), " ".join([request["task"], *task, *twin])


def interval(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % t interval of a mean; None for fewer than two values."""
    count = len(values)
    if count < 2:
        return None
    mean = fmean(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return quantile(count - 1) * math.sqrt(variance / count)


def quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t."""
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    terms = (
        (_Z95**3 + _Z95) / 4,
        (5 * _Z95**5 + 16 * _Z95**3 + 3 * _Z95) / 96,
        (3 * _Z95**7 + 19 * _Z95**5 + 17 * _Z95**3 - 15 * _Z95) / 384,
    )
    return _Z95 + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def suite_lines(made: Sequence[Line], groups: Mapping[str, Sequence[str]]) -> list[SuiteLine]:
    """The mean of a suite's group means for each method, rule and setting; never over tasks of different settings."""
    tasks = [task for members in groups.values() for task in members]
    found: dict[tuple[str, str, str], dict[str, Line]] = {}
    for line in made:
        if line.base in tasks:
            found.setdefault((line.method, line.setting, _kind(line)), {})[line.base] = line
    lines = []
    for (method, setting, _), by_task in sorted(found.items()):
        scores = {task: line.mean["score"] for task, line in by_task.items() if "score" in line.mean}
        states: dict[str, int] = {}
        for line in by_task.values():
            for state, number in line.states.items():
                states[state] = states.get(state, 0) + number
        seeds = [line.replicates for line in by_task.values()]
        whole = {name: members for name, members in groups.items() if all(task in scores for task in members)}
        means = {name: fmean(scores[task] for task in members) for name, members in whole.items()}
        mean = fmean(means.values()) if len(means) == len(groups) else None
        rules = ", ".join(sorted({line.selection for line in by_task.values() if line.selection}))
        lines.append(SuiteLine(method, setting, mean, len(scores), (min(seeds), max(seeds)), states, means, rules))
    return lines


def _kind(line: Line) -> str:
    """Lines of one task under several rules belong to several averages."""
    return line.selection if line.domains is not None else ""


def _line(method: str, task: str, rows: Sequence[Mapping[str, Any]], older: int, rule: str) -> Line:
    request = rows[0]["request"]
    runs = folds.joined(rows, rule) if request.get("folds") else rows
    done = [row for row in runs if row["state"] == "done" and row.get("scores")]
    metrics = list(done[0]["scores"]) if done else []
    values = {name: [row["scores"][name] for row in done if name in row["scores"]] for name in metrics}
    costs = [row["cost"] for row in done if row.get("cost")]
    keys = dict.fromkeys(key for cost in costs for key, value in cost.items() if isinstance(value, (int, float)))
    states: dict[str, int] = {}
    for row in rows:
        if row["state"] != "done":
            states[row["state"]] = states.get(row["state"], 0) + 1
    domains = {fold: fmean(row["domains"][fold] for row in done) for fold in request.get("folds") or [] if done}
    if request.get("folds") and not done:
        domains = folds.present(rows, rule)
        states[f"of {len(request['folds'])} domains"] = len(domains)
    return Line(
        method=method,
        task=task,
        replicates=len(done),
        mean={name: fmean(found) for name, found in values.items()},
        half={name: half for name, found in values.items() if (half := interval(found)) is not None} or None,
        cost={key: fmean(cost[key] for cost in costs if cost.get(key) is not None) for key in keys},
        states=states,
        provisional=sorted({reason for row in done for reason in row.get("provisional") or []}),
        base=str(request["task"]),
        older=older,
        primary=str((done[0].get("primary") if done else None) or "score"),
        selection=rule,
        post_hoc=sum(bool(row.get("post_hoc")) for row in done),
        domains=domains if request.get("folds") else None,
    )


def _complete(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a variant has a result: one run of it, or a run for every fold."""
    if rows[0]["request"].get("folds"):
        return bool(folds.joined(rows, folds.RULES[0]))
    return any(row["state"] == "done" for row in rows)


def _age(rows: Sequence[Mapping[str, Any]]) -> str:
    return max(str(row.get("at") or "") for row in rows)
