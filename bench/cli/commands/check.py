"""`bench check`."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import Any

import click

from bench.cli.complete import complete_name
from bench.cli.output import emit, json_option
from bench.core.errors import Interrupted, UserError, first_line

EPILOG = """\b
Examples:
  bench check tasks              every declared task on its twin
  bench check 'dg/*' glue        some of them
"""


@dataclass
class Checked:
    """What came of one task."""

    task: str
    method: str = ""
    score: float | None = None
    metrics: int = 0
    data: str = ""
    error: str = ""


@click.command(epilog=EPILOG)
@click.argument("patterns", nargs=-1, required=True, metavar="tasks | TASKS...", shell_complete=complete_name)
@click.option("-m", "--method", help="Another method than the usual one of each problem.")
@json_option
def command(patterns: tuple[str, ...], method: str | None, as_json: bool) -> None:
    """Try TASKS (or all) on their twins: declaration, data, two batches through a method, metrics. No network.

    The column `data` says what the real data would rest on: a pinned revision or checksum, a mirror, code; or what is
    still missing.
    """
    from bench.cli.commands.data import chosen_tasks
    from bench.cli.progress import Shown
    from bench.data.access import Access
    from bench.declarations.catalog import Catalog
    from bench.execute.session import forbid_network, stops

    forbid_network()
    access, catalog, stop = Access.from_environment(offline=True), Catalog.find(), threading.Event()
    names = catalog.tasks() if patterns == ("tasks",) else chosen_tasks(patterns, catalog)
    for part in (method or "").split("+") if method else ():
        catalog.method(part)  # a slip of the finger is said before torch is loaded
    found: list[Checked] = []
    with Shown(len(names)) as shown, stops(stop):
        shown.phase("loading torch and lightning")
        for name in names:
            if stop.is_set():
                raise Interrupted
            shown.phase(f"checking {name}")
            found.append(_check(name, method, catalog, access, stop))
            shown.settled()
    _report(found, as_json)


def _check(name: str, method: str | None, catalog: Any, access: Any, stop: threading.Event) -> Checked:
    """Two steps of a run on the twin, in a folder that is thrown away."""
    import tempfile
    from pathlib import Path

    from bench.execute.engine import execute
    from bench.execute.options import Options
    from bench.execute.progress import Silent
    from bench.metrics import metric_names, reported_names
    from bench.plan.grid import plan
    from bench.problems import usual_method
    from bench.store import scores

    checked = Checked(name)
    try:
        checked.data = _resting_on(name, catalog, access)
        body = catalog.task(name).body
        checked.method = method or usual_method(str(body.get("problem")))
        run = plan([f"{checked.method}={name}"], twin=True, catalog=catalog, access=access)[0]
        with tempfile.TemporaryDirectory() as folder:
            execute(run, Path(folder), None, access, Options("cpu", log=("none",), debug=True, stop=stop), Silent())
            values = scores.latest(Path(folder))["values"]
        wanted = [*metric_names(run.task), *reported_names(run.task)]
        absent = [one for one in wanted if not any(key.rpartition("/")[2] == one for key in values)]
        if absent:
            raise UserError(f"the metric {absent[0]} gave no value")
        checked.score, checked.metrics = values["score"], len(wanted)
    except (Interrupted, KeyboardInterrupt):
        raise
    except Exception as error:
        checked.error = first_line(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return checked


def _resting_on(name: str, catalog: Any, access: Any) -> str:
    """What a run on the real data would name as its data, without fetching any."""
    from bench.plan.grid import task_data

    try:
        task_data(catalog, name, (), False, access)
    except UserError as error:
        return f"not pinned: {error}" if "missing" in str(error) else f"not here: {error}"
    source = catalog.task(name).body["source"]
    return next(kind for kind in ("hub", "url", "folder", "sklearn", "generator") if source.get(kind))


def _report(found: list[Checked], as_json: bool) -> None:
    from bench.tables import Table

    failed = [one for one in found if one.error]
    families = {one.task.partition("/")[0] for one in found}
    rows = [
        [
            one.task,
            one.method,
            "-" if one.score is None else f"{100 * one.score:.1f}",
            one.data.partition(":")[0],
            one.error or "passed",
        ]
        for one in found
    ]
    notes = [f"{len(found) - len(failed)} of {len(found)} tasks in {len(families)} families passed."]
    loose = sum(one.data.startswith("not pinned") for one in found)
    if loose:
        notes.append(f"{loose} name data whose revision or checksum is not declared: only their twins can be run yet.")
    table = Table(["task", "method", "twin's score", "data", ""], rows, [vars(one) for one in found], "", notes, left=2)
    emit(table, as_json)
    if failed:
        sys.exit(1)
