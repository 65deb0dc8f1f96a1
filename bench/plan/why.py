"""Why a key is what it is, and which input makes two keys differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_MISSING = "(absent)"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(dotted input, value before, value after) for every input of the key that differs."""
    left, right = dict(_leaves(before)), dict(_leaves(after))
    names = sorted(left.keys() | right.keys())
    return [
        (name, left.get(name, _MISSING), right.get(name, _MISSING))
        for name in names
        if left.get(name, _MISSING) != right.get(name, _MISSING)
    ]


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names down to plain values. File names under `code` keep their dots: the name is one step."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
