"""What a trial costs outside its training, beside Optuna alone on the same kind of journal."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

import bench.execute.engine
from bench.data.access import Access
from bench.execute.options import Options
from bench.execute.progress import Silent
from bench.plan.study import Search, plan_studies
from bench.search.samplers import suggested
from bench.search.storage import open_study
from bench.search.sweep import sweep
from bench.search.worker import Ended, Worker
from bench.select.trials import Trial
from bench.store import Store

pytestmark = pytest.mark.perf

COUNT = 60
WANTED_MS = 30


class Unwatched(Silent):
    def study(self, label: str, trials: Sequence[Trial], count: int) -> None:
        pass


@pytest.mark.parametrize("sampler", ["random", "tpe", "quasi-random", "cma-es"])
def test_asking_and_telling(toy: Path, tmp_path: Path, sampler: str) -> None:
    (study,) = plan_studies(["scaled=toy/waves"], Search(sampler, trials=COUNT), access=Access.from_environment())

    def carry(number: int, values: Any, report: Any) -> Ended:
        return Ended("done", f"{number:064x}", 1.0 / (1 + number))

    def ours(folder: Path) -> float:
        begun = time.perf_counter()
        Worker(study, open_study("mine", folder, None), threading.Event()).work(carry)
        return 1000 * (time.perf_counter() - begun) / COUNT

    def alone(folder: Path) -> float:
        """Optuna's own loop and lock, with its own sampler, keeping what a trial keeps."""
        samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
        made = {**samplers, "quasi-random": optuna.samplers.QMCSampler, "cma-es": optuna.samplers.CmaEsSampler}[sampler]
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder.mkdir()
        backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
        kept = optuna.create_study(storage=optuna.storages.JournalStorage(backend), sampler=made(seed=0))  # type: ignore[operator]
        begun = time.perf_counter()
        for number in range(COUNT):
            trial = kept.ask()
            suggested(trial, study.space)
            kept.tell(trial, 1.0 / (1 + number))
        return 1000 * (time.perf_counter() - begun) / COUNT

    alone(tmp_path / "warm")
    one, other = ours(tmp_path / "ours"), alone(tmp_path / "alone")
    print(f"\n{sampler}: {one:.1f} ms a trial, Optuna alone {other:.1f} ms ({one / other:.1f} times)")


def test_a_trial_outside_its_run(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a whole search less the time inside the execution of its runs, imports and data left out."""
    inside = [0.0]
    execute = bench.execute.engine.execute

    def timed(*given: Any) -> Any:
        begun = time.perf_counter()
        try:
            return execute(*given)
        finally:
            inside[0] += time.perf_counter() - begun

    monkeypatch.setattr(bench.execute.engine, "execute", timed)
    access, unwatched = Access.from_environment(offline=True), Unwatched()

    def search(trials: int, seed: int, store: str) -> float:
        found = plan_studies(["scaled=toy/waves", "task.budget.steps=2"], Search(trials=trials, sampler_seed=seed))
        inside[0] = 0.0
        begun = time.perf_counter()
        sweep(found, Store.open(tmp_path / store), access, Options(log=("none",)), unwatched, unwatched)
        return time.perf_counter() - begun - inside[0]

    search(2, 1, "warm")
    spent = 1000 * search(COUNT, 0, "store") / COUNT
    print(f"\nasking, planning, claiming, publishing, telling: {spent:.1f} ms a trial; wanted: {WANTED_MS} ms")
