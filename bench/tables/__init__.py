"""Tables: lines become columns of text. A column is one entry of a registry; no torch, no numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.aggregate import Line, suite_lines


@dataclass(frozen=True)
class Table:
    """A header and rows of text; `raw` holds the same rows as values, for --json. `notes` stand under the table."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    raw: Sequence[Mapping[str, Any]]
    title: str = ""
    notes: Sequence[str] = ()
    left: int = 2  # how many first columns are text, aligned left


@dataclass(frozen=True)
class Column:
    """A cost column: its header, its key in a record's cost, how a value is written."""

    header: str
    key: str
    write: Callable[[float], str]


def count(value: float) -> str:
    """1234567 -> 1.23M"""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:  # what rounds to the unit is written in it, never as 1e+03 of the one below
            digits = f"{value / size:.3g}"
            return f"{digits if 'e' not in digits else f'{value / size:.0f}'}{unit}"
    return f"{value:.0f}"


def bytes_(value: float) -> str:
    """1234567 -> 1.2 MB"""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= 0.99995 * size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} B"


def seconds(value: float) -> str:
    """5025 -> 1h 24m"""
    if value >= 3599.5:
        minutes = round(value / 60)
        return f"{minutes // 60}h {minutes % 60:02d}m"
    if value >= 59.95:
        return f"{round(value) // 60}m {round(value) % 60:02d}s"
    return f"{value:.1f}s"


RULES = {
    "val": "training-domain validation",
    "leave-one-domain-out": "leave-one-domain-out",
    "oracle": "oracle (target validation)",
}
_NATURAL = ("hausdorff95",)  # metrics in a unit of their own

COST = (
    Column("trained", "trainable_parameters", count),
    Column("parameters", "total_parameters", count),
    Column("stored", "stored_bytes", bytes_),
    Column("fit", "fit_seconds", seconds),
    Column("s/1,000", "predict_seconds_per_1000", lambda value: f"{value:.2f}"),
    Column("peak", "peak_bytes", bytes_),
)


def results(lines: Sequence[Line], title: str = "") -> Table:
    """The table of results: every metric in per cent with its interval, the number of seeds, the cost columns."""
    shown, mixed = _shown(lines)
    costs = [column for column in COST if any(column.key in line.cost for line in lines)]
    folded = any(line.domains is not None for line in lines)
    ruled = any(line.selection for line in lines)
    header = [
        "task",
        "method",
        *(["selection"] if ruled else []),
        *shown,
        "seeds",
        *(column.header for column in costs),
        "metrics" if mixed else "domains" if folded else "",
    ]
    rows = [
        [
            line.task,
            line.method,
            *([_rule(line)] if ruled else []),
            *(_value(line, name) for name in shown),
            str(line.replicates),
            *(column.write(line.cost[column.key]) if column.key in line.cost else "" for column in costs),
            ", ".join([*(_parts(line) if mixed else []), *_domains(line), *_remarks(line)]),
        ]
        for line in lines
    ]
    raw = [
        {
            "task": line.task,
            "method": line.method,
            "selection": line.selection,
            "seeds": line.replicates,
            "mean": dict(line.mean),
            "domains": dict(line.domains) if line.domains else None,
            "half": dict(line.half) if line.half else None,
            "cost": dict(line.cost),
            "states": dict(line.states),
            "provisional": list(line.provisional),
            "post_hoc": line.post_hoc,
        }
        for line in lines
    ]
    return Table(header, rows, raw, title, _notes(lines), left=2 + ruled)


def _rule(line: Line) -> str:
    """The selection rule; of a task with folds in the words of its field."""
    return RULES.get(line.selection, line.selection) if line.domains is not None else line.selection


def _domains(line: Line) -> list[str]:
    return [f"{fold} {100 * mean:.1f}" for fold, mean in (line.domains or {}).items()]


