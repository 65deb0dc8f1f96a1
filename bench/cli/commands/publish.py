"""`bench publish`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bench.cli.output import emit_json, json_option, number, offline_option, store_option
from bench.core.errors import UserError
from bench.core.printable import printable

EPILOG = """\b
Examples:
  bench publish leaderboards/demo.yaml            run what is missing, write
  bench publish leaderboards/demo.yaml --no-run   from what the store holds
  bench publish leaderboards/*.yaml --check       do records give the tables?
"""


@click.command(epilog=EPILOG)
@click.argument("boards", nargs=-1, type=click.Path(path_type=Path), metavar="[BOARDS...]")
@click.option("--all", "everything", is_flag=True, help="Every board in leaderboards/, and an index of them.")
@click.option("--no-run", is_flag=True, help="Run nothing; missing cells are stated.")
@click.option("--check", "checking", is_flag=True, help="Write nothing; fail where a table is not what records give.")
@click.option("--model-index", metavar="METHOD", help="Print a method's results as the hub's model cards hold them.")
@click.option("--wandb", "to_wandb", is_flag=True, help="Log the tables to Weights & Biases as well.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--log", default="csv", show_default=True, help="csv, tensorboard, wandb, none; several with commas.")
@offline_option
@store_option
@json_option
def command(
    boards: tuple[Path, ...],
    everything: bool,
    no_run: bool,
    checking: bool,
    model_index: str | None,
    to_wandb: bool,
    device: str,
    log: str,
    offline: bool,
    store: str | None,
    as_json: bool,
) -> None:
    """Run what a leaderboard lacks, and write its records and tables beside it: md, csv, tex, html."""
    from bench.execute.session import access_for, options_for, stops

    paths = list(boards) or (sorted(Path("leaderboards").glob("*.yaml")) if everything else [])
    if not paths:
        where = "leaderboards/ holds none" if everything else "name one, or give --all"
        raise UserError(f"There is no board to publish: {where}.")
    access = access_for(offline)
    if checking:
        _check(paths, access, as_json)
        return
    if model_index is not None:
        _model_index(paths, model_index, access)
        return
    options = options_for(device, log=[name.strip() for name in log.split(",")])
    with stops(options.stop):
        said = [_publish(path, store, access, options, no_run) for path in paths]
    if to_wandb:
        _to_wandb(paths, access)
    if everything:
        from bench.boards.index import write_index

        write_index(paths)
    if as_json:
        emit_json(said)
    sys.exit(max(int(one["code"]) for one in said))


def _publish(path: Path, store: str | None, access: Any, options: Any, no_run: bool) -> dict[str, Any]:
    from bench.boards.collect import plan_board
    from bench.boards.declare import read_board
    from bench.boards.publish import publish
    from bench.declarations.catalog import Catalog
    from bench.store import Store, store_path

    board = read_board(path)
    planned = plan_board(board, Catalog.find(), access)
    opened = Store.open(store_path(store), create=not no_run)
    code = 0 if no_run else _run(board, planned, opened, access, options)
    made = publish(board, planned, opened, access)
    _say(f"{board.name}: {number(made.records, 'record')}, {made.missing} missing, {made.stale} stale")
    for file in made.files:
        _say(f"  {file}")
    return {
        "board": board.name, "records": made.records, "missing": made.missing, "stale": made.stale, "code": code,
        "files": [str(file) for file in made.files],
    }  # fmt: skip


def _run(board: Any, planned: Any, store: Any, access: Any, options: Any) -> int:
    """Make what is missing; the exit code of what came of it."""
    from bench.api import carry_out
    from bench.cli.progress import Shown, ShownSweep

    if planned.studies:
        from bench.search.sweep import fresh_seeds, sweep

        fresh = fresh_seeds(int(board.body["seeds"]), [0])
        showing = ShownSweep(sum(study.trials for study in planned.studies))
        with showing:
            swept = sweep(planned.studies, store, access, options, showing, showing, None, fresh)
        failed, refused, interrupted = list(swept.failed.values()), swept.refused, swept.interrupted
    else:
        with Shown(len(planned.runs)) as shown:
            outcome = carry_out(planned.runs, store, access, options, shown)
        failed, refused = list(outcome.failed.values()), list(outcome.refused.values())
        interrupted = outcome.interrupted
    for line in [*(f"failed: {one}" for one in failed), *(f"bench: {one}" for one in dict.fromkeys(refused))]:
        _say(line)
    if interrupted:
        _say("Stopped; what was done is kept. The same command goes on from there.")
        sys.exit(130)
    return 2 if refused else 1 if failed else 0


def _model_index(paths: list[Path], method: str, access: Any) -> None:
    """From what is published; nothing is run."""
    from bench.boards.build import build
    from bench.boards.declare import read_board
    from bench.boards.export import model_index
    from bench.boards.publish import load

    for path in paths:
        board = read_board(path)
        records, evidence = load(board)
        click.echo(model_index(build(board, records, evidence, access.cache), records, method), nl=False)


def _to_wandb(paths: list[Path], access: Any) -> None:
    from bench.boards.build import build
    from bench.boards.declare import read_board
    from bench.boards.export import log_to_wandb
    from bench.boards.publish import load

    for path in paths:
        board = read_board(path)
        log_to_wandb(board, build(board, *load(board), access.cache))


def _check(paths: list[Path], access: Any, as_json: bool) -> None:
    from bench.boards.publish import check

    wrong = [sentence for path in paths for sentence in check(path, access.cache)]
    if as_json:
        emit_json(wrong)
    for sentence in wrong:
        _say(sentence)
    if not wrong:
        _say(f"{number(len(paths), 'board')}: every table is what its records give.")
    sys.exit(1 if wrong else 0)


def _say(text: str) -> None:
    print(printable(text, newlines=True), file=sys.stderr)
