"""Tables whose classes are codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.core.errors import UserError


def named(load: Callable[[str], Mapping[str, Any]], column: str, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The table with the codes in `column` replaced by what they stand for."""
    columns = dict(load("all"))
    unknown = sorted({str(code) for code in columns[column]} - set(names))
    if unknown:
        raise UserError(f"The column {column!r} holds {unknown[0]!r}, which source.params.names does not name.")
    return {"all": {**columns, column: [names[str(code)] for code in columns[column]]}}
