"""The one JSON form in which a run is written down, hashed and compared."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(value: Any) -> str:
    """`value` as JSON with sorted keys, no spaces and ASCII only; equal meanings give equal text.

    `1` and `1.0` differ: a method may take a count for the one and a share for the other. Declared keys that are
    numbers arrive here as floats however they were written.
    Raises TypeError for anything JSON cannot hold and ValueError for infinities and nan.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical form, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"every key must be text in {value!r}")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
