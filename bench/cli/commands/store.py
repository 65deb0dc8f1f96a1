"""`bench store`."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.output import emit, json_option, store_option
from bench.core.errors import UserError


@click.group()
def command() -> None:
    """Merge stores, remove records, show disk use."""


@command.command()
@click.argument("other", type=click.Path(path_type=Path))
@store_option
def merge(other: Path, store: str | None) -> None:
    """Copy the finished runs of the store OTHER into this one; a run that is here already stays as it is."""
    from bench.api import store_path
    from bench.store import Store

    copied, present = Store.open(store_path(store)).merge(other)
    click.echo(f"{copied} runs copied, {present} were here already.")


@command.command()
@click.argument("keys", nargs=-1, metavar="[KEYS...]")
@click.option("--state", type=click.Choice(["failed", "queued", "stale"]), help="All runs in this state.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
def rm(keys: tuple[str, ...], state: str | None, yes: bool, store: str | None) -> None:
    """Remove runs by KEY (or its first digits), or all in a state."""
    from bench.api import store_path
    from bench.store import Store

    opened = Store(store_path(store))
    chosen = [opened.find(key) for key in keys]
    chosen += [row["key"] for row in opened.rows() if state and row["state"] == state]
    if not chosen and not state:
        raise UserError("bench store rm needs keys, or --state.")
    if chosen and not yes:
        click.confirm(f"Remove {len(chosen)} runs from {opened.path}?", abort=True)
    opened.remove(chosen)
    click.echo(f"{len(chosen)} runs removed.")


@command.command()
@store_option
@json_option
def du(store: str | None, as_json: bool) -> None:
    """Show the disk use of each method and task."""
    from bench.api import store_path
    from bench.store import Store
    from bench.tables import Table, bytes_

    used = Store(store_path(store)).usage()
    rows = [[row["task"], row["method"], str(row["runs"]), bytes_(row["bytes"])] for row in used]
    total = sum(row["bytes"] for row in used)
    emit(Table(["task", "method", "runs", "disk"], rows, used, "", [f"{bytes_(total)} in all."]), as_json)
