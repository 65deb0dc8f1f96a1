"""`bench cite`."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  bench cite leaderboards/demo.yaml
"""


@click.command(epilog=EPILOG)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="BOARD")
def command(path: Path) -> None:
    """Print what to cite for a board: the board by its records' digest, its methods and its tasks."""
    from bench.boards.cite import citations
    from bench.boards.declare import read_board
    from bench.core.printable import printable

    for line in citations(read_board(path)):
        click.echo(printable(line))
