"""Does a board's evidence bear its numbers? Keys from specs, scores from items, scores from predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.boards.evidence import digest_of, read_evidence
from bench.boards.records import Record, read_records
from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.data.access import Access
from bench.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-9

AGREES, DIFFERS, NONE = "agrees", "differs", "none"


@dataclass(frozen=True)
class Verdict:
    """What was found of one record. `key`, `evidence` and `predictions` are agrees, differs, or none to look at."""

    record: Record
    key: str
    evidence: str
    predictions: str
    note: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing differs."""
        return DIFFERS not in (self.key, self.evidence, self.predictions)


def verify(path: Path, store: Store | None, access: Access) -> list[Verdict]:
    """Look at every done record of a file of records; predictions are scored again where `store` holds them."""
    kept = read_records(path)
    evidence = read_evidence(path.with_name(kept.evidence)) if kept.evidence else {}
    return [verdict(one, evidence, store, access) for one in kept.records if one["state"] == "done"]


def verdict(record: Record, evidence: Mapping[str, NDArray[Any]], store: Store | None, access: Access) -> Verdict:
    """What is found of one record."""
    key = AGREES if _digest(record["spec"]) == record["key"] else DIFFERS
    items, note = _items(record, evidence)
    again, said = _again(record, store, access)
    return Verdict(record, key, items, again, "; ".join(one for one in (note, said) if one))


def _digest(spec: Any) -> str:
    try:
        return digest(spec)
    except (TypeError, ValueError):
        return ""


def _items(record: Record, evidence: Mapping[str, NDArray[Any]]) -> tuple[str, str]:
    """Whether the evidence is what its name says, and its mean the score."""
    named = record.get("evidence") or {}
    if not named:
        return NONE, ""
    means = []
    for part, name in sorted(named.items()):
        if name not in evidence or digest_of(evidence[name]) != name:
            return DIFFERS, f"the evidence of {part} is missing or another's"
        means.append(math.fsum(evidence[name].tolist()) / len(evidence[name]))
    mean = math.fsum(means) / len(means)
    if abs(mean - float(record["scores"]["score"])) > TOLERANCE:
        return DIFFERS, f"the items' mean is {mean:.6f}, the score {record['scores']['score']:.6f}"
    return AGREES, ""


def _again(record: Record, store: Store | None, access: Access) -> tuple[str, str]:
    """Whether stored predictions, joined with the labels again, give the scores."""
    folder = store.folder(record["key"]) if store is not None and record["key"] in store else None
    if folder is None:
        return NONE, ""
    from bench.problems import problem_of
    from bench.score import score
    from bench.score.evidence import prepare_again

    task, data = record["spec"]["task"], record["data"]
    try:
        prepare_again(data["digest"], access, {**record["request"], "overrides": record["typed"]})
        parts = [part for part in data["rows"] if part.startswith(("test", "target-val"))]
        values = score(folder, task, data["digest"], parts, problem_of(task), access)["values"]
    except UserError as error:
        return NONE, str(error)
    for name, value in record["scores"].items():
        if name not in values or abs(values[name] - value) > TOLERANCE:
            return DIFFERS, f"{name} is {values.get(name)} from the predictions, {value} in the record"
    return AGREES, ""
