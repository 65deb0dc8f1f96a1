"""Selection: which checkpoint of a run counts, decided from validation alone, before any test label is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, nearest
from bench.core.files import read_json, write_json

RULES = ("val", "last", "oracle", "leave-one-domain-out")


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that could be selected; `value` is its validation score, None without validation data."""

    name: str
    step: int
    value: float | None


@dataclass(frozen=True)
class Selection:
    """What was selected, under which rule, among which candidates."""

    rule: str
    candidate: str
    step: int
    value: float | None
    considered: list[dict[str, Any]]

    def write(self, folder: Path) -> None:
        """Write `selection.json` into a run's folder."""
        write_json(folder / "selection.json", asdict(self))


def select(rule: str, candidates: Sequence[Candidate]) -> Selection:
    """Apply a rule. `val`: the highest validation score, the earlier step on a tie; the others: the last step.

    `oracle` and `leave-one-domain-out` differ from `last` in what they choose by among several runs.
    """
    if rule not in RULES:
        raise UserError(f"selection is {rule!r}; expected one of {', '.join(RULES)}.{nearest(rule, RULES)}")
    if rule == "val" and all(one.value is None for one in candidates):
        raise UserError("selection is val, and the task has no validation rows; declare splits.val or selection: last.")
    if rule == "val":
        chosen = min(
            (one for one in candidates if one.value is not None), key=lambda one: (-(one.value or 0), one.step)
        )
    else:
        chosen = max(candidates, key=lambda one: one.step)
    return Selection(rule, chosen.name, chosen.step, chosen.value, [asdict(one) for one in candidates])


def read(folder: Path) -> Mapping[str, Any]:
    """The selection written in a run's folder; UserError when there is none yet."""
    try:
        found: dict[str, Any] = read_json(folder / "selection.json")
    except (OSError, ValueError):
        raise UserError(f"{folder} has no selection yet; test labels are joined only after one is written.") from None
    return found
