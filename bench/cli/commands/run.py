"""`bench run`."""

from __future__ import annotations

import sys
from typing import Any

import click

from bench.cli.complete import complete_expression
from bench.cli.output import emit, emit_json, json_option, offline_option, store_option
from bench.core.errors import UserError
from bench.core.printable import printable

EPILOG = """\b
Examples:
  bench run lora=demo/digits                      one method, one task
  bench run 'lora,probe=glue/*' --seeds 5         a grid; what is done is kept
  bench run lora=glue/rte adaptation.params.rank=16 task.budget.epochs=5
  bench run lora=glue/rte --twin                  a try on tiny synthetic data
  bench run lora=demo/digits --seeds 3,7 --device cuda --precision bf16
"""


MOST_SEEDS = 10_000  # more is a slip of the finger


def seed_list(text: str) -> list[int]:
    """`3` -> [0, 1, 2]; `3,7` -> [3, 7]; `4,` -> [4]."""
    try:
        seeds = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or ("," not in text and seeds[0] < 1):
        raise UserError(f"--seeds is {text!r}; expected a count such as 5, or a list such as 3,7.")
    if "," not in text and seeds[0] > MOST_SEEDS:
        raise UserError(f"--seeds is {text}; expected at most {MOST_SEEDS}.")
    return list(dict.fromkeys(seeds)) if "," in text else list(range(seeds[0]))


def fold_list(text: str | None) -> list[str] | None:
    """`sketch,photo` -> ["sketch", "photo"]"""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def planning_options(command: Any) -> Any:
    """The options that say what is run; `plan` and `run` share them."""
    for option in (
        click.argument("arguments", nargs=-1, required=True, metavar="METHODS=TASKS... [KEY=VALUE...]",
                       shell_complete=complete_expression),
        click.option("--seeds", default="1", show_default=True, help="A count, or a list such as 3,7."),
        click.option("--folds", help="Some of a task's folds, with commas; all of them without it."),
        click.option("--precision", default="32", show_default=True, help="32, bf16 or 16 (mixed)."),
        click.option("--twin", is_flag=True, help="Tiny synthetic data and a tiny random backbone."),
        offline_option,
        store_option,
        json_option,
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(epilog=EPILOG)
@planning_options
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--workers", default=0, show_default=True, help="Loader processes; results do not depend on it.")
@click.option("--threads", type=int, help="Torch's threads; bitwise equality needs equal numbers.")
@click.option("--micro-batch", type=int, help="Rows per forward pass; steps keep the declared batch size.")
@click.option("--log", default="csv", show_default=True, help="csv, tensorboard, wandb, none; several with commas.")
@click.option("--retry", type=click.Choice(["failed"]), help="Try failed runs again.")
@click.option("--picture", is_flag=True, help="Segmentation: draw truth and prediction over test images.")
@click.option("--debug", is_flag=True, help="Two batches of each run; nothing is recorded.")
def command(
    arguments: tuple[str, ...],
    seeds: str,
    folds: str | None,
    precision: str,
    twin: bool,
    offline: bool,
    store: str | None,
    as_json: bool,
    device: str,
    workers: int,
    threads: int | None,
    micro_batch: int | None,
    log: str,
    retry: str | None,
    picture: bool,
    debug: bool,
) -> None:
    """Run methods on tasks: METHODS=TASKS, with commas, globs and a+b combinations; KEY=VALUE overrides."""
    from bench.api import try_out
    from bench.execute.session import access_for, options_for
    from bench.plan.grid import plan
    from bench.store import Store, store_path

    options = options_for(device, workers, threads, micro_batch, [name.strip() for name in log.split(",")], debug)
    access = access_for(offline)
    runs = plan(
        arguments,
        seeds=seed_list(seeds),
        precision=precision,
        twin=twin,
        folds=fold_list(folds),
        access=access,
    )
    if picture:
        _refuse_pictures(runs)
    if debug:
        for run, value in try_out(runs, access, options):
            score = value if value is None else round(value, 4)
            _say(f"{run.label}: two steps done, validation score {score}; not recorded")
        return
    opened = Store.open(store_path(store))
    outcome = _carry_out(runs, opened, access, options, retry == "failed")
    if picture:
        _draw(runs, opened, access)
    _report(runs, opened, outcome, as_json)


def _carry_out(runs: Any, store: Any, access: Any, options: Any, retry: bool) -> Any:
    from bench.api import perform

    states = [store.state(run.key) for run in runs]
    if all(state == "done" for state in states):
        return perform(runs, store, access, options)[0]
    from bench.cli.progress import Shown

    with Shown(len(runs)) as shown:
        return perform(runs, store, access, options, shown, retry)[0]


def _refuse_pictures(runs: Any) -> None:
    """Said before hours are spent."""
    from bench.problems import problem_of

    for run in runs:
        if problem_of(run.task).saves != "mask":
            raise UserError(f"--picture is for segmentation; {run.task['name']} is {run.task['problem']}.")


def _draw(runs: Any, store: Any, access: Any) -> None:
    from bench.api import pictures

    for run in runs:
        files = pictures(store, run, access)
        for folder in dict.fromkeys(file.parent for file in files):
            _say(f"{run.label}: {len(files)} pictures in {folder}")


def _report(runs: Any, store: Any, outcome: Any, as_json: bool) -> None:
    from bench.api import rows_of

    rows = rows_of(store, runs)
    if rows:
        emit(rows.table(), as_json)
    elif as_json:
        emit_json([])
    for key, line in outcome.failed.items():
        label = next(run.label for run in runs if run.key == key)
        _say(f"failed: {label}: {line}\n        traceback: bench show {key[:12]}; try again: --retry failed")
    for sentence in dict.fromkeys(outcome.refused.values()):
        _say(f"bench: {sentence}")
    if outcome.interrupted:
        _say("Stopped; what was done is kept. The same command goes on from there.")
        sys.exit(130)
    sys.exit(2 if outcome.refused else 1 if outcome.failed else 0)


def _say(text: str) -> None:
    print(printable(text, newlines=True), file=sys.stderr)
