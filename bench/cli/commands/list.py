"""`bench list`."""

from __future__ import annotations

import fnmatch

import click

from bench.cli.output import emit, json_option

KINDS = ("tasks", "methods", "backbones", "suites")


@click.command()
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.argument("pattern", required=False)
@json_option
def command(kind: str | None, pattern: str | None, as_json: bool) -> None:
    """List what is declared: tasks, methods, backbones or suites (all of them by default), by an optional PATTERN."""
    from bench.declarations.catalog import Catalog
    from bench.tables import Table

    catalog = Catalog.find()
    rows, raw = [], []
    for one in [kind] if kind else KINDS:
        for name in getattr(catalog, one)():
            if pattern and not fnmatch.fnmatchcase(name, pattern):
                continue
            found = getattr(catalog, one.removesuffix("s"))(name)
            title = str(found.body.get("title") or "")
            rows.append([one.removesuffix("s"), name, title, found.origin])
            raw.append({"kind": one.removesuffix("s"), "name": name, "title": title, "origin": found.origin})
    notes = [f"{len(rows)} declared."] if not as_json else []
    emit(Table(["kind", "name", "title", "from"], rows, raw, "", notes, left=4), as_json)
