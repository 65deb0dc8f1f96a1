"""How a table reaches the terminal, or a program."""

from __future__ import annotations

import json
import sys

import click

from bench.core.printable import printable
from bench.tables import Table


def emit(table: Table, as_json: bool) -> None:
    """Print a table, or its raw rows as JSON."""
    if as_json:
        click.echo(json.dumps(list(table.raw), indent=1, ensure_ascii=False, default=str))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(
        title=Text(printable(table.title)) if table.title else None, box=box.SIMPLE_HEAD, title_justify="left"
    )
    for place, header in enumerate(table.header):
        text = place < table.left or place == len(table.header) - 1
        drawn.add_column(Text(header), justify="left" if text else "right", overflow="fold", no_wrap=not text)
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 200
    console = Console(file=sys.stdout, width=width, highlight=False)
    console.print(drawn)
    for note in table.notes:
        console.print(Text(printable(note)), style="dim")


json_option = click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
store_option = click.option(
    "--store", type=click.Path(), help="Where records are kept [default: $BENCH_STORE or ./bench-store]."
)
