"""`bench store`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.output import emit, json_option, number, store_option
from bench.core.errors import UserError

EPILOG = """\b
Examples:
  bench store du                         where the disk went
  bench store merge /shared/bench-store  bring in what was run elsewhere
  bench store rm 3f9a02 81c4de           remove two runs
  bench store rm --state failed          remove every failed run
"""


@click.group(epilog=EPILOG)
def command() -> None:
    """Merge stores, remove records, show disk use."""


@command.command()
@click.argument("other", type=click.Path(path_type=Path))
@store_option
def merge(other: Path, store: str | None) -> None:
    """Copy finished runs from the store OTHER; a run that is here already stays as it is."""
    from bench.store import Store, store_path

    copied, present = Store.open(store_path(store)).merge(other)
    click.echo(f"{number(copied, 'run')} copied; {present} here already.")


@command.command()
@click.argument("keys", nargs=-1, metavar="[KEYS...]")
@click.option("--state", type=click.Choice(["failed", "queued", "stale"]), help="All runs in this state.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
def rm(keys: tuple[str, ...], state: str | None, yes: bool, store: str | None) -> None:
    """Remove runs by their KEYS (or first digits), or all in a state."""
    from bench.store import Store, store_path

    opened = Store(store_path(store))
    chosen = [opened.find(key) for key in keys]
    chosen += [row["key"] for row in opened.rows() if state and row["state"] == state]
    if not keys and not state:
        raise UserError("bench store rm needs keys, or --state.")
    count = len(set(chosen))
    if chosen and not yes and not _agreed(f"Remove {number(count, 'run')} from {opened.path}?"):
        count, chosen = 0, []
    opened.remove(chosen)
    click.echo(f"{number(count, 'run')} removed.")


def _agreed(question: str) -> bool:
    """Ask the person; UserError where there is none to ask."""
    if not sys.stdin.isatty():
        raise UserError("bench store rm asks before it removes, and the input is no terminal; add --yes.")
    return click.confirm(question)


@command.command()
@store_option
@json_option
def du(store: str | None, as_json: bool) -> None:
    """Show the disk use of each method and task."""
    from bench.store import Store, store_path
    from bench.tables import Table, bytes_

    used = Store(store_path(store)).usage()
    rows = [[row["task"], row["method"], str(row["runs"]), bytes_(row["bytes"])] for row in used]
    total = sum(row["bytes"] for row in used)
    emit(Table(["task", "method", "runs", "disk"], rows, used, "", [f"{bytes_(total)} in all."]), as_json)
