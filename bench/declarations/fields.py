"""A small declarative schema: what a key may hold, and the check that says what it holds instead.

A `Field` describes one value. A mapping's field lists its keys in `fields`, or says in `values` what every
value of freely named keys must be; with neither it is free-form. `check_value` returns a copy with defaults
filled in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.core.errors import UserError, nearest
from bench.declarations.wording import Where, at, found, nearest_or_all, quoted

_NOUNS = {
    "text": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "mapping": "a mapping",
    "any": "any value",
}


@dataclass(frozen=True)
class OneOf:
    """Keys of a mapping that exclude each other, each with the companion keys that go with it alone."""

    keys: Mapping[str, tuple[str, ...]]
    required: bool = False
    default: tuple[str, Any] | None = None


@dataclass(frozen=True)
class Field:
    """What one key may hold.

    `kinds`: one or several of text, integer, number, boolean, list, mapping, any.
    `default`: filled in when the key is absent or null; a mapping's default is checked like any other.
    `choices`: the legal texts or numbers. `low` and `high` include the bound, `above` excludes it.
    `item`: each item of a list; `length`: how many there must be; a list may not be empty unless `empty`.
    `fields`, `values`, `groups`: keys of a mapping (see the module).
    `test`: returns what was expected instead, or '' when the value is right. `meta`: a note, no part of a
    run's identity.
    """

    kinds: str | tuple[str, ...] = "text"
    required: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    item: Field | None = None
    length: int | None = None
    empty: bool = False
    fields: Mapping[str, Field] | None = None
    values: Field | None = None
    groups: tuple[OneOf, ...] = ()
    test: Callable[[Any], str] | None = None
    expected: str = ""
    meta: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.kinds, str):
            object.__setattr__(self, "kinds", (self.kinds,))
        if unknown := set(self.kinds) - set(_NOUNS):
            raise ValueError(f"no kind of value is called {', '.join(sorted(unknown))}")


def describe(field: Field) -> str:
    """What `field` expects, for the middle of a sentence."""
    if field.expected:
        return field.expected
    parts = [_noun(field, kind) for kind in field.kinds]
    bounds = [
        f"{words} {bound:g}"
        for words, bound in (("at least", field.low), ("above", field.above), ("at most", field.high))
        if bound is not None
    ]
    return " or ".join(parts) + (f" of {' and '.join(bounds)}" if bounds else "")


def _noun(field: Field, kind: str) -> str:
    if kind != "list" and kind != "mapping" and field.choices:
        return f"one of {', '.join(str(choice) for choice in field.choices)}"
    if kind == "list" and field.item is not None:
        count = f"{field.length} items" if field.length else "items"
        return f"a list of {count}, each {describe(field.item)}"
    return _NOUNS[kind]


def kind_of(value: Any) -> str:
    """The kind of `value`: null, boolean, integer, number, text, list, mapping, or unknown."""
    if value is None:
        return "null"
    for kind, types in _TYPES:
        if isinstance(value, types):
            return kind
    return "unknown"


_TYPES: tuple[tuple[str, type], ...] = (
    ("boolean", bool),  # before int, whose subclass it is
    ("integer", int),
    ("number", float),
    ("text", str),
    ("list", list),
    ("mapping", dict),
)


def check_value(value: Any, field: Field, key: str, where: Where, *, defaults: bool = True) -> Any:
    """A copy of `value` that `field` accepts, with its defaults (unless `defaults` is false).

    `key` is its dotted key. A UserError names place, key, what was expected and what was found.
    """
    kind = kind_of(value)
    if not _accepts(field, kind):
        raise _wrong(value, field, key, where)
    if "any" in field.kinds:
        return _plain(value, key, where)
    if kind in ("integer", "number"):
        _check_bounds(value, field, key, where)
    if kind == "integer" and "integer" not in field.kinds:
        value = float(value)  # one meaning, one form
    if kind in ("integer", "number", "text") and field.choices and value not in field.choices:
        raise _wrong(value, field, key, where, nearest(str(value), [str(choice) for choice in field.choices]))
    if kind == "list":
        value = _check_list(value, field, key, where, defaults)
    elif kind == "mapping":
        value = _check_mapping(value, field, key, where, defaults)
    if field.test is not None and (expected := field.test(value)):
        raise UserError(f"{at(where, key)}: {_subject(key)} must be {expected}, found {found(value)}.")
    return value


def _accepts(field: Field, kind: str) -> bool:
    if "any" in field.kinds:
        return kind != "unknown"
    return kind in field.kinds or (kind == "integer" and "number" in field.kinds)


def _wrong(value: Any, field: Field, key: str, where: Where, hint: str = "") -> UserError:
    if not hint:
        if isinstance(value, str) and {"integer", "number"} & set(field.kinds) and _looks_numeric(value):
            hint = " Write it without quotes."
        elif "text" in field.kinds and kind_of(value) in ("integer", "number", "boolean"):
            hint = " Write it in quotes." if not field.choices else ""
    return UserError(f"{at(where, key)}: {_subject(key)} must be {describe(field)}, found {found(value)}.{hint}")


def _looks_numeric(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _subject(key: str) -> str:
    return quoted(key) if key else "the declaration"


def _check_bounds(value: float, field: Field, key: str, where: Where) -> None:
    inside = (
        math.isfinite(value)
        and (field.low is None or value >= field.low)
        and (field.above is None or value > field.above)
        and (field.high is None or value <= field.high)
    )
    if not inside:
        raise _wrong(value, field, key, where)


def _check_list(value: list[Any], field: Field, key: str, where: Where, defaults: bool) -> list[Any]:
    if not value and not field.empty:
        raise UserError(f"{at(where, key)}: {_subject(key)} must be {describe(field)}, found an empty list.")
    if field.length is not None and len(value) != field.length:
        raise _wrong(value, field, key, where)
    item = field.item or Field("any")
    return [check_value(each, item, f"{key}[{index}]", where, defaults=defaults) for index, each in enumerate(value)]


def _check_mapping(value: dict[str, Any], field: Field, key: str, where: Where, defaults: bool) -> dict[str, Any]:
    for name in value:
        if not isinstance(name, str):
            raise UserError(f"{at(where, key)}: every key of {_subject(key)} must be text, found {found(name)}.")
    if field.fields is None:
        inner = field.values or Field("any")
        return {
            name: check_value(each, inner, join(key, name), where, defaults=defaults)
            for name, each in value.items()
            if each is not None or field.values is None
        }
    checked = {}
    for name, each in value.items():
        if name not in field.fields:
            inside = f" of {quoted(key)}" if key else ""
            hint = nearest_or_all(name, field.fields)
            raise UserError(
                f"{at(where, join(key, name))}: {quoted(join(key, name))} is an unknown key{inside}; "
                f"expected one of its legal keys, found {quoted(name)}.{hint}"
            )
        if each is not None:  # null means: not set
            checked[name] = check_value(each, field.fields[name], join(key, name), where, defaults=defaults)
    for group in field.groups:
        _check_group(checked, group, key, where, defaults)
    if defaults:
        _fill(checked, field.fields, key, where)
    return checked


def _check_group(checked: dict[str, Any], group: OneOf, key: str, where: Where, defaults: bool) -> None:
    """At most one key of the group, and with it only its own companions."""
    given = [name for name in group.keys if name in checked]
    names = ", ".join(group.keys)
    if len(given) > 1:
        raise UserError(
            f"{at(where, join(key, given[1]))}: {_subject(key)} must hold only one of {names}, "
            f"found {' and '.join(quoted(name) for name in given)}."
        )
    if not given:
        if group.default is not None and defaults:
            checked[group.default[0]] = group.default[1]
        if group.required and defaults:
            raise UserError(f"{at(where, key)}: {_subject(key)} must hold one of {names}, found none of them.")
        return
    for name in strangers(group, given[0], checked):
        legal = ", ".join(group.keys[given[0]]) or "nothing else"
        raise UserError(
            f"{at(where, join(key, name))}: {quoted(join(key, name))} does not go with {quoted(given[0])}; "
            f"expected beside it {legal}, found {quoted(name)}."
        )


def strangers(group: OneOf, chosen: str, present: Iterable[str]) -> list[str]:
    """The keys in `present` that belong to other members of the group than `chosen`: they and their
    companions.
    """
    own = {chosen, *group.keys[chosen]}
    foreign = {name for member, others in group.keys.items() for name in (member, *others)} - own
    return [name for name in present if name in foreign]


def _fill(checked: dict[str, Any], fields: Mapping[str, Field], key: str, where: Where) -> None:
    for name, field in fields.items():
        if name in checked:
            continue
        if field.default is not None:
            checked[name] = check_value(field.default, field, join(key, name), where)
        elif field.required:
            raise UserError(
                f"{at(where, join(key, name))}: the key {quoted(join(key, name))} is missing; "
                f"expected {describe(field)}, found nothing."
            )


def _plain(value: Any, key: str, where: Where) -> Any:
    """A copy of a free-form value, of finite JSON values all through."""
    kind = kind_of(value)
    if kind == "unknown" or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(f"{at(where, key)}: {_subject(key)} must be a plain value, found {found(value)}.")
    if isinstance(value, list):
        return [_plain(each, f"{key}[{index}]", where) for index, each in enumerate(value)]
    if isinstance(value, dict):
        return _check_mapping(value, Field("mapping"), key, where, False)
    return value


def join(key: str, name: str) -> str:
    """`name` under the dotted key `key`."""
    return f"{key}.{name}" if key else name
