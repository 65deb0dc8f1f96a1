"""Packs: a board's records and predictions in one file, sent by somebody and checked by somebody else.

A pack is a zip of JSON lines, arrays and safetensors. Nothing in it is executed; names and sizes are checked before
anything is read. A record is `verified` where its key is that of its spec and its predictions, joined with the test
labels that lie here, give its scores; otherwise it is `reported`.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.boards.declare import Board
from bench.boards.evidence import digest_of, read_evidence, write_evidence
from bench.boards.publish import load, write
from bench.boards.records import Record, cell, read_records, write_records
from bench.boards.verify import AGREES, TOLERANCE, verdict
from bench.core.errors import UserError
from bench.core.files import write_atomic, write_json
from bench.data.access import Access
from bench.predictions import CANDIDATES
from bench.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERIFIED, REPORTED = "verified", "reported"
MOST_BYTES = 4 * 2**30
_RECORDS, _EVIDENCE = "records.jsonl", "evidence.zip"
_PREDICTIONS = re.compile(r"predictions/[0-9a-f]{64}/(best|last)\.[A-Za-z0-9_ .-]{1,100}\.safetensors")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]{0,100}")
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Received:
    """One record of a pack, and how it stands after the check."""

    record: Record
    standing: str
    note: str
    items: dict[str, Any]  # what each test row adds, by part: from the predictions where they were verified


def pack(board: Board, store: Store, out: Path) -> int:
    """Write a board's done records with their evidence and the predictions of its runs; how many runs had some."""
    records, evidence = load(board)
    made, count = io.BytesIO(), 0
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        done = [one for one in records if one["state"] == "done"]
        write_records(Path(folder) / _RECORDS, done, _EVIDENCE if evidence else None)
        if evidence:
            write_evidence(Path(folder) / _EVIDENCE, evidence)
        for name in (_RECORDS, *([_EVIDENCE] if evidence else [])):
            _add(file, name, (Path(folder) / name).read_bytes())
        for record in done:
            found = store.folder(record["key"]) if record["key"] in store else None
            if found is None:
                continue
            count += 1
            chosen = record["selection"]["candidate"]
            for part in _parts(record):
                source = found / "predictions" / f"{chosen}.{part}.safetensors"
                _add(file, f"predictions/{record['key']}/{source.name}", source.read_bytes())
    write_atomic(out, made.getvalue())
    return count


def check(path: Path, access: Access) -> list[Received]:
    """Every record of a pack, checked against the labels that lie here. UserError for what is no pack."""
    with _opened(path) as folder:
        kept = read_records(folder / _RECORDS)
        evidence = read_evidence(folder / _EVIDENCE) if kept.evidence else {}
        for one in kept.records:
            if one["state"] == "done" and not _well_formed(one):
                raise UserError(f"{path}: the record {one['key'][:12]} is not in the form of one.")
        return [_received(one, evidence, folder, access) for one in kept.records if one["state"] == "done"]


def join(received: list[Received], board: Board) -> int:
    """Add checked records to a board's; how many. UserError where a board has another record of the same cell."""
    records: list[Record] = []
    arrays: dict[str, NDArray[Any]] = {}
    for one in received:
        named = {part: digest_of(values) for part, values in one.items.items()}
        arrays |= {named[part]: values for part, values in one.items.items()}
        records.append({**one.record, "standing": one.standing, "evidence": named})
    return add(board, records, arrays)


def add(board: Board, made: list[Record], arrays: dict[str, NDArray[Any]]) -> int:
    """Write records into a board's, those that are there already left out; how many were new."""
    records, evidence = load(board)
    keys = {one["key"] for one in records}
    there = {cell(one) for one in records if one["state"] == "done"}
    new = [one for one in made if one["key"] not in keys]
    for one in new:
        if cell(one) in there:
            said = f"{one['method']} on {one['task']}, seed {one['replicate']}"
            raise UserError(f"{board.name} has another record of {said}; rename the method that joins it.")
    write(board, [*records, *new], evidence | arrays)
    return len(new)


