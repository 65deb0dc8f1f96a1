"""Carrying out one trial: its runs, without a look at the test, and the value its rule gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.aggregate.folds import PAIRED, value
from bench.core.errors import Interrupted, UserError
from bench.data.access import Access
from bench.plan.run import Run
from bench.plan.space import Values
from bench.plan.study import Study
from bench.score import part_score
from bench.search.worker import Ended, Report
from bench.store import Store

if TYPE_CHECKING:
    from bench.execute.options import Options
    from bench.execute.progress import Progress


def carry_out(
    study: Study,
    values: Values | None,
    report: Report,
    store: Store,
    access: Access,
    options: Options,
    progress: Progress,
) -> Ended:
    """Run a trial and give its value. Nothing is scored on the test.

    Raises UserError for what a person must mend, Interrupted when asked to stop. A method's failure is an end.
    """
    from bench.execute.grid import run_all

    runs = study.runs(values)
    main = runs[0]
    reused = all(store.state(run.key) == "done" for run in runs)
    pruning = report if len(runs) == 1 else None
    quiet = replace(options, score=False, report=pruning, group=study.name)
    outcome = run_all(runs, store, access, quiet, progress)
    if outcome.refused:
        raise UserError(next(iter(outcome.refused.values())))
    if outcome.interrupted:
        raise Interrupted
    if outcome.pruned:
        return Ended("pruned", main.key, steps=sum(outcome.pruned.values()))
    if outcome.failed:
        return Ended("failed", main.key, error=next(iter(outcome.failed.values())))
    records = [store.record(run.key) or {} for run in runs]
    steps = sum(int(record["cost"]["steps"]) for record in records)
    seconds = sum(float(record["cost"]["fit_seconds"]) for record in records)
    found, looked = _value(study, runs, records, store, access)
    return Ended("done", main.key, found, steps, seconds, reused, looked=looked)


def _value(
    study: Study, runs: Sequence[Run], records: Sequence[Mapping[str, Any]], store: Store, access: Access
) -> tuple[float, dict[str, float]]:
    """The value of a trial under the study's rule, and the scores of the parts that were looked at for it.

    `oracle` and `leave-one-domain-out` read labels of sealed parts, never those of the part that is reported: the
    held-out domain's own small piece, or the other domain that was held out beside it.
    """
    main, fold = runs[0], runs[0].fold
    if not study.problem.afterwards or fold is None:
        found = records[0]["selection"]["value"]
        if found is None:
            raise UserError(f"{main.label} has no validation score; {study.rule} cannot compare it.")
        return float(found), {}
    own, looked = {}, {}
    for run, record in zip(runs, records, strict=True):
        scores: dict[str, float] = {}
        for part in _parts(study.rule, str(run.fold), fold):
            folder = store.folder(run.key)
            assert folder is not None
            scores[part] = part_score(folder, "last", run.task, run.data, part, study.problem, access)
            looked[f"{run.fold}/{part}"] = scores[part]
        own[str(run.fold)] = {"selection": record["selection"], "parts": {"last": scores}}
    scored = value(own, fold, study.rule, study.problem.folds())
    if scored is None:
        raise UserError(f"{main.label}: the rule {study.rule} finds no value.")
    return scored, looked


def _parts(rule: str, run_fold: str, fold: str) -> list[str]:
    """The sealed parts that a rule may look at in a run of a trial whose reported fold is `fold`."""
    if rule == "oracle":
        return ["target-val"]
    if rule == PAIRED and run_fold != fold:
        return [f"test-{other}" for other in run_fold.split("+") if other != fold]
    return []
