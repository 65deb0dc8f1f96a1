"""`bench reproduce`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bench.cli.output import emit, json_option, offline_option, store_option

EPILOG = """\b
Examples:
  bench reproduce 3f9a02           a run of the store
  bench reproduce 3f9a02 --records leaderboards/demo.records.jsonl
"""


@click.command(epilog=EPILOG)
@click.argument("key")
@click.option("--records", type=click.Path(path_type=Path, dir_okay=False), help="A board's records, not the store.")
@click.option("--anyway", is_flag=True, help="Also where the method, data or code have changed since.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--threads", type=int, help="Torch's threads; bitwise equality needs equal numbers.")
@offline_option
@store_option
@json_option
def command(
    key: str,
    records: Path | None,
    anyway: bool,
    device: str,
    threads: int | None,
    offline: bool,
    store: str | None,
    as_json: bool,
) -> None:
    """Run one record again, from what it says of itself, and tell by how much the result differs."""
    from bench.boards.reproduce import reproduce
    from bench.cli.progress import Shown
    from bench.execute.session import access_for, options_for, stops
    from bench.tables import Table

    options = options_for(device, threads=threads, log=["none"])
    record = _record(key, records, store)
    with stops(options.stop), Shown(1) as shown:
        found = reproduce(record, access_for(offline), options, shown, anyway)
    rows, raw = [], []
    for name, value in found.recorded.items():
        now = found.found.get(name)
        gap = None if now is None else now - value
        rows.append([name, f"{value:.6f}", "-" if now is None else f"{now:.6f}", "-" if gap is None else f"{gap:+.2e}"])
        raw.append({"metric": name, "recorded": value, "found": now, "difference": gap})
    same = all(one["difference"] == 0 for one in raw)
    notes = ["The same to the last bit." if same else f"Recorded as: {record['provenance'].get('determinism')}."]
    if found.changed:
        notes.append(f"Changed since: {', '.join(found.changed)}.")
    emit(Table(["metric", "recorded", "found", "difference"], rows, raw, "", notes, left=1), as_json)
    sys.exit(0 if same else 1)


def _record(key: str, records: Path | None, store: str | None) -> Any:
    from bench.boards.collect import record_of
    from bench.boards.records import read_records
    from bench.core.errors import UserError
    from bench.store import Store, store_path

    if records is None:
        opened = Store(store_path(store))
        whole = opened.find(key)
        (row,) = [row for row in opened.rows() if row["key"] == whole]
        if row["state"] != "done":
            raise UserError(f"{whole[:12]} is {row['state']}; only a finished run can be compared with.")
        return record_of(row, opened)
    found = [one for one in read_records(records).records if one["key"].startswith(key) and one["state"] == "done"]
    if len(found) != 1:
        raise UserError(f"{len(found) or 'No'} records in {records} have a key that begins with {key!r}.")
    return found[0]
