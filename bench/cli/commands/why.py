"""`bench why`."""

from __future__ import annotations

import json
from typing import Any

import click

from bench.cli.output import emit, json_option, number, offline_option, store_option

EPILOG = """\b
Examples:
  bench why 3f9a02           which input has changed since the run was made
  bench why 3f9a02 81c4de    which input makes two runs differ
"""


@click.command(epilog=EPILOG)
@click.argument("key")
@click.argument("other", required=False)
@offline_option
@store_option
@json_option
def command(key: str, other: str | None, offline: bool, store: str | None, as_json: bool) -> None:
    """Say what changed: between the run KEY as recorded and as it would be today, or between two recorded runs."""
    from bench.plan.run import label
    from bench.plan.why import differences
    from bench.store import Store, store_path
    from bench.tables import Table

    opened = Store(store_path(store))
    first = opened.find(key)
    request = opened.request(first)
    names = ("recorded", "today") if other is None else (first[:12], opened.find(other)[:12])
    now = _today(request, offline) if other is None else opened.spec(opened.find(other))
    found = differences(opened.spec(first), now)
    rows = [[name, _short(before), _short(after)] for name, before, after in found]
    raw = [{"input": name, names[0]: before, names[1]: after} for name, before, after in found]
    note = f"{number(len(found), 'input')} changed." if found else "No input differs: the key is the same."
    title = f"{first[:12]}  {label(request)}"
    emit(Table(["input", *names], rows, raw, title, [note], left=3), as_json)


def _today(request: dict[str, Any], offline: bool) -> dict[str, Any]:
    from bench.data.access import Access
    from bench.declarations.catalog import Catalog
    from bench.plan.grid import again

    return dict(again(request, Catalog.find(), Access.from_environment(offline)).spec)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:12]}..." if len(text) == 64 and set(text) <= set("0123456789abcdef") else text
