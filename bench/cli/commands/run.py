"""`bench run`."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from typing import Any

import click

from bench.cli.complete import complete_expression
from bench.cli.output import emit, emit_json, json_option, offline_option, store_option
from bench.cli.stopping import stops
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
    from bench.data.access import Access
    from bench.execute.options import Options, check
    from bench.plan.grid import plan
    from bench.store import Store, store_path

    stop = threading.Event()
    loggers = tuple(name.strip() for name in log.split(","))
    options = Options(device, workers, threads, micro_batch, loggers, checkpoint_seconds(), debug=debug, stop=stop)
    check(options)
    access = Access.from_environment(offline)
    if access.offline:
        forbid_network()
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
        with stops(stop):
            _debug(runs, access, replace(options, log=("none",)))
        return
    opened = Store.open(store_path(store))
    with stops(stop):
        outcome = _carry_out(runs, opened, access, options, retry == "failed")
    if picture:
        _draw(runs, opened, access)
    _report(runs, opened, outcome, as_json)


def checkpoint_seconds() -> float:
    """How often a run writes down where it is: BENCH_CHECKPOINT_SECONDS, by default every minute."""
    import os

    given = os.environ.get("BENCH_CHECKPOINT_SECONDS", "60")
    try:
        return max(0.0, float(given))
    except ValueError:
        raise UserError(f"BENCH_CHECKPOINT_SECONDS is {given!r}; expected a number of seconds.") from None


def forbid_network() -> None:
    """Tell the hub's own libraries too, before they are imported."""
    import os

    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})


def _carry_out(runs: Any, store: Any, access: Any, options: Any, retry: bool) -> Any:
    from bench.api import carry_out

    states = [store.state(run.key) for run in runs]
    if all(state == "done" for state in states):
        return carry_out(runs, store, access, options)
    from bench.cli.progress import Shown

    with Shown(len(runs)) as shown:
        return carry_out(runs, store, access, options, shown, retry)


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


def _debug(runs: Any, access: Any, options: Any) -> None:
    """Two steps of each run in a folder that is thrown away; a traceback is shown as it is."""
    import tempfile
    from pathlib import Path

    from bench.execute.engine import execute
    from bench.execute.progress import Silent

    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            record = execute(run, Path(folder), None, access, options, Silent())
        value = record["selection"]["value"]
        _say(
            f"{run.label}: two steps done, validation score {value if value is None else round(value, 4)}; not recorded"
        )


def _say(text: str) -> None:
    print(printable(text, newlines=True), file=sys.stderr)
