"""Dotted keys: which of them a declaration may be given, on the command line or in a search."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.core.errors import nearest
from bench.core.printable import printable
from bench.declarations.fields import Field, kind_of
from bench.declarations.wording import found, quoted

_SEGMENT = re.compile(r"([A-Za-z0-9_-]+)((?:\[[0-9]{1,6}\])*)")


@dataclass(frozen=True)
class Target:
    """What a dotted key leads to: its field (None in a free-form mapping), the value there now, and its
    parent's field.
    """

    field: Field | None
    value: Any
    parent: Field | None


def split_key(key: str) -> list[str] | None:
    """The segments of `a.b[0].c` (`["a", "b", "0", "c"]`), or None where `key` has another form."""
    segments: list[str] = []
    for part in key.split("."):
        match = _SEGMENT.fullmatch(part)
        if match is None:
            return None
        segments.append(match[1])
        segments.extend(match[2][1:-1].split("][") if match[2] else ())
    return segments


def locate(schema: Field, body: Mapping[str, Any], segments: list[str]) -> Target | str:
    """Follow `segments` through `schema` and `body`; a text (a clause) says what is wrong with the key.

    Keys of free-form mappings, and items of lists, must be there already: a declaration lists what it can
    be given.
    """
    field: Field | None = schema
    parent: Field | None = None
    value: Any = body
    for depth, segment in enumerate(segments):
        above = ".".join(segments[:depth])
        step = _step(field, value, segment, above)
        if isinstance(step, str):
            return step
        parent = field
        field, value = step
    return Target(field, value, parent)


def _step(field: Field | None, value: Any, segment: str, above: str) -> tuple[Field | None, Any] | str:
    """One segment further down: the field and the value there, or what is wrong."""
    if isinstance(value, list):
        if not segment.isdigit() or int(segment) >= len(value):
            return f"{quoted(above)} has the items 0 to {len(value) - 1}, not {quoted(segment)}"
        return (field.item if field is not None else None), value[int(segment)]
    fields = field.fields if field is not None else None
    if fields is not None and (value is None or isinstance(value, dict)):
        legal = [name for name, each in fields.items() if not each.meta]
        if segment not in legal:
            return _unknown(segment, above, legal)
        return fields[segment], (value or {}).get(segment)
    if isinstance(value, dict):
        if segment not in value:
            return _unknown(segment, above, value)
        return (field.values if field is not None else None), value[segment]
    if value is None:
        return f"{quoted(above)} lists no key {quoted(segment)}"
    return f"{quoted(above)} has no keys below it: it is {found(value)}"


def _unknown(segment: str, above: str, legal: Mapping[str, Any] | list[str]) -> str:
    inside = f" in {quoted(above)}" if above else ""
    holds = f", which holds {printable(', '.join(sorted(legal)))}" if above and 0 < len(legal) <= 12 else ""
    return f"{quoted(segment)} is an unknown key{inside}{holds}"


def settable(schema: Field, body: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key below which nothing more can be set, notes left out."""
    for name, field in (schema.fields or {}).items():
        if not field.meta:
            yield from _leaves(field, body.get(name), f"{prefix}{name}")


def _leaves(field: Field | None, value: Any, key: str) -> Iterator[str]:
    if field is not None and field.fields is not None:
        yield from settable(field, value if isinstance(value, dict) else {}, f"{key}.")
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(None, each, f"{key}.{name}")
    else:
        yield key


def nearest_key(key: str, legal: list[str]) -> str:
    """A hint at the whole key that was meant: the one that ends as `key` does, else the most similar one."""
    last = key.rpartition(".")[2]
    same_end = [each for each in legal if each.rpartition(".")[2] == last]
    if same_end:
        return f" Did you mean {' or '.join(quoted(each) for each in same_end[:2])}?"
    by_end = {each.rpartition(".")[2]: each for each in reversed(legal) if _head(each) == _head(key)}
    hint = nearest(last, by_end)
    for end, whole in by_end.items():
        hint = hint.replace(f'"{end}"', f'"{whole}"')
    return hint or nearest(key, legal)


def _head(key: str) -> str:
    return key.rpartition(".")[0]


def same_kind(declared: Any, value: Any) -> str:
    """'' when a free-form parameter declared as `declared` may be given `value`, else what was expected."""
    old, new = kind_of(declared), kind_of(value)
    numbers = {"integer", "number"}
    if "null" in (old, new) or old == new or (old in numbers and new in numbers):
        return ""
    if old == "text" and new in {"integer", "number", "boolean"}:
        return ""  # a word such as "auto" or "all" where a number may also stand
    return {"integer": "a number", "number": "a number", "boolean": "true or false"}.get(old, f"a {old}")
