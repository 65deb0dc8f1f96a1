"""`bench table`."""

from __future__ import annotations

import click

from bench.cli.output import emit, json_option, store_option

EPILOG = """\b
Examples:
  bench table                  everything in the store
  bench table 'glue/*'         some tasks
  bench table glue -m 'lora*'  a suite with its average, some methods
"""


@click.command(epilog=EPILOG)
@click.argument("patterns", nargs=-1, metavar="[TASKS...]")
@click.option("-m", "--methods", help="Methods, with commas and globs.")
@click.option("--all", "everything", is_flag=True, help="Older variants too (code, data or parameters since changed).")
@store_option
@json_option
def command(patterns: tuple[str, ...], methods: str | None, everything: bool, store: str | None, as_json: bool) -> None:
    """Show results: mean over seeds, its 95 % interval from two seeds on, and what it cost."""
    from bench.aggregate import lines
    from bench.api import store_path
    from bench.core.errors import UserError, nearest
    from bench.declarations.catalog import Catalog
    from bench.store import Store
    from bench.tables import results, suites

    catalog = Catalog.find()
    chosen = {name: catalog.suite(name).body["tasks"] for name in patterns if name in catalog.suites()}
    tasks = [task for name in patterns for task in chosen.get(name, [name])] or None
    opened = Store(store_path(store))
    rows = opened.rows(methods=methods.split(",") if methods else None, tasks=tasks)
    if not rows and patterns:
        known = sorted({row["task"] for row in opened.rows()})
        if not any(name in known or name in catalog.tasks() or name in chosen for name in patterns):
            hint = nearest(patterns[0], [*known, *catalog.suites()])
            raise UserError(f"No run in {opened.path} matches {' '.join(patterns)}.{hint}")
    made = lines(rows, everything)
    emit(results(made), as_json)
    for name, members in chosen.items():
        if not as_json:
            emit(suites(name, members, made), as_json)
