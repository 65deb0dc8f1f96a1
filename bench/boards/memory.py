"""Statistics that were computed before, in the cache, under the digest of everything they are made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.core.canonical import digest
from bench.core.files import write_atomic

VERSION = 1  # raise when a statistic changes


def remembered(cache: Path | None, basis: Any, make: Callable[[], Any]) -> Any:
    """What `make` gives, as plain values; kept in the cache, where there is one, and taken from it."""
    if cache is None:
        return json.loads(json.dumps(make()))
    file = cache / "statistics" / f"{digest([VERSION, basis])}.json"
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        pass
    made = json.dumps(make(), sort_keys=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, made)
    return json.loads(made)
