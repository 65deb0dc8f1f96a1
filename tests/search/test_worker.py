"""Workers on one study: numbers, orphans, budgets, and death at any line of the journal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from bench.core.errors import Interrupted
from bench.plan.space import Space, Values, make_space
from bench.search.pruners import make_pruner
from bench.search.storage import open_study
from bench.search.worker import Ended, Report, Worker

SPACE = make_space(
    {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "adaptation.params.rank": {"choices": [2, 4, 8]}},
    {"optimizer.lr": 1e-3, "adaptation.params.rank": 8},
    (),
    "lora",
)


@dataclass
class Planned:
    """What a worker needs to know of a study."""

    trials: int
    space: Space = SPACE
    seconds: float | None = None
    sampler: str = "tpe"

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "task": "toy/waves", "replicate": 0, "method": "lora", "fold": None, "overrides": [], "sampler_seed": 0,
            "sampler": self.sampler, "seconds": self.seconds,
        }  # fmt: skip


class Killed(BaseException):
    """In place of SIGKILL."""


def value_of(values: Values | None) -> float:
    given = values or {"optimizer.lr": 1e-3, "adaptation.params.rank": 8}
    return -abs(given["optimizer.lr"] - 0.02) + 0.001 * given["adaptation.params.rank"]


def carry(number: int, values: Values | None, report: Report) -> Ended:
    return Ended("done", f"{number:064x}", value_of(values), 10, 0.0)


def worker(folder: Path, planned: Planned, pruner: str = "none", stop: threading.Event | None = None) -> Worker:
    kept = open_study("mine", folder, None, make_pruner(pruner, 4))
    study: Any = planned
    return Worker(study, kept, stop or threading.Event())


def outline(trials: Any) -> list[tuple[Any, ...]]:
    return [(one.number, one.state, one.value, one.overrides, one.key) for one in trials]


def test_the_declared_parameters_come_first_and_the_budget_is_kept(tmp_path: Path) -> None:
    trials = worker(tmp_path, Planned(12)).work(carry)
    assert [one.number for one in trials] == list(range(12))
    assert trials[0].overrides == ()
    assert trials[0].value == value_of(None)
    assert len({one.overrides for one in trials}) == 12
    assert worker(tmp_path, Planned(12)).work(lambda *_: pytest.fail("nothing is left to do")) == trials


def test_a_longer_search_begins_with_the_same_trials(tmp_path: Path) -> None:
    short = worker(tmp_path / "short", Planned(8)).work(carry)
    long = worker(tmp_path / "long", Planned(13)).work(carry)
    assert outline(long[:8]) == outline(short)


@pytest.mark.parametrize("sampler", ["tpe", "cma-es", "quasi-random"])
def test_killed_at_any_line_it_ends_with_the_same_trials(
    tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line that is written is a place to die, before it or in its middle; twice in a row, too."""
    planned = Planned(14, sampler=sampler)
    undisturbed = outline(worker(tmp_path / "undisturbed", planned).work(carry))
    append = JournalFileBackend.append_logs
    lines = len((tmp_path / "undisturbed" / "journal.log").read_bytes().splitlines())
    for cut in range(1, lines, 5 if sampler == "tpe" else 17):
        folder, count = tmp_path / f"cut-{cut}", [0]

        def dying(self: Any, logs: Any, folder: Path = folder, count: list[int] = count, cut: int = cut) -> None:
            count[0] += 1
            if count[0] >= cut:
                if cut % 2:
                    with open(folder / "journal.log", "ab") as file:
                        file.write(b'{"op_code": 4, "worker_id"')
                raise Killed
            append(self, logs)

        carried: list[int] = []

        def counting(number: int, values: Values | None, report: Report, carried: list[int] = carried) -> Ended:
            carried.append(number)
            return carry(number, values, report)

        folder.mkdir()
        monkeypatch.setattr(JournalFileBackend, "append_logs", dying)
        with pytest.raises(Killed):
            worker(folder, planned).work(counting)
        count[0] = 0
        with contextlib.suppress(Killed):  # the second may be short enough to live
            worker(folder, planned).work(counting)
        monkeypatch.setattr(JournalFileBackend, "append_logs", append)
        assert outline(worker(folder, planned).work(counting)) == undisturbed, f"cut at line {cut}"
        assert max(carried.count(number) for number in carried) <= 3, "once for each death at most"


