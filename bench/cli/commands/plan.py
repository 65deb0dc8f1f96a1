"""`bench plan`."""

from __future__ import annotations

from typing import Any

import click

from bench.cli.commands.run import fold_list, planning_options, seed_list
from bench.cli.output import emit, number

EPILOG = """\b
Examples:
  bench plan 'lora,full=glue/*' --seeds 3
  bench plan lora=demo/digits --json
"""


@click.command(epilog=EPILOG)
@planning_options
def command(
    arguments: tuple[str, ...],
    seeds: str,
    folds: str | None,
    precision: str,
    twin: bool,
    offline: bool,
    store: str | None,
    as_json: bool,
) -> None:
    """Show the runs that METHODS=TASKS means, which are done, and what the others would cost."""
    from bench.data.access import Access
    from bench.plan.estimate import downloads, estimate
    from bench.plan.grid import plan
    from bench.store import Store, store_path

    access = Access.from_environment(offline)
    runs = plan(
        arguments, seeds=seed_list(seeds), precision=precision, twin=twin, folds=fold_list(folds), access=access
    )
    opened = Store(store_path(store))
    methods = sorted({str(run.request["method"]) for run in runs})
    rows = opened.rows(methods=methods)
    planned = [(run, opened.state(run.key), estimate(run, rows, access)) for run in runs]
    left = [run for run, state, _ in planned if state != "done"]
    emit(_table(planned, *downloads(left, access), offline=access.offline), as_json)


def _table(planned: list[Any], fetched: int, unknown: list[str], offline: bool) -> Any:
    from bench.aggregate import names
    from bench.tables import Table, bytes_, seconds

    rows, raw = [], []
    folded = any(run.fold for run, _, _ in planned)
    for run, state, cost in planned:
        method, task = names(run.request)
        spent = seconds(cost.seconds) if cost.seconds is not None else "?"
        disk = bytes_(cost.disk_bytes) if cost.disk_bytes is not None else "?"
        done = state == "done"
        fold = [run.fold or ""] if folded else []
        left_to_do = ["", "", ""] if done else [spent, disk, cost.basis]
        rows.append([task, method, *fold, str(run.replicate), run.key[:12], state, *left_to_do])
        raw.append(
            {
                "task": task,
                "method": method,
                "fold": run.fold,
                "replicate": run.replicate,
                "key": run.key,
                "state": state,
                "seconds": cost.seconds,
                "disk_bytes": cost.disk_bytes,
                "basis": cost.basis,
            }
        )
    left = [cost for _, state, cost in planned if state != "done"]
    notes = [f"{number(len(planned), 'run')}, {len(planned) - len(left)} done; {_total(left, fetched)}"]
    if unknown:
        notes.append(f"Downloads of unknown size: {', '.join(unknown)}.")
    if offline and (unknown or fetched):
        notes.append("The network is forbidden: `bench run` would refuse what is still to be downloaded.")
    if any(cost.basis == "guessed" and cost.seconds is not None for cost in left):
        notes.append(
            "guessed: from the backbone's size and a small machine's speed; measured: from runs in this store."
        )
    fold = ["held out"] if folded else []
    return Table(
        ["task", "method", *fold, "seed", "key", "state", "time", "disk", "basis"],
        rows,
        raw,
        "",
        notes,
        left=2 + len(fold),
    )


def _total(left: list[Any], fetched: int) -> str:
    """What the runs that are not done come to, in words."""
    from bench.tables import bytes_, seconds

    if not left:
        return "nothing to do."
    times = [cost.seconds for cost in left if cost.seconds is not None]
    disks = [cost.disk_bytes for cost in left if cost.disk_bytes is not None]
    unknown = len(left) - len(times)
    long = ([f"about {seconds(sum(times))}"] if times else []) + ([f"{unknown} of unknown length"] if unknown else [])
    disk = [f"{bytes_(sum(disks))} of disk"] if disks else []
    return f"{len(left)} to do: {', '.join([' and '.join(long), *disk, f'{bytes_(fetched)} to download'])}."
