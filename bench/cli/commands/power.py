"""`bench power`."""

from __future__ import annotations

import click

from bench.cli.output import emit, json_option, offline_option, store_option

EPILOG = """\b
Examples:
  bench power demo/digits --detect 1.0    to find a difference of one point
"""


@click.command(epilog=EPILOG)
@click.argument("tasks", nargs=-1, required=True)
@click.option("--detect", type=float, default=1.0, show_default=True, help="The difference to be found, in points.")
@offline_option
@store_option
@json_option
def command(tasks: tuple[str, ...], detect: float, offline: bool, store: str | None, as_json: bool) -> None:
    """Say how many seeds find a difference, from how methods in the store vary; before any is spent."""
    from bench.boards.compare import MOST_SEEDS, power
    from bench.cli.commands.compare import evidence_of
    from bench.core.errors import UserError
    from bench.data.access import Access
    from bench.tables import Table

    if not detect > 0:
        raise UserError(f"--detect is {detect:g}; expected more than 0 points.")
    records, evidence = evidence_of(tasks, store, Access.from_environment(offline))
    raw = []
    for task in sorted({record["task"] for record in records}):
        seeds, pairs = power(records, evidence, task, detect / 100)
        raw.append({"task": task, "detect": detect, "seeds": seeds, "pairs": pairs})
    rows = [
        [str(one["task"]), f"{detect:g}", str(one["seeds"] or f"over {MOST_SEEDS}: more test items"), str(one["pairs"])]
        for one in raw
    ]
    notes = ["Seeds for 80 % power at 5 %: the median over pairs of methods that were run on the same seeds."]
    emit(Table(["task", "points", "seeds", "pairs"], rows, raw, "", notes, left=1), as_json)
