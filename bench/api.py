"""The same words in Python: `bench.run("lora=glue/rte", seeds=3)`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.data.access import Access
from bench.plan.grid import again, wanted_data
from bench.plan.grid import plan as plan_runs
from bench.plan.run import Run
from bench.store import Store, store_path

if TYPE_CHECKING:
    from bench.execute.grid import Outcome
    from bench.execute.progress import Progress
    from bench.tables import Table


class Records(Sequence[dict[str, Any]]):
    """Rows of finished (and failed) runs; in a notebook they show as a table."""

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        return self._rows[place]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)

    def table(self) -> Table:
        """The table of results these rows make."""
        from bench.aggregate import lines
        from bench.tables import results

        return results(lines(self._rows))

    def __repr__(self) -> str:
        table = self.table()
        rows = [table.header, *table.rows]
        widths = [max(len(row[place]) for row in rows) for place in range(len(table.header))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)

    def _repr_html_(self) -> str:
        from html import escape

        table = self.table()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def plan(
    *arguments: str,
    seeds: int | Iterable[int] = 1,
    precision: str = "32",
    twin: bool = False,
    folds: Sequence[str] | None = None,
    offline: bool = False,
) -> list[Run]:
    """The runs that arguments mean, with their keys; nothing is executed."""
    access = Access.from_environment(offline)
    return plan_runs(arguments, seeds=_seeds(seeds), precision=precision, twin=twin, folds=folds, access=access)


def run(
    *arguments: str,
    seeds: int | Iterable[int] = 1,
    store: str | Path | None = None,
    precision: str = "32",
    twin: bool = False,
    folds: Sequence[str] | None = None,
    offline: bool = False,
    retry: bool = False,
    device: str = "auto",
    workers: int = 0,
    threads: int | None = None,
    micro_batch: int | None = None,
    log: Sequence[str] = ("csv",),
) -> Records:
    """Carry out what is not done yet and give the rows of all runs asked for.

    Raises UserError for a mistake in the request; a method's own failure is a row with `state` "failed".
    """
    from bench.execute.options import Options, check

    options = Options(device=device, workers=workers, threads=threads, micro_batch=micro_batch, log=tuple(log))
    check(options)
    access = Access.from_environment(offline)
    runs = plan_runs(arguments, seeds=_seeds(seeds), precision=precision, twin=twin, folds=folds, access=access)
    opened = Store.open(store_path(store))
    outcome = carry_out(runs, opened, access, options, retry=retry)
    if outcome.refused:
        raise UserError(next(iter(outcome.refused.values())))
    return rows_of(opened, runs)


def carry_out(
    runs: Sequence[Run],
    store: Store,
    access: Access,
    options: Any,
    progress: Progress | None = None,
    retry: bool = False,
) -> Outcome:
    """Execute the runs that are not done; torch is imported only when there is one."""
    from bench.execute.grid import run_all
    from bench.execute.progress import Silent

    return run_all(runs, store, access, options, progress or Silent(), retry)


def rows_of(store: Store, runs: Sequence[Run]) -> Records:
    """The rows of these runs, in their order."""
    keys = {run.key: place for place, run in enumerate(runs)}
    methods = sorted({str(run.request["method"]) for run in runs})
    rows = [row for row in store.rows(methods=methods) if row["key"] in keys]
    return Records(sorted(rows, key=lambda row: keys[row["key"]]))


def rescore(store: Store, key: str, access: Access) -> dict[str, Any]:
    """Join a record's stored predictions with the test labels again; the event is appended and counted."""
    from bench.data.prepare import prepare
    from bench.declarations.catalog import Catalog
    from bench.problems import problem_of
    from bench.score import score

    record, folder = store.record(key), store.folder(key)
    if record is None or folder is None:
        raise UserError(f"{key[:12]} is {store.state(key)}; only a finished run can be scored.")
    task, data = record["spec"]["task"], record["data"]["digest"]
    problem = problem_of(task)
    parts = [part for part in record["data"]["rows"] if part.startswith(("test", "target-val"))]
    if not (access.cache / "sealed" / data / "meta.json").exists():
        run = again(record["request"], Catalog.find(), access)
        if run.data != data:
            raise UserError(f"The data of {key[:12]} are not in the cache, and the task's data changed since.")
        prepare(wanted_data(run), access)
    event = score(folder, task, data, parts, problem, access)
    count = store.append_score(key, event)
    return {**event, "count": count}


def pictures(store: Store, run: Run, access: Access, count: int = 8) -> list[Path]:
    """Overlays of truth and prediction for some test rows of a finished segmentation run, in its folder.

    Like scoring it opens the sealed labels, after the selection. UserError for runs that predict no masks.
    """
    from bench.data.prepare import prepare, unseal
    from bench.predictions import load
    from bench.problems import problem_of
    from bench.score.pictures import write_pictures
    from bench.select import read

    problem, folder = problem_of(run.task), store.folder(run.key)
    if problem.saves != "mask":
        raise UserError(f"--picture is for segmentation; {run.task['name']} is {run.task['problem']}.")
    if folder is None:
        return []
    made, chosen = [], str(read(folder)["candidate"])
    for part in prepare(wanted_data(run), access).tests():
        ids, labels, _ = unseal(run.data, part.name, access)
        masks = load(folder, chosen, part.name)["mask"]
        target = folder / "pictures" / part.name
        made += write_pictures(part.inputs, ids, labels, masks, problem.classes() or 2, target, count)
    return made


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)
