"""What a cell of the page shows: one `Face`, drawn by Python in the static table and later by the page's script."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

COSTS = ("trainable_parameters", "fit_seconds", "peak_bytes", "stored_bytes")
BAR = 64  # the width of an interval's bar, in the units of its drawing
Write = Callable[[float], str]


@dataclass(frozen=True)
class Face:
    """One cell as it is shown. It is sorted and plotted by `value`, `low` and `high`: None where there is none."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    detail: str = ""
    best: bool = False
    marks: tuple[str, ...] = ()
    note: str = ""
    bar: tuple[int, int, int] | None = None  # where the interval starts, its mean, where it ends: 0 to BAR
    costs: tuple[float | None, ...] = ()
    seeds: int = 0
    keys: tuple[str, ...] = field(default=(), repr=False)

    @property
    def sign(self) -> bool:
        """Whether it states that there is no number."""
        return self.value is None


MISSING = Face("missing")
Key = tuple[str, ...]


@dataclass(frozen=True)
class Faces:
    """All cells: those of tasks by (rule, task, metric), the overall ones by (rule, normalisation); then by method."""

    tasks: Mapping[Key, Mapping[str, Face]]
    overall: Mapping[Key, Mapping[str, Sequence[Face]]]
    heads: Sequence[str]  # of the overall columns


def number(value: Any) -> float | None:
    """A finite number at six significant digits (exact ones are in the records); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def faces(board: Mapping[str, Any]) -> Faces:
    """Every cell of the board, each column with its own digits and the bars of a column on one scale."""
    units = {
        (task["name"], metric["name"]): metric.get("unit", "") for task in board["tasks"] for metric in task["metrics"]
    }
    known = {method["name"] for method in board["methods"]}
    for row in (*board.get("cells", ()), *board.get("overall", ())):
        if row["method"] not in known:
            raise KeyError(row["method"])
    columns: dict[Key, list[Mapping[str, Any]]] = {}
    for cell in board.get("cells", ()):
        columns.setdefault((cell["rule"], cell["task"], cell["metric"]), []).append(cell)
    tasks = {}
    for key, cells in columns.items():
        write = writer(units[key[1], key[2]], [number(cell["mean"]) for cell in cells])
        tasks[key] = scaled({cell["method"]: cell_face(cell, write) for cell in cells})
    return Faces(tasks, *_overall(board))


def writer(unit: str, values: Sequence[float | None]) -> Write:
    """How a column's values are written: shares in per cent with one digit, others with about three figures."""
    if unit == "%":
        return lambda value: f"{round(round(100 * value, 6), 1) + 0.0:.1f}"  # what six digits show; + 0.0: no -0.0
    largest = max((abs(value) for value in values if value is not None), default=1.0)
    if largest and not 0.01 <= largest < 1e5:
        return lambda value: f"{value:.3g}"
    digits = 1 if largest >= 100 else 2 if largest >= 1 else 3
    return lambda value: f"{round(value, digits) + 0.0:.{digits}f}"


def written(mean: float, low: float | None, high: float | None, write: Write) -> str:
    """`91.2 ± 0.8`; `91.2 [90.0, 91.5]` with the mean off the middle by over a tenth; without ends the mean alone."""
    if low is None or high is None:
        return write(mean)
    below, above = mean - low, high - mean
    if abs(below - above) <= 0.1 * max(below, above):
        return f"{write(mean)} ± {write((high - low) / 2)}"
    return f"{write(mean)} [{write(low)}, {write(high)}]"


def ranks(rank: Sequence[int] | None) -> str:
    """`1–3`, or `2` where the interval is one rank."""
    if not rank:
        return ""
    return str(rank[0]) if rank[0] == rank[-1] else f"{rank[0]}–{rank[-1]}"


