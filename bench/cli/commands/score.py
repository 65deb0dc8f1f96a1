"""`bench score`."""

from __future__ import annotations

import click

from bench.cli.output import emit, json_option, offline_option, store_option

EPILOG = """\b
Examples:
  bench score 3f9a02     one run, by the first digits of its key
  bench score --all      every run of the store that was scored
"""


@click.command(epilog=EPILOG)
@click.argument("keys", nargs=-1, metavar="[KEYS...]")
@click.option("--all", "everything", is_flag=True, help="Every run of the store that was scored.")
@offline_option
@store_option
@json_option
def command(keys: tuple[str, ...], everything: bool, offline: bool, store: str | None, as_json: bool) -> None:
    """Score finished runs again from their stored predictions; each scoring is appended to the record and counted."""
    from bench.core.errors import UserError
    from bench.execute.rescore import rescore
    from bench.execute.session import access_for
    from bench.store import Store, store_path
    from bench.tables import Table

    if not keys and not everything:
        raise UserError("bench score needs keys, or --all.")
    opened, access = Store(store_path(store)), access_for(offline)
    known = {row["key"]: row["scores"] for row in opened.rows() if row["state"] == "done"}
    wanted = [key for key, scores in known.items() if scores] if everything else [opened.find(key) for key in keys]
    rows, raw = [], []
    for key in wanted:
        before = known.get(key) or {}
        event = rescore(opened, key, access)
        for name, value in event["values"].items():
            same = "" if name not in before else "same" if before[name] == value else f"was {before[name]:.6f}"
            rows.append([key[:12], name, f"{value:.6f}", str(event["count"]), same])
            raw.append(
                {"key": key, "metric": name, "value": value, "count": event["count"], "before": before.get(name)}
            )
    emit(Table(["key", "metric", "value", "times scored", ""], rows, raw), as_json)
