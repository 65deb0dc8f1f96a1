"""A board's records: JSON lines, small and diffable.

What many records share (a task, a backbone, the versions of libraries) stands once, as a `part` named by its digest;
a record says `{"$part": NAME}` in its place. Lines are sorted, so that a new record is one new line.
"""

from __future__ import annotations

import contextlib
import gc
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.canonical import canonical, digest
from bench.core.errors import UserError
from bench.core.files import write_atomic

SCHEMA = 1
PART = "$part"

# Where records share: the dotted places whose values become parts.
_SHARED = (
    *("spec.method", "spec.task", "spec.backbone", "spec.code", "spec.data", "spec.weights", "spec.libraries"),
    *("provenance", "tuned"),
)
_PLACES = [(above, last) for above, _, last in (place.rpartition(".") for place in _SHARED)]

Record = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """A file of records: the records, and the name of the file that holds their evidence."""

    records: list[Record]
    evidence: str | None = None


def write_records(path: Path, records: Iterable[Mapping[str, Any]], evidence: str | None = None) -> None:
    """Write records, and the parts that they share, in their one order."""
    parts: dict[str, Any] = {}
    lines = [canonical(_folded(dict(record), parts)) for record in sorted(records, key=order)]
    head = canonical({"schema": SCHEMA, "evidence": evidence})
    named = [canonical({"part": name, "value": value}) for name, value in sorted(parts.items())]
    write_atomic(path, "\n".join([head, *named, *lines]) + "\n")


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """Leave the garbage collector alone while many small objects are made that all stay."""
    there = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if there:
            gc.enable()


def read_records(path: Path) -> Kept:
    """What `write_records` wrote, with its parts in place; UserError for a file that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    with unhurried():
        return _read(text, path)


def _read(text: str, path: Path) -> Kept:
    parts: dict[str, Any] = {}
    records: list[Record] = []
    evidence = None
    for number, value in enumerate(_values(text, path), start=1):
        if not isinstance(value, dict):
            raise UserError(f"{path}, line {number}: expected a JSON object.")
        if number == 1:
            if value.get("schema") != SCHEMA:
                raise UserError(f"{path}: schema is {value.get('schema')!r}; {SCHEMA} is the one known here.")
            evidence = value.get("evidence")
            if evidence is not None and not (isinstance(evidence, str) and is_file_name(evidence)):
                raise UserError(f"{path}: evidence is {evidence!r}; expected the name of a file beside it.")
        elif "part" in value:
            if digest(value.get("value"))[:12] != value["part"]:
                raise UserError(f"{path}, line {number}: the part {value['part']!r} is not what its name says.")
            parts[value["part"]] = value["value"]
        else:
            records.append(_unfolded(value, parts, f"{path}, line {number}"))
    return Kept(records, evidence)


def _values(text: str, path: Path) -> list[Any]:
    """The value of every line. All lines are parsed as one list: the keys they share are then made once."""
    lines = text.splitlines()
    try:
        values = json.loads(f"[{','.join(lines)}]")
        if len(values) == len(lines):
            return list(values)
    except ValueError:
        pass
    for number, line in enumerate(lines, start=1):
        try:
            json.loads(line)
        except ValueError:
            raise UserError(f"{path}, line {number}: expected a JSON object.") from None
    raise UserError(f"{path}: expected one JSON object a line.")


def is_file_name(text: str) -> bool:
    """Whether `text` names a file beside another, and leads nowhere else."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text) is not None


def order(record: Mapping[str, Any]) -> tuple[str, str, str, int, str]:
    """Records stand by task, method, fold, replicate, key."""
    fold = "" if record["fold"] is None else str(record["fold"])
    return str(record["task"]), str(record["method"]), fold, int(record["replicate"]), str(record["key"])


def cell(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What there can be one record of on a board: method, task, fold, replicate."""
    return record["method"], record["task"], record["fold"], record["replicate"]


def _folded(record: Record, parts: dict[str, Any]) -> Record:
    made: Record = json.loads(canonical(record))
    for above, last in _PLACES:
        where = made if not above else made.get(above) or {}
        if where.get(last):
            name = digest(where[last])[:12]
            parts[name] = where[last]
            where[last] = {PART: name}
    return made


def _unfolded(record: Record, parts: Mapping[str, Any], place: str) -> Record:
    for above, last in _PLACES:
        where = record if not above else record.get(above)
        folded = where.get(last) if isinstance(where, dict) else None
        if isinstance(where, dict) and isinstance(folded, dict) and PART in folded:
            if folded[PART] not in parts:
                raise UserError(f"{place}: the part {folded[PART]!r} is missing.")
            where[last] = parts[folded[PART]]
    for needed, kinds in _NEEDED.items():
        if not isinstance(record.get(needed), kinds):
            raise UserError(f"{place}: a record needs {needed}.")
    return record


_NEEDED: Mapping[str, Any] = {"key": str, "method": str, "task": str, "replicate": int, "state": str}