def _value(line: Line, name: str) -> str:
    if name not in line.mean:
        return "-"
    if name in _NATURAL:  # not a share of anything
        mean = f"{line.mean[name]:.2f}"
        return f"{mean} ± {line.half[name]:.2f}" if line.half and name in line.half else mean
    mean = f"{100 * line.mean[name]:.1f}"
    return f"{mean} ± {100 * line.half[name]:.1f}" if line.half and name in line.half else mean


def _shown(lines: Sequence[Line]) -> tuple[list[str], bool]:
    """The metrics that get a column, and whether the tasks' metrics differ, so that each line names its own."""
    found = [_metrics(line) for line in lines if line.mean]
    if not found:
        return ["score"], False
    if any(names != found[0] for names in found):
        return ["score"], True
    return found[0], False


def _metrics(line: Line) -> list[str]:
    """What is measured, the score first: under its own name where it is one metric."""
    others = [name for name in line.mean if name not in ("score", line.primary, "worst")]
    worst = [name for name in ("worst",) if name in line.mean]
    return [*others, *worst] if line.primary == "score" and len(others) == 1 else [line.primary, *worst, *others]


def _parts(line: Line) -> list[str]:
    return [f"{name} {_value(line, name)}" for name in line.mean if name != "score"]


def _remarks(line: Line) -> list[str]:
    older = [f"{line.older} older (--all)"] if line.older else []
    late = [f"{line.post_hoc} post hoc"] if line.post_hoc else []
    return [*_states(line.states), *late, *(["provisional"] if line.provisional else []), *older]


def _states(states: Mapping[str, int]) -> list[str]:
    return [f"{number} {state}" for state, number in sorted(states.items())]


def _notes(lines: Sequence[Line]) -> list[str]:
    shown = {name for line in lines for name in line.mean}
    notes = ["Metrics in per cent; hausdorff95 in pixels." if shown & set(_NATURAL) else "Metrics in per cent."]
    if any(line.domains for line in lines):
        notes.append("A task of several domains: the mean over held-out domains, and the worst of them.")
    if any(line.half for line in lines):
        notes.append("± is the half width of a 95 % t interval over seeds (new seeds, same test rows).")
    if any(line.post_hoc for line in lines):
        notes.append("post hoc: a search's trial that was not chosen, scored afterwards; no result of the method.")
    reasons = sorted({reason for line in lines for reason in line.provisional})
    if reasons:
        notes.append(f"provisional: {'; '.join(reasons)}.")
    return notes


def suites(name: str, groups: Mapping[str, Sequence[str]], lines: Sequence[Line]) -> Table:
    """A suite's average for each method and setting that has every task of it; of several groups, each one's too."""
    found = suite_lines(lines, groups)
    shown = list(groups) if len(groups) > 1 else []
    ruled = any(line.selection for line in found)
    count = sum(len(members) for members in groups.values())
    rows = [
        [
            " ".join([name, line.setting]).strip(),
            line.method,
            *([line.selection] if ruled else []),
            *(f"{100 * line.groups[group]:.1f}" if group in line.groups else "-" for group in shown),
            "-" if line.mean is None else f"{100 * line.mean:.1f}",
            f"{line.tasks} of {count}",
            str(line.seeds[0]) if line.seeds[0] == line.seeds[1] else f"{line.seeds[0]} to {line.seeds[1]}",
            ", ".join(_states(line.states)),
        ]
        for line in found
    ]
    raw = [
        {
            "suite": name,
            "setting": line.setting,
            "method": line.method,
            "selection": line.selection,
            "average": line.mean,
            "groups": dict(line.groups) if shown else None,
            "tasks": line.tasks,
            "seeds": list(line.seeds),
            "states": dict(line.states),
        }
        for line in found
    ]
    header = ["suite", "method", *(["selection"] if ruled else []), *shown, "average", "tasks", "seeds", ""]
    notes = ["The average of a suite needs all its tasks."]
    if shown:
        notes.append(f"The average is the mean of the means of its {len(shown)} groups.")
    return Table(header, rows, raw, "", notes, left=2 + ruled)
