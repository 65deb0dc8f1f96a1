"""`bench status`."""

from __future__ import annotations

from typing import Any

import click

from bench.cli.output import emit, json_option, store_option

STATES = ("done", "running", "queued", "stale", "failed")

EPILOG = """\b
Examples:
  bench status             the whole store
  bench status 'glue/*'    some tasks, or a suite by its name
"""


@click.command(epilog=EPILOG)
@click.argument("patterns", nargs=-1, metavar="[TASKS...]")
@store_option
@json_option
def command(patterns: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Show how many runs are done, running, queued, stale (their process died) and failed."""
    from bench.cli.choose import choose
    from bench.store import Store, store_path
    from bench.tables import Table

    path = store_path(store)
    counts: dict[tuple[str, str], dict[str, int]] = {}
    failures = []
    for row in choose(Store(path), patterns).rows:
        method, task = _names(row["request"])
        line = counts.setdefault((task, method), dict.fromkeys(STATES, 0))
        line[row["state"]] += 1
        if row["state"] == "failed":
            failures.append(
                f"failed {row['key'][:12]} {method} = {task} seed {row['replicate']}: {row.get('error') or ''}"
            )
    rows = [
        [task, method, *(str(line[state] or "") for state in STATES)] for (task, method), line in sorted(counts.items())
    ]
    raw = [{"task": task, "method": method, **line} for (task, method), line in sorted(counts.items())]
    total = {state: sum(line[state] for line in counts.values()) for state in STATES}
    notes = [f"{path}: " + (", ".join(f"{number} {state}" for state, number in total.items() if number) or "no runs")]
    emit(Table(["task", "method", *STATES], rows, raw, "", [*notes, *failures]), as_json)


def _names(request: Any) -> tuple[str, str]:
    """Method and task; the many trials of a search are one line."""
    from bench.aggregate import names

    if not request.get("study"):
        return names(request)
    typed = [one for one in request["overrides"] if one.startswith("task.")]
    method, task = names({**request, "overrides": typed})
    return f"{method} (of a search)", task