def cell_face(cell: Mapping[str, Any], write: Write) -> Face:
    """A method on a task; a mean that is no number is a failure."""
    mean, low, high = (number(cell.get(name)) for name in ("mean", "low", "high"))
    low, high = (None, None) if low is None or high is None else (low, high)
    cost = cell.get("cost") or {}
    seeds = int(cell.get("seeds") or 0)
    shown = [cell.get("group") or "", f"rank\u00a0{ranks(cell.get('rank'))}" if cell.get("rank") else ""]
    face = Face(
        text="failed" if mean is None else written(mean, low, high, write),
        value=mean,
        low=None if mean is None else low,
        high=None if mean is None else high,
        detail=" · ".join(part for part in (*shown, "n\u00a0=\u00a01" if seeds == 1 else "") if part),
        best=bool(cell.get("best")) and mean is not None,
        marks=tuple(str(mark) for mark in cell.get("marks") or ()),
        note=str(cell.get("note") or ""),
        costs=tuple(number(cost.get(name)) for name in COSTS),
        seeds=seeds,
        keys=tuple(cell.get("keys") or ()),
    )
    return replace(face, detail="") if mean is None else face


def scaled(column: Mapping[str, Face]) -> dict[str, Face]:
    """The same cells with bars on the scale from the column's lowest end to its highest."""
    ends = [end for face in column.values() for end in (face.low, face.value, face.high) if end is not None]
    if not ends:
        return dict(column)
    start, span = min(ends), (max(ends) - min(ends)) or 1.0

    def place(value: float) -> int:
        return round(2 + (BAR - 4) * (value - start) / span)

    def drawn(face: Face) -> Face:
        if face.value is None:
            return face
        low, high = (face.value if end is None else end for end in (face.low, face.high))
        return replace(face, bar=(place(low), place(face.value), place(high)))

    return {method: drawn(face) for method, face in column.items()}


def _overall(board: Mapping[str, Any]) -> tuple[dict[Key, dict[str, Sequence[Face]]], Sequence[str]]:
    """The columns before the tasks; Elo only where some row has it."""
    found = board.get("overall", ())
    elo = any(row.get("elo") for row in found)
    views: dict[Key, list[Mapping[str, Any]]] = {}
    for row in found:
        views.setdefault((row["rule"], row["normalisation"]), []).append(row)
    whole = len(board["tasks"])
    result: dict[Key, dict[str, Sequence[Face]]] = {}
    for key, rows in views.items():
        columns = [
            {row["method"]: _rank_face(row) for row in rows},
            scaled({row["method"]: _mean_face(row, whole) for row in rows}),
            {row["method"]: _average_face(row) for row in rows},
            *([scaled({row["method"]: _elo_face(row) for row in rows})] if elo else []),
        ]
        result[key] = {row["method"]: [column[row["method"]] for column in columns] for row in rows}
    heads = ("Rank", "Overall", "Average rank", *(["Elo"] if elo else []))
    return result, heads if result else ()


def _rank_face(row: Mapping[str, Any]) -> Face:
    rank = row.get("rank")
    if not rank:
        return MISSING
    # One number that orders intervals by their first end, then by their last.
    return Face(ranks(rank), value=rank[0] + rank[-1] / 1e4, best=rank[0] == 1)


def _mean_face(row: Mapping[str, Any], whole: int) -> Face:
    mean, low, high = (number(row.get(name)) for name in ("mean", "low", "high"))
    if mean is None:
        return replace(MISSING, note=str(row.get("note") or ""))
    tasks = row.get("tasks")
    parts = (row.get("group") or "", f"{tasks} of {whole} tasks" if tasks is not None and tasks != whole else "")
    low, high = (None, None) if low is None or high is None else (low, high)
    top = bool(row.get("rank")) and row["rank"][0] == 1
    text = written(mean, low, high, writer("%", ()))
    return Face(text, mean, low, high, detail=" · ".join(part for part in parts if part), best=top)


def _average_face(row: Mapping[str, Any]) -> Face:
    value = number(row.get("average_rank"))
    return MISSING if value is None else Face(f"{value:.2f}", value)


def _elo_face(row: Mapping[str, Any]) -> Face:
    mean, low, high = (number(value) for value in row.get("elo") or (None, None, None))
    if mean is None:
        return MISSING
    low, high = (None, None) if low is None or high is None else (low, high)
    return Face(written(mean, low, high, lambda value: f"{value:.0f}"), mean, low, high)
