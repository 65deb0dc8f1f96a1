"""`bench compare`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from bench.cli.output import emit, json_option, offline_option, store_option

EPILOG = """\b
Examples:
  bench compare lora probe                  on every task both were run on
  bench compare lora probe 'glue/*'         on some
  bench compare 'lora (tuned: 20 trials, tpe)' lora
"""


@click.command(epilog=EPILOG)
@click.argument("first")
@click.argument("second")
@click.argument("tasks", nargs=-1, metavar="[TASKS...]")
@offline_option
@store_option
@json_option
def command(first: str, second: str, tasks: tuple[str, ...], offline: bool, store: str | None, as_json: bool) -> None:
    """Compare two methods on the same seeds and test items: difference, interval, p, seeds that would tell."""
    from bench.boards.compare import differences
    from bench.data.access import Access

    records, evidence = evidence_of(tasks, store, Access.from_environment(offline), (first, second))
    found = differences(records, evidence, first, second)
    emit(_table(found, first, second), as_json)


def evidence_of(tasks: tuple[str, ...], store: str | None, access: Any, methods: tuple[str, ...] = ()) -> Any:
    """The records of the chosen tasks in a store (of some methods, as tables call them), with their evidence."""
    from bench.aggregate import names
    from bench.aggregate.tuned import honest
    from bench.api import sealed
    from bench.boards.collect import gather
    from bench.cli.choose import choose
    from bench.core.errors import UserError, nearest
    from bench.store import Store, store_path

    opened = Store(store_path(store))
    searched = sealed(opened)
    rows = [row for row in honest(choose(opened, tasks).rows, searched) if not row.get("post_hoc")]
    there = sorted({names(row["request"])[0] for row in rows})
    for method in methods:
        if method not in there:
            raise UserError(f"No run in {opened.path} is of the method {method!r}.{nearest(method, there)}")
    wanted = [row for row in rows if not methods or names(row["request"])[0] in methods]
    return gather(wanted, searched, opened, access)


def _table(found: Any, first: str, second: str) -> Any:
    from bench.tables import Table

    rows = [
        [
            one.task,
            f"{100 * one.first:.1f}",
            f"{100 * one.second:.1f}",
            f"{100 * one.gap:+.1f}" + (f" ± {100 * one.half:.1f}" if one.half is not None else ""),
            "-" if one.p is None else "< 0.001" if one.p < 0.001 else f"{one.p:.3f}",
            str(one.seeds),
            "-" if one.items is None else f"{one.items:,}",
            _needed(one),
        ]
        for one in found
    ]
    bases = sorted({one.basis for one in found})
    notes = [
        f"Difference: {first} less {second}, in points, on the same seeds; ± is half of its 95 % interval.",
        *(f"Interval and p are about {basis}." for basis in bases),
        "needed: seeds with which a true difference of this size would be found with 80 % power.",
    ]
    header = ["task", first, second, "difference", "p", "seeds", "items", "needed"]
    return Table(header, rows, [asdict(one) for one in found], "", notes, left=1)


def _needed(one: Any) -> str:
    if one.needed is not None:
        return str(one.needed)
    return "-" if one.p is None or not one.gap else "more test items"
