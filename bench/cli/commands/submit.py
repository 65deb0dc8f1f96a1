"""`bench submit`."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.output import emit, number, offline_option, store_option

EPILOG = """\b
Examples:
  bench submit pack leaderboards/demo.yaml mine.zip
  bench submit check theirs.zip
  bench submit join theirs.zip leaderboards/demo.yaml
  bench submit import made.safetensors mine=demo/digits leaderboards/demo.yaml
"""

_BOARD = click.argument("board", type=click.Path(path_type=Path, dir_okay=False))
_PACK = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group(epilog=EPILOG)
def command() -> None:
    """Send a board's records and predictions, check what was received, let it join a board."""


@command.command("pack")
@_BOARD
@_PACK
@store_option
def pack_command(board: Path, file: Path, store: str | None) -> None:
    """Write a board's records, evidence and predictions into one file."""
    from bench.boards.declare import read_board
    from bench.boards.packs import pack
    from bench.store import Store, store_path

    count = pack(read_board(board), Store(store_path(store)), file)
    click.echo(f"{file}: {number(count, 'run')} with predictions.")


@command.command("check")
@_PACK
@offline_option
def check_command(file: Path, offline: bool) -> None:
    """Score the predictions of a pack with the labels that lie here; nothing of it is executed."""
    from bench.boards.packs import check
    from bench.data.access import Access

    _show(check(file, Access.from_environment(offline)))


@command.command("join")
@_PACK
@_BOARD
@offline_option
def join_command(file: Path, board: Path, offline: bool) -> None:
    """Check a pack and add its records to a board, each marked verified or reported."""
    from bench.boards.declare import read_board
    from bench.boards.packs import check, join
    from bench.data.access import Access

    found = check(file, Access.from_environment(offline))
    _show(found)
    added = join(found, read_board(board))
    click.echo(f"{number(added, 'record')} joined; `bench publish {board} --no-run` writes the tables.")


@command.command("import")
@_PACK
@click.argument("pair", metavar="METHOD=TASK")
@_BOARD
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which replicate they are of.")
@click.option("--fold", help="Which held-out domain, where the task has several.")
@offline_option
def import_command(file: Path, pair: str, board: Path, seed: int, fold: str | None, offline: bool) -> None:
    """Score predictions made elsewhere (safetensors: ids, and logits, values or mask) and add them to a board."""
    from bench.boards.declare import read_board
    from bench.boards.imports import imported
    from bench.boards.packs import add
    from bench.core.errors import UserError
    from bench.data.access import Access

    method, equals, task = pair.partition("=")
    if not (method and equals and task):
        raise UserError(f"{pair!r} is no METHOD=TASK.")
    declared = read_board(board)
    record, evidence = imported(file, method, task, seed, fold, Access.from_environment(offline))
    add(declared, [record], evidence)
    scores = ", ".join(f"{name} {value:.6f}" for name, value in record["scores"].items())
    click.echo(f"{method} on {task}, seed {seed}: {scores}; `bench publish {board} --no-run` writes the tables.")


def _show(found: object) -> None:
    from bench.tables import Table

    assert isinstance(found, list)
    rows = [[one.record["key"][:12], one.record["method"], one.record["task"], one.standing, one.note] for one in found]
    verified = sum(one.standing == "verified" for one in found)
    notes = [f"{verified} of {len(found)} verified: their predictions give their scores with the labels that lie here."]
    emit(Table(["record", "method", "task", "standing", ""], rows, [], "", notes, left=4), False)
