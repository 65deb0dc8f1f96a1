"""Methods that fill different slots become one method: `fish+lora` is fish's objective and lora's
adaptation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.declarations.merging import merge
from bench.declarations.schema import IMPLEMENTING, SLOTS
from bench.declarations.wording import place, quoted

if TYPE_CHECKING:
    from bench.declarations.catalog import Declaration

_JOINED = {"title": " + ", "description": "\n", "citation": "\n", "link": "\n"}


@dataclass(frozen=True)
class Combined:
    """A method made of one or several declarations.

    `homes` says for "method" and for each slot in which folder its "file:Class" is looked up: beside the
    declaration that fills it, beside the first part where none does. `parts` stand in the order in which
    they were merged.
    """

    name: str
    body: dict[str, Any]
    homes: dict[str, Path]
    parts: tuple[Declaration, ...]

    def place(self, key: str) -> str:
        """Where the dotted `key` stands, for errors."""
        for part in reversed(self.parts):
            if giver := part.giver(key):
                return place(giver)
        return self.parts[-1].place(key)


def filled(body: dict[str, Any]) -> list[str]:
    """The slots that `body` fills, "method" first."""
    slots = []
    for slot in ("method", *SLOTS):
        given = body.get(slot)
        if isinstance(given, dict) and any(key in given for key in IMPLEMENTING[slot]):
            slots.append(slot)
    return slots


def combine(parts: Sequence[Declaration]) -> Combined:
    """One method of `parts`, the same for every order of them; a UserError when two fill one slot.

    The name follows the slots. Plain values (a learning rate) merge in the order of the slots, so that the
    part that fills the later one wins; a part that fills none comes first.
    """
    fillers: dict[str, Declaration] = {}
    for part in parts:
        for slot in filled(part.body):
            if slot in fillers:
                raise UserError(
                    f"The methods {quoted(fillers[slot].name)} and {quoted(part.name)} both fill the slot "
                    f"{quoted(slot)}, and only one method can."
                )
            fillers[slot] = part
    named = sorted(parts, key=lambda part: (min(_ranks(part)), part.name))
    merged = sorted(parts, key=lambda part: (max(_ranks(part)), part.name))
    body: dict[str, Any] = {}
    for part in merged:
        body = merge(body, part.body)
        if part.body.get("search"):  # a range replaces another whole: its keys exclude one another
            body["search"].update(part.body["search"])
    if len(parts) > 1:
        _combine_notes(body, named)
    homes = {slot: fillers.get(slot, named[0]).home for slot in ("method", *SLOTS)}
    return Combined("+".join(part.name for part in named), body, homes, tuple(merged))


def _ranks(part: Declaration) -> list[int]:
    order = ("method", *SLOTS)
    return [order.index(slot) for slot in filled(part.body)] or [-1]


def _combine_notes(body: dict[str, Any], parts: Sequence[Declaration]) -> None:
    """Notes of all parts, and the problems that all of them work on."""
    for key, between in _JOINED.items():
        texts = dict.fromkeys(part.body[key] for part in parts if part.body.get(key))
        if texts:
            body[key] = between.join(texts)
    restricted = [part.body["problems"] for part in parts if part.body.get("problems")]
    if restricted:
        body["problems"] = [kind for kind in restricted[0] if all(kind in others for others in restricted[1:])]
        if not body["problems"]:
            names = " and ".join(quoted(part.name) for part in parts if part.body.get("problems"))
            raise UserError(f"The methods {names} work on no problem in common.")
