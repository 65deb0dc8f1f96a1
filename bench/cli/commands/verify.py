"""`bench verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.output import emit, json_option, offline_option, store_option

EPILOG = """\b
Examples:
  bench verify leaderboards/demo.records.jsonl
"""


@click.command(epilog=EPILOG)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="NAME.records.jsonl")
@offline_option
@store_option
@json_option
def command(path: Path, offline: bool, store: str | None, as_json: bool) -> None:
    """Derive a board's keys again, its scores from per-item evidence, and from predictions where a store has them."""
    from bench.boards.verify import DIFFERS, verify
    from bench.data.access import Access
    from bench.store import Store, store_path
    from bench.tables import Table

    opened = Store(store_path(store))
    found = verify(path, opened, Access.from_environment(offline))
    sound = [one for one in found if one.sound]
    shown = found if as_json else [one for one in found if not one.sound or one.note]
    cells = [
        [
            one.record["key"][:12],
            one.record["method"],
            one.record["task"],
            one.key,
            one.evidence,
            one.predictions,
            one.note,
        ]
        for one in shown
    ]
    raw = [
        {
            "record": one.record["key"],
            "key": one.key,
            "evidence": one.evidence,
            "predictions": one.predictions,
            "note": one.note,
        }
        for one in found
    ]
    again = sum(one.predictions != "none" for one in found)
    items = sum(one.evidence != "none" for one in found)
    notes = [
        f"{len(sound)} of {len(found)} records are sound: keys derived from specs; {items} scores from per-item "
        f"evidence; {again} scores from predictions in {opened.path}."
    ]
    header = ["record", "method", "task", "key", "evidence", "predictions", ""]
    emit(Table(header, cells, raw, "", notes, left=3), as_json)
    sys.exit(1 if any(DIFFERS in (one.key, one.evidence, one.predictions) for one in found) else 0)
