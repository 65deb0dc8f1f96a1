"""`bench data`."""

from __future__ import annotations

import sys
import threading
from typing import Any

import click

from bench.cli.complete import complete_name
from bench.cli.output import emit, json_option, offline_option
from bench.core.errors import Interrupted, UserError, nearest

EPILOG = """\b
Examples:
  bench data prepare dg/pacs                      fetch, verify, decode, cache
  bench data prepare 'medseg/*' task.image.size=128
  bench data prepare glue/rte --twin              its synthetic twin
"""


@click.group(epilog=EPILOG)
def command() -> None:
    """The data of tasks: fetched, verified and cached before anything is run."""


@command.command("prepare", epilog=EPILOG)
@click.argument("arguments", nargs=-1, required=True, metavar="TASKS... [KEY=VALUE...]", shell_complete=complete_name)
@click.option("--twin", is_flag=True, help="The tiny synthetic data instead.")
@offline_option
@json_option
def prepare_command(arguments: tuple[str, ...], twin: bool, offline: bool, as_json: bool) -> None:
    """Fetch, verify and cache the data of TASKS; what is there already is kept, what was broken off goes on."""
    from bench.cli.progress import Shown
    from bench.declarations.catalog import Catalog
    from bench.execute.session import access_for, stops

    access, catalog = access_for(offline), Catalog.find()
    overrides = [one for one in arguments if "=" in one]
    tasks = chosen_tasks([one for one in arguments if "=" not in one], catalog)
    rows, raw, mistakes, stop = [], [], [], threading.Event()
    with Shown(len(tasks)) as shown, stops(stop):
        for task in tasks:
            if stop.is_set():
                raise Interrupted
            try:
                found = _prepare(task, overrides, twin, access, catalog, shown, stop)
            except UserError as error:
                mistakes.append(str(error))
                found = {"task": task, "error": str(error), "rows": {}, "bytes": None}
            shown.settled()
            raw.append(found)
            rows.append(_row(found))
    from bench.tables import Table

    notes = [f"Kept in {access.cache}.", *dict.fromkeys(mistakes)]
    emit(Table(["task", "rows", "on disk", ""], rows, raw, "", notes, left=2), as_json)
    if mistakes:
        sys.exit(2)


def chosen_tasks(patterns: Any, catalog: Any) -> list[str]:
    """Tasks by name, glob, suite or family, in order; UserError for a pattern that means none."""
    from bench.core.patterns import matches

    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern in catalog.suites():
            names = list(catalog.suite(pattern).body["tasks"])
        else:
            names = [name for name in catalog.tasks() if matches(name, pattern) or name.startswith(f"{pattern}/")]
        if not names:
            known = [*catalog.tasks(), *catalog.suites()]
            raise UserError(f"No declared task matches {pattern!r}.{nearest(pattern, known)}")
        found.update(dict.fromkeys(names))
    if not found:
        raise UserError("No task is named; give one, such as demo/digits.")
    return list(found)


def _prepare(task: str, overrides: Any, twin: bool, access: Any, catalog: Any, shown: Any, stop: Any) -> dict[str, Any]:
    from bench.data.prepare import Reading, prepare
    from bench.plan.grid import task_data

    shown.phase(f"reading {task}")

    def step(done: int, total: int) -> None:
        if stop.is_set():
            raise Interrupted
        shown.phase(f"preparing {task}: {done:,} of {total:,} rows")

    reading = Reading(access)
    wanted = task_data(catalog, task, overrides, twin, access)
    prepared = [prepare(one, access, step, reading) for one in wanted]
    first = prepared[0]
    sizes = {name: len(part) for name, part in first.pool(0).items()} | {part.name: len(part) for part in first.tests()}
    used = sum(file.stat().st_size for file in first.inputs.rglob("*") if file.is_file())
    return {"task": task, "rows": sizes, "folds": len(prepared), "bytes": used, "missing": first.meta["missing"]}


def _row(found: dict[str, Any]) -> list[str]:
    from bench.tables import bytes_

    if found.get("error"):
        return [found["task"], "", "", "not prepared"]
    sizes = ", ".join(f"{name} {count:,}" for name, count in found["rows"].items())
    remarks = [f"{found['folds']} folds, the first shown"] if found["folds"] > 1 else []
    remarks += [f"the mirror lacks {', '.join(found['missing'])}"] if found["missing"] else []
    return [found["task"], sizes, bytes_(found["bytes"]), ", ".join(remarks)]
