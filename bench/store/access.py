"""Small words the store's modules share: the time, keys, and file errors as sentences."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.core.errors import UserError

KEY = re.compile(r"[0-9a-f]{64}")


def store_path(given: str | Path | None = None) -> Path:
    """Where records are kept: as given, else BENCH_STORE, else `bench-store` in the working directory."""
    return Path(given or os.environ.get("BENCH_STORE") or "bench-store").expanduser()


def timestamp() -> str:
    """The time now, as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a sentence about the store (or run) at `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {_reason(error)}.") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a sentence about the store (or run) at `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read: {_reason(error)}.") from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; UserError when it is missing, unreadable or something else."""
    with reading(path):
        try:
            value = json.loads(path.read_bytes())
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: it should hold a JSON object.")
    return value


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]
