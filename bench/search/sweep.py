"""A sweep: search every study, choose from validation, and only then look at the test.

The searches of one sweep come first, all of them; each writes its selection as its budget ends. After the last one the
winners are scored and the chosen parameters run on fresh seeds. So no label of a test is joined with a prediction
while anything is still being chosen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from bench.core.errors import Interrupted, UserError
from bench.data.access import Access
from bench.execute.progress import Silent
from bench.plan.run import Run
from bench.plan.study import Study
from bench.search.pruners import make_pruner
from bench.search.storage import is_storage_error, open_study, said
from bench.search.trial import carry_out
from bench.search.worker import Worker, trials_of
from bench.select.trials import Trial, choose
from bench.store import Store

if TYPE_CHECKING:
    from bench.execute.options import Options
    from bench.execute.progress import Progress


_MOST_SHARED = 0.1  # of the smaller of validation and test rows, with inputs that the other has too


class Watching(Protocol):
    """Told how a sweep goes, beside what a run tells."""

    def study(self, label: str, trials: Sequence[Trial], count: int) -> None:
        """A study stands so, of `count` trials."""
        ...


class Quiet(Silent):
    """No progress shown."""

    def study(self, label: str, trials: Sequence[Trial], count: int) -> None:
        pass


@dataclass
class Swept:
    """What became of a sweep, by the study's name."""

    trials: dict[str, list[Trial]] = field(default_factory=dict)
    selections: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # studies without a winner, confirming runs that failed
    refused: list[str] = field(default_factory=list)
    interrupted: bool = False


def sweep(
    studies: Sequence[Study],
    store: Store,
    access: Access,
    options: Options,
    progress: Progress,
    watching: Watching,
    storage: str | None = None,
    confirm: Sequence[int] = (),
) -> Swept:
    """Search, select, score the winners, run the chosen parameters on the replicates `confirm`."""
    swept = Swept()
    try:
        for study in studies:
            try:
                _search(study, store, access, options, progress, watching, storage, swept)
            except UserError as error:
                swept.refused.append(str(error))  # the others are searched all the same
            except Exception as error:
                if not is_storage_error(error):
                    raise
                swept.refused.append(f"The trials of {study.label} can no longer be kept: {said(error, storage)}")
        if not swept.refused:
            _look(studies, store, access, options, progress, confirm, swept)
    except Interrupted:
        swept.interrupted = True
    except UserError as error:
        swept.refused.append(str(error))
    return swept


def fresh_seeds(count: int, used: Sequence[int]) -> list[int]:
    """The first `count` replicates that no search of this sweep has used."""
    return [seed for seed in range(count + len(set(used))) if seed not in set(used)][:count]


def _search(
    study: Study,
    store: Store,
    access: Access,
    options: Options,
    progress: Progress,
    watching: Watching,
    storage: str | None,
    swept: Swept,
) -> None:
    """Go on with a study until its budget is spent, and seal it."""
    selection = store.studies.selection(study.name)
    if selection is not None:
        swept.selections[study.name] = selection
        swept.trials[study.name] = [Trial.read(one) for one in selection["trials"]]
        watching.study(study.label, swept.trials[study.name], study.trials)
        return
    _check_apart(study, access, progress)
    folder = store.studies.declare(study.name, study.spec)
    validations = int(study.base.task["budget"]["validations"])
    kept = open_study(study.name, folder, storage, make_pruner(str(study.spec["pruner"]), validations))
    worker = Worker(
        study,
        kept,
        options.stop,
        lambda key: store.state(key) == "running",
        lambda trials: watching.study(study.label, trials, study.trials),
    )
    try:
        trials = worker.work(
            lambda number, values, report: carry_out(study, values, report, store, access, options, progress)
        )
    finally:
        swept.trials[study.name] = trials_of(kept, study.trials)
    _select(study, trials, store, swept)


def _check_apart(study: Study, access: Access, progress: Progress) -> None:
    """UserError where many validation rows are test rows under another name: more than a tenth of the smaller part.

    Rows shared by identity are refused when data are prepared; here contents are compared.
    """
    from bench.data.prepare import equal_contents, prepare
    from bench.plan.grid import wanted_data

    progress.phase(f"preparing {study.base.task['name']}")
    prepared = prepare(wanted_data(study.base), access)
    val = prepared.pool(study.base.replicate).get("val")
    equal = equal_contents(prepared, study.base.replicate)
    for part in prepared.tests():
        shared = equal.get(f"{part.name}~val", 0)
        if val is not None and shared > _MOST_SHARED * min(len(val), len(part)):
            raise UserError(
                f"{study.base.task['name']}: {shared} of {len(part)} rows of {part.name} have the same inputs as the "
                f"{len(val)} validation rows; a search would choose on the test. Take splits.val from other rows."
            )


def _select(study: Study, trials: Sequence[Trial], store: Store, swept: Swept) -> None:
    """Write the choice, once; no test label has been joined for this study yet."""
    from bench.execute.rescore import scored

    before = sum(1 for one in trials if one.key and scored(store, one.key))
    best = [one for one in trials if one.state == "done"]
    if not best:
        errors = [one.error for one in trials if one.error]
        swept.failed[study.name] = f"no trial of {len(trials)} has ended with a score: {errors[0] if errors else ''}"
        return
    choice = choose(study.rule, trials, (), before)
    edges = study.space.edges(_values(choice.overrides)) if choice.winner else []
    body = json.loads(json.dumps(asdict(replace(choice, edges=edges))))
    swept.selections[study.name] = store.studies.select(study.name, body)


def _look(
    studies: Sequence[Study],
    store: Store,
    access: Access,
    options: Options,
    progress: Progress,
    confirm: Sequence[int],
    swept: Swept,
) -> None:
    """Score the winners and confirm them: the first look at the test."""
    for study in studies:
        selection = swept.selections.get(study.name)
        if selection is None:
            continue
        values = _values(selection["overrides"]) or None
        winner = study.run(values, study.base.replicate, study.base.fold)
        if winner.key != selection["key"]:
            raise UserError(
                f"{study.label} has chosen {selection['key'][:12]}, which would be another run today: code or data "
                "have changed since. Search again, with another --sampler-seed."
            )
        fresh = [study.run(values, replicate, study.base.fold) for replicate in confirm]
        store.studies.confirm(study.name, {run.key: run.replicate for run in fresh})
        progress.phase(f"scoring {winner.label}")
        runs = [winner, *fresh]
        _carry(runs, study.name, store, access, replace(options, group=study.name), progress, swept)


def _carry(
    runs: Sequence[Run],
    name: str,
    store: Store,
    access: Access,
    options: Options,
    progress: Progress,
    swept: Swept,
) -> None:
    """Make what is missing of a choice's runs, and score them: they are what the study `name` has chosen."""
    from bench.execute.grid import run_all
    from bench.execute.rescore import score_missing

    outcome = run_all(runs, store, access, options, progress)
    score_missing(store, outcome.present, outcome, access, name)
    _note(outcome, runs, swept)
    if outcome.interrupted:
        raise Interrupted


def _note(outcome: Any, runs: Sequence[Run], swept: Swept) -> None:
    labels = {run.key: run.label for run in runs}
    swept.failed.update({labels[key]: line for key, line in outcome.failed.items()})
    swept.refused += list(dict.fromkeys(outcome.refused.values()))


def _values(typed: Sequence[str]) -> dict[str, Any]:
    """The values that were written as overrides."""
    from bench.declarations.yaml12 import parse

    return {key: parse(text, one, lines=False) for one in typed for key, _, text in [one.partition("=")]}
