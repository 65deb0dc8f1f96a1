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
@click.option("--resample", is_flag=True, help="Show a permutation test and a bootstrap interval beside them.")
@offline_option
@store_option
@json_option
def command(
    first: str,
    second: str,
    tasks: tuple[str, ...],
    resample: bool,
    offline: bool,
    store: str | None,
    as_json: bool,
) -> None:
    """Compare two methods on the same seeds and test items: difference, interval, p, seeds that would tell."""
    from bench.boards.compare import differences
    from bench.data.access import Access

    records, evidence = evidence_of(tasks, store, Access.from_environment(offline), (first, second))
    found = differences(records, evidence, first, second)
    emit(_table(found, first, second, resample), as_json)


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


def _p(value: float | None) -> str:
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _table(found: Any, first: str, second: str, more: bool) -> Any:
    from bench.tables import Table

    rows = [
        [
            one.task,
            f"{100 * one.first:.1f}",
            f"{100 * one.second:.1f}",
            f"{100 * one.gap:+.1f}" + (f" ± {100 * one.half:.1f}" if one.half is not None else ""),
            _p(one.p),
            *([_p(one.permutation), "-" if one.bootstrap is None else f"± {100 * one.bootstrap:.1f}"] if more else []),
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
    if more:
        notes.append(
            "permutation: p of sign flips over test items, of these seeds (over seeds where no items are known); "
            "bootstrap: half of the two-way percentile interval."
        )
    resampled = ["permutation", "bootstrap"] if more else []
    header = ["task", first, second, "difference", "p", *resampled, "seeds", "items", "needed"]
    return Table(header, rows, [asdict(one) for one in found], "", notes, left=1)


def _needed(one: Any) -> str:
    if one.needed is not None:
        return str(one.needed)
    return "-" if one.p is None or not one.gap else "more test items"
