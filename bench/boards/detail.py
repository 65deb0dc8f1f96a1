"""What a board says of its tasks, methods and records beside the numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from bench.aggregate import Line
from bench.boards.declare import Board
from bench.boards.records import Record
from bench.metrics import metric, names

COSTS = (
    "trainable_parameters",
    "total_parameters",
    "stored_bytes",
    "fit_seconds",
    "predict_seconds_per_1000",
    "peak_bytes",
)
MOST_RECORDS_NOTED = 5
IMPORTED = "imported"  # the standing of predictions made elsewhere


def costs(line: Line) -> dict[str, float]:
    """The cost columns of a cell."""
    return {name: line.cost[name] for name in COSTS if name in line.cost}


def task_entries(board: Board, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each task with its metrics, in the order of their names."""
    found: dict[str, Record] = {}
    for one in records:
        if one["task"] not in found or found[one["task"]]["state"] != "done":
            found[one["task"]] = one
    entries = []
    known = set(names())
    for name, record in sorted(found.items()):
        task = record["spec"]["task"]
        declared = task["metric"] if isinstance(task["metric"], list) else [task["metric"]]
        shown = [*declared, *(one for one in task.get("report") or [] if one not in declared)]
        metrics = [_metric(one) for one in shown if one in known]
        primary = record.get("primary") or (declared[0] if len(declared) == 1 else "score")
        if primary not in [one["name"] for one in metrics]:
            metrics.insert(0, {"name": primary, "title": "score", "higher": True, "unit": "%"})
        if record["request"].get("folds"):
            metrics.append({"name": "worst", "title": "worst domain", "higher": True, "unit": "%"})
        family = str(record["base"]).rpartition("/")[0]
        entries.append(
            {"name": name, "title": name, "family": family, "metrics": metrics, "primary": primary, "baseline": None}
        )
    return entries


def method_entries(methods: Sequence[str], records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each method, with the citation that its declaration has here."""
    from bench.declarations.catalog import Catalog

    plain = {one["method"]: str(one["request"]["method"]) for one in records}
    entries = []
    catalog = Catalog.find()
    declared = set(catalog.methods())
    for name in methods:
        parts = [one for one in plain.get(name, name).split("+") if one in declared]
        bodies = [catalog.method(one).body for one in parts]
        entries.append(
            {
                "name": name,
                "title": " + ".join(str(one["title"]) for one in bodies if one.get("title")) or name,
                "citation": " ".join(str(one["citation"]) for one in bodies if one.get("citation")),
                "link": next((str(one["link"]) for one in bodies if one.get("link")), ""),
            }
        )
    return entries


def record_entries(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What the page shows of each run, and the command that makes it again."""
    entries = []
    for one in records:
        if one["state"] != "done":
            continue
        provenance = one["provenance"]
        source = (provenance.get("source") or [{}])[0]
        hardware = [
            provenance.get("processor"),
            f"{provenance['cores']} cores" if provenance.get("cores") else None,
            provenance.get("device"),
        ]
        marks = ["provisional"] if one["provisional"] else []
        marks += ["stale"] if one.get("stale") else []
        marks += [str(one["standing"])] if one.get("standing") else []
        entries.append(
            {
                "key": one["key"],
                "method": one["method"],
                "task": one["task"],
                "fold": one["fold"],
                "replicate": one["replicate"],
                "scores": one["scores"],
                "cost": {name: one["cost"][name] for name in COSTS if name in one["cost"]},
                "parameters": dict(_split(text) for text in one["typed"]),
                "versions": provenance.get("versions") or {},
                "hardware": ", ".join(str(word) for word in hardware if word),
                "command": command(one) if one.get("standing") != IMPORTED else "",
                "commit": source.get("commit"),
                "marks": marks,
            }
        )
    return entries


def command(record: Mapping[str, Any]) -> str:
    """The line that makes a record's run again."""
    request = record["request"]
    words = [f"{request['method']}={request['task']}", *record["typed"]]
    replicate = int(record["replicate"])
    words += ["--seeds", f"{replicate},"]
    words += ["--folds", str(record["fold"])] if record["fold"] else []
    words += ["--precision", str(request["precision"])] if request["precision"] != "32" else []
    words += ["--twin"] if request["twin"] else []
    return f"bench run {shlex.join(words)}"


def notes(board: Board, records: Sequence[Record], cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader must know: how intervals were made, what is missing, what is provisional."""
    found = ["Scores in per cent. ± is half the width of a 95 % interval; one seed has none."]
    bases: dict[str, set[str]] = {}
    for one in cells:
        if one["rank"] is not None and one["low"] is not None:
            bases.setdefault(str(one["basis"]), set()).add(str(one["task"]))
    for basis, tasks in sorted(bases.items()):
        where = f", on {', '.join(sorted(tasks))}" if len(bases) > 1 else ""
        found.append(f"Intervals are about {basis}{where}.")
    ruled = {
        str(one["task"]): str(one["rule"]) for one in records if one["state"] == "done" and not one["request"]["folds"]
    }
    if len(set(ruled.values())) > 1:
        others = sorted(task for task, rule in ruled.items() if rule != "val")
        found.append(f"Checkpoints are selected on validation; on {', '.join(others)} the last one counts.")
    found.append(
        "Bold: not told apart from the best by paired tests on the same seeds and test items, at 5 % over all pairs of "
        "a task together (Holm). Ranks are intervals."
    )
    tuned = [one["tuned"] for one in records if one.get("tuned")]
    if tuned:
        first = max(tuned, key=lambda one: int(one["trials"]))
        found.append(
            f"Methods are tuned: {first['trials']} trials each ({first['sampler']}), chosen on {first['reads']}; the "
            "results are on seeds that the search has not used."
        )
    missing = {"none": "is in no average", "worst": "counts as the worst", "drop-task": "drops the task"}
    if any(one["mean"] is None for one in cells) or len({len(_of(cells, one)) for one in _tasks(cells)}) > 1:
        found.append(f"A method without a result on a task {missing[board.body['missing']]}.")
    failed = sorted({f"{one['method']} on {one['task']}" for one in records if one["state"] == "failed"})
    if failed:
        more = f", and {len(failed) - MOST_RECORDS_NOTED} more" if len(failed) > MOST_RECORDS_NOTED else ""
        found.append(f"Failed: {', '.join(failed[:MOST_RECORDS_NOTED])}{more}.")
    reasons = sorted({reason for one in records for reason in one.get("provisional") or []})
    if reasons:
        found.append(f"Provisional: {'; '.join(reasons)}.")
    if any(one.get("stale") for one in records):
        found.append("Stale: the method, metric or data of a record have changed since it was made.")
    if board.body["reported"]:
        found.append("Reported numbers (*) are others': cited, under their own protocol, compared with nothing.")
    return found


def _tasks(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({str(one["task"]) for one in cells})


def _of(cells: Sequence[Mapping[str, Any]], task: str) -> set[str]:
    return {str(one["method"]) for one in cells if one["task"] == task and "reported" not in one["marks"]}


def _split(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _metric(name: str) -> dict[str, Any]:
    found = metric(name)
    unit = "px" if name == "hausdorff95" else "%"
    return {"name": name, "title": found.title, "higher": found.higher, "unit": unit}
