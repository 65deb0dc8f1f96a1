"""A table in a text file: columns of numbers as arrays, columns of text as lists."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, first_line

_SEPARATORS = "\t,; "
_TABLES = (".csv", ".data", ".tsv")


def read(path: Path, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """The columns of a table, by name.

    `columns` are the names for a file without a header; a first line that holds them all is taken for a header all the
    same, so that a copy with a header and more columns serves too. The separator is the first of tab, comma,
    semicolon and space that stands in the first line. A gap among numbers is nan. UserError for what is no table.
    """
    import pyarrow
    import pyarrow.csv

    first, separator = _first_line(path)
    names, header = _names(path, first, columns)
    try:
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=int(header)),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator),
        )
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path.name} cannot be read as csv: {first_line(error)}") from None
    return {name: _column(table[name]) for name in names}


def member(archive: Path, folder: Path) -> Path:
    """The one table among an archive's unpacked files."""
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _TABLES]
    if len(found) != 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found) or "none"
        raise UserError(f"{archive.name} must hold one table ({', '.join(_TABLES)}) to be read as csv; it has {names}.")
    return found[0]


def _first_line(path: Path) -> tuple[list[str], str]:
    """The cells of the first line, and the separator."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} cannot be read as csv: {error}") from None
    if not line.strip():
        raise UserError(f"{path.name} cannot be read as csv: its first line is empty.")
    separator = next((one for one in _SEPARATORS if one in line), ",")
    return next(csv.reader([line], delimiter=separator)), separator


def _names(path: Path, first: list[str], columns: Sequence[str] | None) -> tuple[list[str], bool]:
    """The columns' names, and whether the first line is a header."""
    header = [cell.strip() or f"column{place}" for place, cell in enumerate(first)]
    if columns is not None and not set(columns) <= set(header):
        if len(columns) != len(header):
            raise UserError(f"{path.name} has {len(header)} columns; source.columns names {len(columns)}.")
        header = list(columns)
        taken = False
    else:
        taken = True
        if all(_is_number(cell) for cell in first):
            raise UserError(f"The first line of {path.name} holds numbers, no names; name them in source.columns.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"{path.name} has the column {twice[0]!r} twice.")
    return header, taken


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _column(values: Any) -> Any:
    """Numbers as a numpy array, anything else as a list of strings."""
    import pyarrow

    kind = values.type
    if pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind):
        return values.to_numpy()
    if pyarrow.types.is_null(kind):
        return [""] * len(values)
    return values.cast(pyarrow.string()).to_pylist()
