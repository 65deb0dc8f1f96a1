"""`bench show`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from bench.cli.complete import complete_name
from bench.cli.output import emit_json, json_option, store_option
from bench.core.errors import UserError, nearest
from bench.core.printable import printable

KINDS = ("task", "method", "backbone", "suite")


EPILOG = """\b
Examples:
  bench show lora        a method, a task, a backbone or a suite as declared
  bench show 3f9a02      the record of a run, or the traceback of a failed one
"""


@click.command(epilog=EPILOG)
@click.argument("name", shell_complete=complete_name)
@store_option
@json_option
def command(name: str, store: str | None, as_json: bool) -> None:
    """Show NAME whole: a task, method, backbone or suite as declared, or the record of a KEY (or its first digits)."""
    found = _declared(name)
    if found is None and re.fullmatch(r"[0-9a-f]{6,64}", name):
        _record(name, store, as_json)
        return
    if found is None:
        raise UserError(_unknown(name))
    kind, declaration = found
    lines = _card(kind, declaration)
    if as_json:
        known = {"kind": kind, "name": name, "file": str(declaration.path), "from": declaration.origin}
        emit_json({**known, **({"card": lines} if lines else {}), "body": declaration.body})
        return
    click.echo(printable(f"{kind} {name}"))
    click.echo(printable(f"declared in {_short(declaration.path)} ({declaration.origin})"))
    click.echo()
    if lines:
        from bench.cli.card import drawn

        click.echo(drawn(lines))
        click.echo()
    said = ("title", "description", "citation", "licence", "homepage", "obtain") if lines else ()
    click.echo(_yaml({key: value for key, value in declaration.body.items() if key not in said}))


def _card(kind: str, declaration: Any) -> dict[str, str]:
    """A task's data card."""
    if kind != "task":
        return {}
    from bench.cli.card import card
    from bench.declarations.catalog import Catalog

    return card(declaration, Catalog.find())


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
    from bench.store import Store, store_path

    opened = Store(store_path(store))
    key = opened.find(name)
    state = opened.state(key)
    record = opened.record(key) or {"spec": opened.spec(key), "request": opened.request(key)}
    if as_json:
        emit_json({"state": state, **record, **({"error": opened.error(key)} if state == "failed" else {})})
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