def _received(record: Record, evidence: dict[str, Any], folder: Path, access: Access) -> Received:
    found = verdict(record, evidence, None, access)
    claimed = {part: evidence[name] for part, name in (record.get("evidence") or {}).items() if name in evidence}
    if found.key != AGREES:
        return Received(record, REPORTED, "its key is not that of its spec", claimed)
    try:
        values, items = _scored(record, folder / "predictions" / record["key"], access)
    except UserError as error:
        return Received(record, REPORTED, str(error), claimed)
    for name, value in record["scores"].items():
        if name not in values or abs(values[name] - value) > TOLERANCE:
            return Received(record, REPORTED, f"its predictions give {name} {values.get(name)}, not {value}", claimed)
    return Received(record, VERIFIED, "", items)


def _scored(record: Record, predictions: Path, access: Access) -> tuple[dict[str, float], dict[str, Any]]:
    """The scores and items of received predictions, with the labels of this machine's own data."""
    from bench.data.prepare import prepare
    from bench.declarations.catalog import Catalog
    from bench.plan.grid import task_data
    from bench.problems import problem_of
    from bench.score import score
    from bench.score.evidence import per_item

    if not predictions.is_dir():
        raise UserError("it came without predictions")
    request = record["request"]
    typed = [one for one in record["typed"] if one.startswith("task.") and not one.startswith("task.backbone=")]
    data = task_data(Catalog.find(), str(request["task"]), typed, bool(request["twin"]), access)
    own = next((one for one in data if one.fold == record["fold"]), None)
    if own is None or own.name != record["data"]["digest"]:
        raise UserError("its data are not those that lie here")
    prepare(own, access)
    task = own.task
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "predictions").mkdir()
        for file in predictions.iterdir():
            (place / "predictions" / file.name).write_bytes(file.read_bytes())
        write_json(place / "selection.json", record["selection"])
        event = score(place, task, own.name, _parts(record), problem_of(task), access)
        items = per_item(place, task, record["data"], access, request)
    return event["values"], items


def _well_formed(record: Record) -> bool:
    """Whether a received record has what tables read, in the form they read it, and names that lead nowhere."""
    request, scores = record.get("request"), record.get("scores")
    selection, data = record.get("selection"), record.get("data")
    mappings = (request, scores, selection, data, record.get("spec"), record.get("cost"), record.get("provenance"))
    if not all(isinstance(one, dict) for one in mappings) or not isinstance(record.get("typed"), list):
        return False
    assert isinstance(request, dict)
    assert isinstance(scores, dict)
    assert isinstance(selection, dict)
    assert isinstance(data, dict)
    rows = data.get("rows")
    return (
        re.fullmatch("[0-9a-f]{64}", record["key"]) is not None
        and all(isinstance(request.get(name), str) for name in ("method", "task", "precision"))
        and all(isinstance(one, str) for one in [*request.get("overrides", [0]), *record["typed"], record.get("rule")])
        and (record.get("fold") is None or isinstance(record["fold"], str))
        and all(isinstance(one, (int, float)) and math.isfinite(one) for one in scores.values())
        and "score" in scores
        and isinstance(selection.get("candidate"), str)
        and selection["candidate"] in CANDIDATES
        and isinstance(rows, dict)
        and all(_PART.fullmatch(name) and isinstance(count, int) for name, count in rows.items())
        and re.fullmatch("[0-9a-f]{64}", str(data.get("digest"))) is not None
        and all(isinstance(name, str) for name in (record.get("evidence") or {}).values())
    )


def _parts(record: Record) -> list[str]:
    return [part for part in record["data"]["rows"] if part.startswith(("test", "target-val"))]


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    file.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """A pack's files in a folder of their own, after their names and sizes were looked at."""
    try:
        with zipfile.ZipFile(path) as file, tempfile.TemporaryDirectory() as folder:
            entries = file.infolist()
            if sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise UserError(f"{path} would take more than {MOST_BYTES // 2**30} GiB.")
            for entry in entries:
                if entry.filename not in (_RECORDS, _EVIDENCE) and not _PREDICTIONS.fullmatch(entry.filename):
                    raise UserError(f"{path} holds {entry.filename!r}, which no pack does.")
                target = Path(folder) / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(entry) as source:
                    data = source.read(entry.file_size + 1)
                if len(data) != entry.file_size:
                    raise UserError(f"{path}: {entry.filename} is not of the size it says.")
                target.write_bytes(data)
            if not (Path(folder) / _RECORDS).exists():
                raise UserError(f"{path} is no pack: it has no records.")
            yield Path(folder)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as a pack: {error}.") from None
