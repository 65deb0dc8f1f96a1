"""`bench list`."""

from __future__ import annotations

import click

from bench.cli.output import emit, json_option
from bench.core.patterns import matches

KINDS = ("tasks", "methods", "backbones", "suites")


EPILOG = """\b
Examples:
  bench list                  everything
  bench list methods          one kind
  bench list tasks 'glue/*'   by a pattern
"""


@click.command(epilog=EPILOG)
@click.argument("kind", type=click.Choice(KINDS), required=False, metavar="[KIND]")
@click.argument("pattern", required=False, metavar="[PATTERN]")
@json_option
def command(kind: str | None, pattern: str | None, as_json: bool) -> None:
    """List what is declared. KIND is tasks, methods, backbones or suites; without it, all are listed."""
    from bench.declarations.catalog import Catalog
    from bench.tables import Table

    catalog = Catalog.find()
    rows, raw = [], []
    for one in [kind] if kind else KINDS:
        for name in getattr(catalog, one)():
            if pattern and not matches(name, pattern):
                continue
            found = getattr(catalog, one.removesuffix("s"))(name)
            title = str(found.body.get("title") or "")
            rows.append([one.removesuffix("s"), name, title, found.origin])
            raw.append({"kind": one.removesuffix("s"), "name": name, "title": title, "origin": found.origin})
    emit(Table(["kind", "name", "title", "from"], rows, raw, "", [f"{len(rows)} declared."], left=4), as_json)
