"""`bench table`."""

from __future__ import annotations

import click

from bench.cli.output import emit, emit_json, json_option, store_option

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
    from bench.aggregate.tuned import honest
    from bench.api import sealed
    from bench.cli.choose import choose
    from bench.store import Store, store_path
    from bench.tables import results, suites

    opened = Store(store_path(store))
    chosen = choose(opened, patterns, methods)
    rows = honest(chosen.rows, sealed(opened))
    made = lines(rows, everything)
    newest = lines(rows)  # a suite has one value, whatever else is shown
    tables = [results(made), *(suites(name, members, newest) for name, members in chosen.suites.items())]
    if as_json:
        emit_json([row for table in tables for row in table.raw])
    elif not made:
        click.echo(f"No runs in {opened.path} yet; `bench run METHODS=TASKS` makes some.")
    else:
        for table in tables:
            emit(table, as_json)
