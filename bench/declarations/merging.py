"""How one declaration goes over another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` on top, neither changed: mappings merge, everything else replaces.

    A null in `over` removes the key that `base` gives (and stays where there is none to remove).
    """
    merged = dict(base)
    for key, value in over.items():
        if value is None and key in base:
            del merged[key]
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = list(value) if isinstance(value, list) else value
    return merged
