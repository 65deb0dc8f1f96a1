"""Intents by name: the number of a class is not the same in every copy of these data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.core.errors import UserError


def named(
    load: Callable[[str], Mapping[str, Any]],
    column: str = "label",
    without: Sequence[str] = (),
    splits: Sequence[str] = ("train",),
) -> dict[str, dict[str, list[str]]]:
    """Texts with the names of their classes, as the files give them; rows of the classes `without` are left out."""
    made = {}
    for split in splits:
        columns = load(split)
        names = getattr(getattr(columns[column], "features", None), "names", None)
        if names is None:
            raise UserError(f"The column {column!r} of {split!r} comes without names of its classes.")
        found = [names[number] for number in columns[column]]
        kept = [place for place, name in enumerate(found) if name not in without]
        texts = list(columns["text"])
        made[split] = {"text": [texts[place] for place in kept], "label": [found[place] for place in kept]}
    return made
