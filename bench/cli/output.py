"""How a table reaches the terminal, or a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from bench.core.printable import printable
from bench.tables import Table

_PIPED = 200  # columns where there is no terminal
_NARROW = 12  # a column of names is folded to this width before a table grows wider than the terminal


def emit(table: Table, as_json: bool) -> None:
    """Print a table, or its raw rows as JSON."""
    if as_json:
        emit_json(list(table.raw))
        return
    from rich.console import Console
    from rich.text import Text

    live = Console(file=sys.stdout, highlight=False)
    widths = _widths(table, live.width if live.is_terminal else _PIPED)
    drawn = _drawn(table, widths)
    # A number that is cut reads as another number: lines too long for the terminal are left for it to wrap.
    console = Console(file=sys.stdout, highlight=False, width=max(live.width, _across(widths)))
    with console.capture() as text:  # written by click: rich would end the process where a pipe is closed
        console.print(drawn, crop=False)
        for note in table.notes:
            console.print(Text(printable(note)), style="dim", soft_wrap=True)
    click.echo(text.get(), nl=False)


def _widths(table: Table, across: int) -> list[int]:
    """A width for each column: its widest cell, but names fold, the longest first, where the terminal is narrow."""
    from rich.cells import cell_len

    cells = [table.header, *([printable(cell) for cell in row] for row in table.rows)]
    widths = [max(cell_len(row[place]) for row in cells) for place in range(len(table.header))]
    names = [place for place in range(len(widths)) if _is_name(table, place)]
    while _across(widths) > across and max(widths[place] for place in names) > _NARROW:
        widths[max(names, key=lambda place: widths[place])] -= 1
    return widths


def _across(widths: Sequence[int]) -> int:
    """The width of a table: a gap of three between columns, two at its edges."""
    return sum(widths) + 3 * (len(widths) - 1) + 4


def _is_name(table: Table, place: int) -> bool:
    return place < table.left or place == len(table.header) - 1


def _drawn(table: Table, widths: Sequence[int]) -> Any:
    """The table as rich draws it: names may fold, numbers may not."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    title = Text(printable(table.title)) if table.title else None
    drawn = Drawn(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for place, (header, width) in enumerate(zip(table.header, widths, strict=True)):
        justify: Any = "left" if _is_name(table, place) else "right"
        drawn.add_column(Text(header), justify=justify, overflow="fold", width=width)
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn


def emit_json(value: Any) -> None:
    """Print a value as JSON, in ASCII: an escape in a title stays an escape, and reaches no terminal."""
    click.echo(json.dumps(value, indent=1, sort_keys=isinstance(value, dict), default=str))


def number(count: int, thing: str) -> str:
    """`1 run`, `2 runs`"""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


json_option = click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
store_option = click.option(
    "--store", type=click.Path(), help="Where records are kept [default: $BENCH_STORE or ./bench-store]."
)
offline_option = click.option("--offline", is_flag=True, help="Forbid the network.")
