"""`bench sweep`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.commands.run import fold_list, planning_options, seed_list
from bench.cli.output import emit, emit_json
from bench.core.errors import UserError
from bench.core.printable import printable

if TYPE_CHECKING:
    from bench.data.access import Access
    from bench.plan.study import Study
    from bench.store import Store

EPILOG = """\b
Examples:
  bench sweep 'probe,lora=demo/digits' --trials 20
  bench sweep lora=glue/rte --sampler random --pruner median --seconds 3600
  bench sweep erm=dg/pacs task.selection=oracle    every fold alone
  bench sweep lora=demo/digits --storage postgresql://user@host/studies
\b
What the trials say afterwards, without training (give the same options):
  bench sweep 'probe,lora=demo/digits' --trials 20 --curve
  bench sweep 'probe,lora=demo/digits' --trials 20 --plot pictures
"""

MOST_CONFIRMING = 1000


@click.command(epilog=EPILOG)
@planning_options
@click.option("--trials", type=int, help="Trials of each study, the declared parameters first [default: the task's].")
@click.option("--seconds", type=float, help="End each study between trials once it has spent so much.")
@click.option("--sampler", default="tpe", show_default=True, help="tpe, random, quasi-random, grid, gp or cma-es.")
@click.option("--sampler-seed", type=int, default=0, show_default=True, help="Another one makes another search.")
@click.option("--pruner", default="none", show_default=True, help="none, median, asha or hyperband.")
@click.option(
    "--confirm-seeds",
    type=int,
    default=3,
    show_default=True,
    help="Fresh replicates on which the chosen parameters are run.",
)
@click.option("--storage", metavar="URL", help="A database for the trials, instead of a journal in the store.")
@click.option("--curve", is_flag=True, help="Show what fewer trials would have found; trains nothing.")
@click.option(
    "--plot",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Write pictures (PNG and HTML) of each study; trains nothing.",
)
@click.option("--open-test", is_flag=True, help="Score every trial of a study that has chosen, marked post hoc.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--workers", default=0, show_default=True, help="Loader processes; results do not depend on it.")
@click.option("--threads", type=int, help="Torch's threads; bitwise equality needs equal numbers.")
@click.option("--micro-batch", type=int, help="Rows per forward pass; steps keep the declared batch size.")
@click.option("--log", default="csv", show_default=True, help="csv, tensorboard, wandb, none; several with commas.")
def command(
    arguments: tuple[str, ...],
    seeds: str,
    folds: str | None,
    precision: str,
    twin: bool,
    offline: bool,
    store: str | None,
    as_json: bool,
    trials: int | None,
    seconds: float | None,
    sampler: str,
    sampler_seed: int,
    pruner: str,
    confirm_seeds: int,
    storage: str | None,
    curve: bool,
    plot: str | None,
    open_test: bool,
    device: str,
    workers: int,
    threads: int | None,
    micro_batch: int | None,
    log: str,
) -> None:  # fmt: skip
    """Tune methods on the same budget, on validation alone; then run what was chosen on fresh seeds.

    The command may be given several times, on several machines that share the store: each takes trials of the same
    studies. Stopped, it goes on where it was.
    """
    from bench.execute.session import access_for, options_for, stops
    from bench.plan.study import Search, plan_studies
    from bench.search.sweep import fresh_seeds
    from bench.store import Store, store_path

    if not 0 <= confirm_seeds <= MOST_CONFIRMING:
        raise UserError(f"--confirm-seeds is {confirm_seeds}; expected 0 to {MOST_CONFIRMING}.")
    options = options_for(device, workers, threads, micro_batch, [name.strip() for name in log.split(",")])
    access = access_for(offline)
    searched = seed_list(seeds)
    studies = plan_studies(
        arguments,
        Search(sampler, sampler_seed, pruner, trials, seconds),
        seeds=searched,
        precision=precision,
        twin=twin,
        folds=fold_list(folds),
        access=access,
    )
    opened = Store.open(store_path(store), create=not (curve or plot or open_test))
    if curve or plot or open_test:
        _afterwards(studies, opened, access, storage, curve, plot, open_test, as_json)
        return
    with stops(options.stop):
        swept = _sweep(studies, opened, access, options, storage, fresh_seeds(confirm_seeds, searched))
    _report(studies, opened, swept, as_json)


def _sweep(
    studies: Sequence[Study],
    store: Store,
    access: Access,
    options: Any,
    storage: str | None,
    confirm: Sequence[int],
) -> Any:
    from bench.cli.progress import ShownSweep
    from bench.search.sweep import sweep

    shown = ShownSweep(sum(study.trials for study in studies))
    with shown:
        return sweep(studies, store, access, options, shown, shown, storage, confirm)


def _report(studies: Sequence[Study], store: Store, swept: Any, as_json: bool) -> None:
    """What was chosen on validation, and what the chosen parameters are worth on the test."""
    from bench.aggregate.searches import line
    from bench.api import tuned_rows
    from bench.tables.searches import searches

    found = [
        line(study.name, study.spec, swept.trials.get(study.name, []), swept.selections.get(study.name))
        for study in studies
    ]
    tuned = tuned_rows(store, list(swept.selections))
    tables = [searches(found), *([replace(tuned.table(), title="On the test")] if tuned else [])]
    if as_json:
        emit_json([row for table in tables for row in table.raw])
    else:
        for table in tables:
            emit(table, False)
    for name, text in swept.failed.items():
        _say(f"failed: {name}: {text}")
    for sentence in dict.fromkeys(swept.refused):
        _say(f"bench: {sentence}")
    if swept.interrupted:
        _say("Stopped; what was done is kept. The same command goes on from there.")
        sys.exit(130)
    sys.exit(2 if swept.refused else 1 if swept.failed else 0)


def _afterwards(
    studies: Sequence[Study],
    store: Store,
    access: Access,
    storage: str | None,
    curve: bool,
    plot: str | None,
    open_test: bool,
    as_json: bool,
) -> None:
    """What a search's trials say once they are there; nothing is trained."""
    from bench.aggregate import searches as aggregate
    from bench.search.afterwards import known_trials, score_trials
    from bench.tables.searches import curves, opened, searches

    trials = known_trials(studies, store, storage)
    found = [
        aggregate.line(study.name, study.spec, trials[study.name], store.studies.selection(study.name))
        for study in studies
    ]
    tables = [searches(found)]
    points = {study.name: aggregate.curve(trials[study.name]) for study in studies}
    if curve:
        tables.append(curves(found, points))
    if open_test:
        tables.append(opened(score_trials(studies, trials, store, access, _say)))
    if as_json:
        emit_json([row for table in tables for row in table.raw])
    else:
        for table in tables:
            emit(table, False)
    if plot:
        from bench.search.pictures import write_pictures

        for study in studies:
            files = write_pictures(study, trials[study.name], points[study.name], Path(plot))
            _say(f"{study.label}: {len(files)} files in {files[0].parent}")


def _say(text: str) -> None:
    print(printable(text, newlines=True), file=sys.stderr)
