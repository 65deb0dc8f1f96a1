"""Predictions made elsewhere: scored here, with the labels that lie here, as one record of a board.

How they were made is anybody's word; what they are worth on the test rows is not. Such records are marked `imported`.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.boards.detail import IMPORTED
from bench.boards.evidence import digest_of
from bench.boards.records import Record
from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.core.files import write_json
from bench.data.access import Access
from bench.declarations.catalog import Catalog
from bench.plan.grid import task_data
from bench.problems import problem_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def imported(
    file: Path, method: str, task: str, replicate: int, fold: str | None, access: Access
) -> tuple[Record, dict[str, NDArray[Any]]]:
    """The record, and the evidence, of predictions in a safetensors file: `ids` (int64: the row's number in the
    published split) and the array that the task's problem saves (`logits`, `values` or `mask`).

    UserError where the rows are not the task's test rows.
    """
    from bench.data.prepare import prepare
    from bench.score import score
    from bench.score.evidence import per_item

    data = task_data(Catalog.find(), task, (), False, access)
    own = next((one for one in data if one.fold == fold), None)
    if own is None:
        legal = ", ".join(str(one.fold) for one in data)
        raise UserError(f"{task} has no fold {fold!r}; give --fold with one of {legal}.")
    tests = [part.name for part in prepare(own, access).tests() if part.name.partition("-")[0] == "test"]
    if tests != ["test"]:
        raise UserError(f"{task} has several test parts; only predictions of one can be imported.")
    arrays = _read(file)
    problem = problem_of(own.task)
    if set(arrays) != {"ids", problem.saves}:
        raise UserError(f"{file} holds {', '.join(sorted(arrays))}; {task} needs ids and {problem.saves}.")
    ordered = arrays["ids"].argsort(kind="stable")  # rows may come in any order
    arrays = {name: values[ordered] for name, values in arrays.items()}
    selection = {"rule": "last", "candidate": "last", "step": 0, "value": None}
    with tempfile.TemporaryDirectory() as folder:
        _save(Path(folder), arrays, own, access)
        write_json(Path(folder) / "selection.json", selection)
        event = score(Path(folder), own.task, own.name, ["test"], problem, access)
        rows = {"test": len(arrays["ids"])}
        items = per_item(Path(folder), own.task, {"digest": own.name, "rows": rows}, access, {"task": task})
    body = {name: value for name, value in own.task.items() if name != "source"}
    spec = {
        "imported": hashlib.sha256(file.read_bytes()).hexdigest(),
        "method": {"name": method},
        "task": body,
        "data": {"prepared": own.name},
        "fold": fold,
        "replicate": replicate,
    }
    request = {
        "method": method, "task": task, "overrides": [], "replicate": replicate, "fold": fold,
        "folds": problem.folds(), "precision": "32", "twin": False,
    }  # fmt: skip
    named = {part: digest_of(values) for part, values in items.items()}
    record: Record = {
        "key": digest(spec),
        "method": method,
        "task": task,
        "base": task,
        "fold": fold,
        "replicate": replicate,
        "state": "done",
        "spec": spec,
        "request": request,
        "typed": [],
        "rule": str(own.task["selection"]),
        "scores": event["values"],
        "primary": event["primary"],
        "candidates": event.get("candidates"),
        "parts": event.get("parts"),
        "selection": selection,
        "cost": {},
        "data": {"digest": own.name, "rows": rows},
        "provisional": [],
        "post_hoc": False,
        "scored": 1,
        "provenance": {},
        "standing": IMPORTED,
        "evidence": named,
    }
    return record, {named[part]: values for part, values in items.items()}


def _read(file: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, NDArray[Any]] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be read as safetensors: {error}.") from None
    return arrays


def _save(folder: Path, arrays: dict[str, NDArray[Any]], own: Any, access: Access) -> None:
    """In the order of the test rows; UserError where they are others."""
    import numpy as np

    from bench.data.prepare import unseal
    from bench.predictions import save

    ids, _, _ = unseal(own.name, "test", access)
    place = np.argsort(ids, kind="stable")
    if len(ids) != len(arrays["ids"]) or (ids[place] != arrays["ids"]).any():
        raise UserError(f"The predictions are not of the {len(ids)} test rows of {own.task['name']}.")
    back = np.argsort(place, kind="stable")
    save(folder, "last", "test", {name: values[back] for name, values in arrays.items()})
