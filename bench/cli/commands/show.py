"""`bench show`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from bench.cli.complete import complete_name
from bench.cli.output import store_option
from bench.core.errors import UserError, nearest
from bench.core.printable import printable

KINDS = ("task", "method", "backbone", "suite")


@click.command()
@click.argument("name", shell_complete=complete_name)
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(name: str, store: str | None, as_json: bool) -> None:
    """Show NAME whole: a task, method, backbone or suite as declared, or the record of a KEY (or its first digits)."""
    found = _declared(name)
    if found is None and re.fullmatch(r"[0-9a-f]{6,64}", name):
        _record(name, store, as_json)
        return
    if found is None:
        raise UserError(_unknown(name))
    kind, declaration = found
    if as_json:
        click.echo(
            json.dumps({"kind": kind, "name": name, "file": str(declaration.path), **declaration.body}, indent=1)
        )
        return
    click.echo(printable(f"{kind} {name}"))
    click.echo(printable(f"declared in {_short(declaration.path)} ({declaration.origin})"))
    click.echo()
    click.echo(_yaml(declaration.body))


def _declared(name: str) -> tuple[str, Any] | None:
    from bench.declarations.catalog import Catalog

    catalog = Catalog.find()
    for kind in KINDS:
        if name in getattr(catalog, f"{kind}s")():
            return kind, getattr(catalog, kind)(name)
    return None


def _unknown(name: str) -> str:
    from bench.declarations.catalog import Catalog

    catalog = Catalog.find()
    names = [one for kind in KINDS for one in getattr(catalog, f"{kind}s")()]
    return f"Nothing is declared as {name!r}.{nearest(name, names)} See `bench list`."


def _record(name: str, store: str | None, as_json: bool) -> None:
    from bench.api import store_path
    from bench.store import Store

    opened = Store(store_path(store))
    key = opened.find(name)
    state = opened.state(key)
    record = opened.record(key) or {"spec": opened.spec(key), "request": opened.request(key)}
    if as_json:
        click.echo(json.dumps({"state": state, **record}, indent=1, sort_keys=True))
        return
    click.echo(printable(f"run {key} ({state})"))
    folder = opened.folder(key)
    if folder is not None:
        click.echo(printable(f"kept in {_short(folder)}"))
    click.echo()
    click.echo(_yaml({key: value for key, value in record.items() if key not in ("key", "history")}))
    if state == "failed":
        click.echo(printable(opened.error(key) or "", newlines=True))


def _yaml(body: Any) -> str:
    import yaml

    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return printable(text, newlines=True)


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
