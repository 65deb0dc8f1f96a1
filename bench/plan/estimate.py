"""What a plan would cost, before it is spent: hours, disk, downloads. Rough, and labelled by what it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.core.files import read_json
from bench.data.access import Access
from bench.data.repository import snapshot_here
from bench.data.sources import source
from bench.problems import problem_of

if TYPE_CHECKING:
    from bench.plan.run import Run

_FLOPS = 1.5e11  # floating-point operations a second of a small machine, where nothing was measured
_TOKENS = {"text": 64, "image": 64, "tabular": 1}  # positions a backbone sees per row, roughly
_RECORD_BYTES = 50_000


@dataclass(frozen=True)
class Estimate:
    """One run's cost. `basis` is `measured` (earlier runs here of that method, task and backbone) or `guessed`."""

    seconds: float | None
    disk_bytes: int | None
    basis: str


def estimate(run: Run, rows: Iterable[Mapping[str, Any]], access: Access) -> Estimate:
    """Estimate a run from finished ones, else from the backbone's size; None where nothing is known."""
    parameters = run.parameters
    steps, sizes = _steps(run, access)
    known = [row for row in rows if _alike(row, run) and (row.get("cost") or {}).get("steps")]
    problem = problem_of(run.task)
    disk = _disk(run, known, parameters, 2 * problem.row_bytes() * sum(sizes.values()))
    if steps is None:
        return Estimate(None, disk, "guessed")
    if known:
        costs = [row["cost"] for row in known]
        return Estimate(steps * median(cost["fit_seconds"] / cost["steps"] for cost in costs), disk, "measured")
    if not parameters:
        return Estimate(None, disk, "guessed")
    per_row = 6 * parameters * _TOKENS[run.task["problem"].partition("-")[0]]
    return Estimate(
        steps * run.task["budget"]["batch_size"] * problem.batch_groups() * per_row / _FLOPS, disk, "guessed"
    )


def downloads(runs: Sequence[Run], access: Access) -> tuple[int, list[str]]:
    """Bytes to fetch for the runs' data and weights, and what is to be fetched with a size nobody declared."""
    wanted: dict[str, int | None] = {}
    for run in runs:
        if not run.spec["twin"]:
            wanted.setdefault(f"data of {run.task['name']}", _data_bytes(run, access))
            wanted.setdefault(f"weights of {run.spec['backbone'].get('name')}", _weights_bytes(run, access))
    return sum(size or 0 for size in wanted.values()), [name for name, size in wanted.items() if size is None]


def _data_bytes(run: Run, access: Access) -> int | None:
    if (access.cache / "prepared" / run.data).exists():
        return 0
    return source(run.source, run.homes["task"], access).download()


def _weights_bytes(run: Run, access: Access) -> int | None:
    """Nothing to fetch for weights that ship, lie in a mirror or in the hub's cache; else as declared."""
    hub = run.spec["weights"].get("hub")
    if hub is None:
        return None if "timm" in run.spec["weights"] else 0
    revision = run.spec["weights"].get("revision")
    here = "content" in run.spec["weights"] or snapshot_here("model", hub, revision) is not None
    return 0 if here else run.download


def _alike(row: Mapping[str, Any], run: Run) -> bool:
    same = row["method"] == run.request["method"] and row["task"] == run.request["task"]
    return bool(same and row["state"] == "done" and row["request"]["twin"] == run.request["twin"])


def _steps(run: Run, access: Access) -> tuple[int | None, dict[str, int]]:
    """Optimizer steps, and rows per part; from prepared data, else from the sizes the task declares."""
    sizes: dict[str, int] = {}
    try:
        meta = read_json(access.cache / "prepared" / run.data / "meta.json")
        sizes = {split: pool["rows"] for split, pool in meta["pools"].items()}
        sizes.update({part: found["rows"] for part, found in meta["tests"].items()})
    except (OSError, ValueError, KeyError):
        sizes = dict(run.source.get("rows") or {})
    budget = run.task["budget"]
    if budget.get("steps"):
        return int(budget["steps"]), sizes
    rows = sizes.get(str(run.task["splits"]["train"]).partition("[")[0])
    return (int(budget["epochs"]) * math.ceil(rows / budget["batch_size"]) if rows else None), sizes


def _disk(run: Run, known: Sequence[Mapping[str, Any]], parameters: int | None, predictions: int) -> int | None:
    if known:
        return _RECORD_BYTES + predictions + int(known[-1]["cost"]["stored_bytes"])
    whole = (run.spec["method"].get("adaptation") or {}).get("train") == "all"
    if whole and not parameters:
        return None
    return _RECORD_BYTES + predictions + (4 * (parameters or 0) if whole else 2_000_000)
