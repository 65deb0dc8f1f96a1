"""From a store to a board's records: what is planned, what of it is done, and what each test row added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.aggregate import names
from bench.aggregate.tuned import Sealed, honest
from bench.boards.declare import Board
from bench.boards.evidence import digest_of
from bench.boards.records import Record
from bench.data.access import Access
from bench.declarations.catalog import Catalog
from bench.plan.grid import plan
from bench.plan.run import Run
from bench.plan.study import Search, Study, plan_studies
from bench.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PROVENANCE = ("system", "processor", "cores", "device", "threads", "python", "versions", "determinism")


@dataclass
class Planned:
    """What a board asks for: runs of declared parameters, or studies with the fresh seeds that confirm them."""

    runs: list[Run] = field(default_factory=list)
    studies: list[Study] = field(default_factory=list)
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)  # method and task as a table calls them


def plan_board(board: Board, catalog: Catalog, access: Access) -> Planned:
    """The runs, or studies, of a board; UserError for what it names and there is not."""
    body, planned = board.body, Planned()
    tasks = ",".join(body["tasks"])
    for method, own in board.methods():
        arguments = [f"{method}={tasks}", *body["overrides"], *own]
        common: dict[str, Any] = {
            "precision": body["precision"], "twin": body["twin"], "catalog": catalog, "access": access,
        }  # fmt: skip
        if body.get("tune"):
            tune = body["tune"]
            search = Search(tune["sampler"], tune["sampler_seed"], tune["pruner"], tune["trials"], tune.get("seconds"))
            planned.studies += plan_studies(arguments, search, seeds=[0], **common)
        else:
            planned.runs += plan(arguments, seeds=range(body["seeds"]), **common)
    return planned


def collect(
    board: Board, planned: Planned, store: Store, access: Access
) -> tuple[list[Record], dict[str, NDArray[Any]]]:
    """The records of a board from a store, and the evidence of those that have any, by its digest."""
    keys = {run.key for run in planned.runs}
    kept = store.studies
    chosen = {study.name: kept.selection(study.name) for study in planned.studies}
    sealed = [
        Sealed(name, kept.spec(name), selection, kept.confirmed(name))
        for name, selection in chosen.items()
        if selection
    ]
    keys |= {key for one in sealed for key in (one.selection["key"], *one.confirmed)}
    rows = [row for row in store.rows() if row["key"] in keys]
    wanted = {run.key: dict(run.request) for run in planned.runs}
    if planned.studies:
        rows = [row for row in honest(rows, sealed) if row["request"].get("tuned")]
    else:
        rows = [{**row, "request": wanted[row["key"]]} for row in rows]
    return gather(rows, sealed, store, access)


def gather(
    rows: Sequence[Mapping[str, Any]], sealed: Sequence[Sealed], store: Store, access: Access
) -> tuple[list[Record], dict[str, NDArray[Any]]]:
    """The records of some rows, and the evidence of those that have any, by its digest."""
    records: list[Record] = []
    evidence: dict[str, NDArray[Any]] = {}
    by_key = {one.selection["key"]: one for one in sealed} | {key: one for one in sealed for key in one.confirmed}
    for row in rows:
        if row["state"] == "done" and not row["scores"]:
            continue  # a search's trial that nobody has scored: for a board it is still to be made
        record = record_of(row, store)
        if row["request"].get("tuned"):
            record["tuned"] = _tuned(by_key[row["key"]])
        if record["state"] == "done":
            arrays = _evidence(row, store, access)
            record["evidence"] = {part: digest_of(values) for part, values in arrays.items()}
            evidence.update({record["evidence"][part]: values for part, values in arrays.items()})
        records.append(record)
    return records, evidence


def record_of(row: Mapping[str, Any], store: Store) -> Record:
    """What a board keeps of one run: no path, no host, no command that was typed."""
    method, task = names(row["request"])
    made: Record = {
        "key": row["key"],
        "method": method,
        "task": task,
        "base": row["request"]["task"],
        "fold": row["fold"],
        "replicate": row["replicate"],
        "state": row["state"],
        "spec": store.spec(row["key"]),
        "request": {name: value for name, value in row["request"].items() if name != "study"},
        "typed": list(store.request(row["key"])["overrides"]),
    }
    if row["state"] != "done":
        return {**made, "error": str(row.get("error") or "").split(":")[0]}
    record = store.record(row["key"]) or {}
    provenance = record["provenance"]
    return {
        **made,
        "rule": row.get("rule") or row["selection"]["rule"],
        "scores": row["scores"],
        "primary": row["primary"],
        "candidates": row["candidates"],
        "parts": row["parts"],
        "selection": record["selection"],
        "cost": record["cost"],
        "data": {"digest": record["data"]["digest"], "rows": record["data"]["rows"]},
        "provisional": list(row["provisional"] or []),
        "post_hoc": row["post_hoc"],
        "scored": row["scored"],
        "provenance": {name: provenance.get(name) for name in _PROVENANCE} | {"source": provenance.get("source")},
    }


def _tuned(study: Sealed) -> dict[str, Any]:
    """How a tuned method's parameters were found."""
    selection = study.selection
    kept = ("rule", "reads", "value", "spent", "overrides", "scored_before", "edges")
    about = ("trials", "sampler", "sampler_seed", "pruner", "seconds", "replicate", "fold")
    return {name: selection[name] for name in kept} | {name: study.spec[name] for name in about}


def _evidence(row: Mapping[str, Any], store: Store, access: Access) -> dict[str, NDArray[Any]]:
    """What each test row adds to the task's score, by part; {} where its metrics are no means over rows."""
    from bench.score.evidence import per_item

    folder = store.folder(row["key"])
    record = store.record(row["key"])
    if folder is None or record is None:
        return {}
    return per_item(folder, record["spec"]["task"], record["data"], access, row["request"])
