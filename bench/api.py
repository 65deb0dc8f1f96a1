"""The same words in Python: `bench.run("lora=glue/rte", seeds=3)`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.data.access import Access
from bench.plan.grid import plan as plan_runs
from bench.plan.grid import wanted_data
from bench.plan.run import Run
from bench.store import Store, store_path

if TYPE_CHECKING:
    from bench.aggregate.tuned import Sealed
    from bench.execute.grid import Outcome
    from bench.execute.options import Options
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
    debug: bool = False,
) -> Records:
    """Carry out what is not done yet and give the rows of all runs asked for.

    Raises UserError for a mistake in the request; a method's own failure is a row with `state` "failed". Interrupted
    (Ctrl-C, the stop button of a notebook, SIGTERM), it ends after the step with a checkpoint and raises
    KeyboardInterrupt or SystemExit; the same call goes on from there. With `debug` two steps of each run are made,
    nothing is recorded and a method's exception is raised as it is.
    """
    from bench.execute.session import access_for, options_for

    options = options_for(device, workers, threads, micro_batch, log, debug)
    access = access_for(offline)
    runs = plan_runs(arguments, seeds=_seeds(seeds), precision=precision, twin=twin, folds=folds, access=access)
    if debug:
        try_out(runs, access, options)
        return Records([])
    opened = Store.open(store_path(store))
    outcome, received = perform(runs, opened, access, options, retry=retry)
    if outcome.interrupted:
        raise _stopped(received)
    if outcome.refused:
        raise UserError(next(iter(outcome.refused.values())))
    return rows_of(opened, runs)


def perform(
    runs: Sequence[Run],
    store: Store,
    access: Access,
    options: Options,
    progress: Progress | None = None,
    retry: bool = False,
) -> tuple[Outcome, list[int]]:
    """`carry_out`, and the signals that came meanwhile: what `bench run` and `bench.run` do."""
    from bench.execute.session import stops

    with stops(options.stop) as received:
        return carry_out(runs, store, access, options, progress, retry), received


def try_out(runs: Sequence[Run], access: Access, options: Options) -> list[tuple[Run, float | None]]:
    """Two steps of each run in a folder that is thrown away, and its validation score; exceptions are raised."""
    import tempfile

    from bench.execute.engine import execute
    from bench.execute.progress import Silent
    from bench.execute.session import stops

    scores = []
    with stops(options.stop):
        for run in runs:
            with tempfile.TemporaryDirectory() as folder:
                record = execute(run, Path(folder), None, access, replace(options, log=("none",)), Silent())
            scores.append((run, record["selection"]["value"]))
    return scores


def _stopped(received: Sequence[int]) -> BaseException:
    """What a call from Python ends with when it was asked to stop."""
    import signal

    said = "Stopped; what was done is kept. The same call goes on from there."
    if received and received[-1] == signal.SIGTERM:
        print(said)
        return SystemExit(128 + signal.SIGTERM)
    return KeyboardInterrupt(said)


def sweep(
    *arguments: str,
    trials: int | None = None,
    seconds: float | None = None,
    sampler: str = "tpe",
    sampler_seed: int = 0,
    pruner: str = "none",
    seeds: int | Iterable[int] = 1,
    confirm_seeds: int = 3,
    storage: str | None = None,
    store: str | Path | None = None,
    precision: str = "32",
    twin: bool = False,
    folds: Sequence[str] | None = None,
    offline: bool = False,
    device: str = "auto",
    workers: int = 0,
    threads: int | None = None,
    micro_batch: int | None = None,
    log: Sequence[str] = ("csv",),
) -> Records:
    """Tune methods on validation alone, on one budget, and give the rows of what was chosen, on fresh seeds.

    Without `confirm_seeds` these are the chosen trials themselves. Raises UserError for a mistake in the request.
    """
    from bench.execute.session import access_for, options_for, stops
    from bench.plan.study import Search, plan_studies
    from bench.search.sweep import Quiet, fresh_seeds
    from bench.search.sweep import sweep as carry_out_sweep

    options = options_for(device, workers, threads, micro_batch, log)
    access = access_for(offline)
    search, searched = Search(sampler, sampler_seed, pruner, trials, seconds), _seeds(seeds)
    studies = plan_studies(
        arguments, search, seeds=searched, precision=precision, twin=twin, folds=folds, access=access
    )
    opened, quiet = Store.open(store_path(store)), Quiet()
    fresh = fresh_seeds(confirm_seeds, searched)
    with stops(options.stop) as received:
        swept = carry_out_sweep(studies, opened, access, options, quiet, quiet, storage, fresh)
    if swept.interrupted:
        raise _stopped(received)
    if swept.refused:
        raise UserError(swept.refused[0])
    return tuned_rows(opened, list(swept.selections))


def tuned_rows(store: Store, names: Sequence[str]) -> Records:
    """The rows of what these studies chose, with scores."""
    from bench.aggregate.tuned import honest

    chosen = sealed(store, names)
    keys = {key for one in chosen for key in (one.selection["key"], *one.confirmed)}
    rows = [row for row in store.rows() if row["key"] in keys]
    return Records(row for row in honest(rows, chosen) if row["request"].get("tuned") and row["scores"])


def sealed(store: Store, names: Sequence[str] | None = None) -> list[Sealed]:
    """The searches of a store that have chosen; some of them by name."""
    from bench.aggregate.tuned import Sealed

    kept = store.studies
    found = ((name, kept.selection(name)) for name in (kept.names() if names is None else names))
    return [Sealed(name, kept.spec(name), chosen, kept.confirmed(name)) for name, chosen in found if chosen]


def carry_out(
    runs: Sequence[Run],
    store: Store,
    access: Access,
    options: Any,
    progress: Progress | None = None,
    retry: bool = False,
) -> Outcome:
    """Execute the runs that are not done; torch is imported only when there is one.

    A run that a sweep has made as a trial was never joined with the test labels; asked for here, it is.
    """
    from bench.execute.grid import run_all
    from bench.execute.progress import Silent
    from bench.execute.rescore import score_missing, study_of

    of_search = {run.key for run in runs if study_of(store, run.key)}
    trials = [run for run in runs if run.key in of_search]
    others = [run for run in runs if run.key not in of_search]
    outcome = run_all(others, store, access, options, progress or Silent(), retry)
    if trials and not outcome.interrupted:
        closed = run_all(trials, store, access, replace(options, score=False), progress or Silent(), retry)
        outcome = outcome.joined(closed)
    score_missing(store, [*outcome.present, *outcome.finished], outcome, access)
    return outcome


def rows_of(store: Store, runs: Sequence[Run]) -> Records:
    """The rows of these runs, in their order."""
    keys = {run.key: place for place, run in enumerate(runs)}
    methods = sorted({str(run.request["method"]) for run in runs})
    asked = {run.key: dict(run.request) for run in runs}  # who asked first is not who asks now
    rows = [{**row, "request": asked[row["key"]]} for row in store.rows(methods=methods) if row["key"] in keys]
    return Records(sorted(rows, key=lambda row: keys[row["key"]]))


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
