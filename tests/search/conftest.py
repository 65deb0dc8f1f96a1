"""Sweeping small things in process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.data.access import Access
from bench.execute.options import Options
from bench.execute.progress import Silent
from bench.plan.study import Search, Study, plan_studies
from bench.search.sweep import Swept, fresh_seeds, sweep
from bench.select.trials import Trial
from bench.store import Store

SHORT = ("task.budget.epochs=1", "task.budget.validations=2")


class Unwatched(Silent):
    """Told of everything, says nothing."""

    def study(self, label: str, trials: Sequence[Trial], count: int) -> None:
        pass


@dataclass
class Done:
    """A sweep's plan, its store and what became of it."""

    studies: list[Study]
    store: Store
    swept: Swept

    @property
    def study(self) -> Study:
        (one,) = self.studies
        return one

    @property
    def trials(self) -> list[Trial]:
        return self.swept.trials[self.study.name]

    @property
    def selection(self) -> dict[str, Any]:
        return self.swept.selections[self.study.name]


Tune = Callable[..., Done]


@pytest.fixture
def tune(tmp_path: Path) -> Tune:
    """Plan and carry out a sweep."""

    def run(
        *arguments: str,
        store: str = "store",
        confirm: int = 0,
        seeds: tuple[int, ...] = (0,),
        twin: bool = False,
        folds: Sequence[str] | None = None,
        options: Options | None = None,
        **search: Any,
    ) -> Done:
        access = Access.from_environment(offline=True)
        search = {"trials": 4, "sampler": "random", **search}
        studies = plan_studies(arguments, Search(**search), seeds=seeds, twin=twin, folds=folds, access=access)
        opened = Store.open(tmp_path / store)
        fresh = fresh_seeds(confirm, seeds)
        unwatched = Unwatched()
        chosen = options or Options(log=("none",))
        return Done(studies, opened, sweep(studies, opened, access, chosen, unwatched, unwatched, None, fresh))

    return run
