"""Publishing a board: from a store to records, from records to tables; and the check that nothing else stands there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.boards.build import build
from bench.boards.collect import Planned, collect
from bench.boards.declare import Board, read_board
from bench.boards.evidence import digest_of, read_evidence, write_evidence
from bench.boards.records import Record, cell, read_records, write_records
from bench.boards.render import texts
from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.core.files import write_atomic
from bench.data.access import Access
from bench.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Published:
    """What a publication wrote, and what it lacks."""

    files: Sequence[Path]
    records: int
    missing: int  # runs that the board asks for and nobody has made
    stale: int  # records of an older method, metric or data set, shown until they are made anew


def publish(board: Board, planned: Planned, store: Store, access: Access) -> Published:
    """Take a board's records from a store, keep those made elsewhere, and write every table."""
    records, evidence = collect(board, planned, store, access)
    records, evidence, stale = _with_earlier(board, planned, records, evidence)
    name = write(board, records, evidence)
    files = [board.beside("records.jsonl"), *([board.path.with_name(name)] if name else [])]
    for ending, text in texts(build(board, *load(board), access.cache)).items():  # from what a reader will have
        write_atomic(board.beside(ending), text)
        files.append(board.beside(ending))
    done = {one["key"] for one in records if one["state"] == "done"}
    wanted = {run.key for run in planned.runs}
    open_studies = sum(store.studies.selection(study.name) is None for study in planned.studies)
    return Published(files, len(records), len(wanted - done) + open_studies, stale)


def write(board: Board, records: Sequence[Record], evidence: Mapping[str, NDArray[Any]]) -> str | None:
    """Write the records and their evidence; the evidence file's name. An older evidence file is removed."""
    used = {one for record in records for one in (record.get("evidence") or {}).values()}
    arrays = {name: values for name, values in evidence.items() if name in used}
    name = f"{board.name}.{digest(sorted(arrays))[:12]}.evidence.zip" if arrays else None
    if name and not board.path.with_name(name).exists():
        write_evidence(board.path.with_name(name), arrays)
    write_records(board.beside("records.jsonl"), records, name)
    for old in board.path.parent.glob(f"{board.name}.*.evidence.zip"):
        if old.name != name and len(old.name.split(".")) == len(board.name.split(".")) + 3:
            old.unlink()
    return name


def load(board: Board) -> tuple[list[Record], dict[str, NDArray[Any]]]:
    """A board's records and evidence from the files beside it; UserError where they do not belong together."""
    path = board.beside("records.jsonl")
    if not path.exists():
        raise UserError(f"{path} is not there; `bench publish {board.path}` writes it.")
    kept = read_records(path)
    evidence = read_evidence(board.path.with_name(kept.evidence)) if kept.evidence else {}
    for name, values in evidence.items():
        if digest_of(values) != name:
            raise UserError(f"{kept.evidence}: the evidence {name[:12]} is not what its name says.")
    for record in kept.records:
        for part, name in (record.get("evidence") or {}).items():
            if name not in evidence:
                raise UserError(f"{path}: the evidence of {record['key'][:12]} ({part}) is not in {kept.evidence}.")
    return kept.records, evidence


def check(path: Path, cache: Path) -> list[str]:
    """The tables of a board that its records do not give, as sentences; none where all is well."""
    board = read_board(path)
    records, evidence = load(board)
    wrong = []
    for ending, text in texts(build(board, records, evidence, cache)).items():
        file = board.beside(ending)
        found = file.read_text(encoding="utf-8") if file.exists() else None
        if found != text:
            said = "is missing" if found is None else "is not what the records give"
            wrong.append(f"{file} {said}; `bench publish {path} --no-run` writes it.")
    return wrong


def _with_earlier(
    board: Board, planned: Planned, records: list[Record], evidence: dict[str, NDArray[Any]]
) -> tuple[list[Record], dict[str, NDArray[Any]], int]:
    """Records that stand in the board already and not in this store: kept, as stale where their key is another now."""
    if not board.beside("records.jsonl").exists():
        return records, evidence, 0
    earlier, theirs = load(board)
    wanted = {run.key for run in planned.runs}
    have = {cell(one) for one in records if one["state"] == "done"}
    kept = [one for one in earlier if one["state"] == "done" and cell(one) not in have and _asked(board, one)]
    stale = 0
    for one in kept:
        one["stale"] = bool(wanted) and one["key"] not in wanted and not one.get("standing")
        stale += one["stale"]
    replaced = {cell(one) for one in kept}
    left = [one for one in records if cell(one) not in replaced]
    return [*left, *kept], theirs | evidence, stale


def _asked(board: Board, record: Record) -> bool:
    """Whether a board still names a record's method, or it came with a pack."""
    if record.get("standing"):
        return True
    named = {expression for expression, _ in board.methods()}
    return any("*" in one for one in named) or str(record["request"]["method"]) in named