def test_four_workers_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    carried: list[int] = []
    barrier = threading.Barrier(4)

    def counting(number: int, values: Values | None, report: Report) -> Ended:
        carried.append(number)
        return carry(number, values, report)

    found: list[Any] = []

    def one() -> None:
        made = worker(tmp_path, Planned(23, sampler="random"))
        barrier.wait()
        found.append(made.work(counting))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(carried) == list(range(23))
    assert all(outline(one) == outline(found[0]) for one in found)
    assert len(found[0]) == 23


def test_a_stopped_worker_leaves_its_trial_to_the_next(tmp_path: Path) -> None:
    def stops(number: int, values: Values | None, report: Report) -> Ended:
        if number == 3:
            raise Interrupted
        return carry(number, values, report)

    with pytest.raises(Interrupted):
        worker(tmp_path, Planned(6)).work(stops)
    carried: list[int] = []

    def counting(number: int, values: Values | None, report: Report) -> Ended:
        carried.append(number)
        return carry(number, values, report)

    worker(tmp_path, Planned(6)).work(counting)
    assert carried == [3, 4, 5]


def test_a_budget_in_seconds_ends_between_trials(tmp_path: Path) -> None:
    def slow(number: int, values: Values | None, report: Report) -> Ended:
        return Ended("done", f"{number:064x}", 0.5, 10, 2.0, reused=True)  # a reused run counts as it cost

    assert len(worker(tmp_path, Planned(50, seconds=7.0)).work(slow)) == 4


def test_failures_and_prunings_are_kept_and_the_search_goes_on(tmp_path: Path) -> None:
    def mixed(number: int, values: Values | None, report: Report) -> Ended:
        if number == 1:
            return Ended("failed", f"{number:064x}", error="ValueError: no")
        if number == 2:
            return Ended("pruned", f"{number:064x}", steps=3)
        return carry(number, values, report)

    trials = worker(tmp_path, Planned(5)).work(mixed)
    assert [one.state for one in trials] == ["done", "failed", "pruned", "done", "done"]
    assert trials[1].error == "ValueError: no"
    assert trials[2].value is None


@pytest.mark.parametrize(("pruner", "prunes"), [("none", False), ("median", True), ("asha", True), ("hyperband", True)])
def test_pruners_end_what_is_hopeless(tmp_path: Path, pruner: str, prunes: bool) -> None:
    def validated(number: int, values: Values | None, report: Report) -> Ended:
        level = 1.0 / (1 + number)  # ever worse
        for step in range(1, 5):
            if report(step, level + 0.01 * step):
                return Ended("pruned", f"{number:064x}", steps=step)
        return Ended("done", f"{number:064x}", level, 4)

    trials = worker(tmp_path, Planned(16), pruner).work(validated)
    assert trials[0].state == "done"
    assert any(one.state == "pruned" for one in trials) == prunes


def test_a_trial_beyond_the_budget_is_never_carried_out(tmp_path: Path) -> None:
    made = worker(tmp_path, Planned(3))
    made.work(carry)
    made.kept._storage.create_new_trial(made.kept._study_id, create_trial(state=TrialState.RUNNING))
    assert len(worker(tmp_path, Planned(3)).work(lambda *_: pytest.fail("not within the budget"))) == 3


def test_told_how_it_stands(tmp_path: Path) -> None:
    seen: list[int] = []
    told: Callable[[Any], None] = lambda trials: seen.append(sum(one.state != "running" for one in trials))  # noqa: E731
    made = worker(tmp_path, Planned(3))
    made.told = told
    made.work(carry)
    assert seen == [0, 1, 2, 3]
