"""Ways in which a tuned number could be another than it says; each was one once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bench.aggregate import Line, lines
from bench.aggregate.tuned import honest
from bench.api import carry_out, sealed
from bench.core.errors import UserError
from bench.core.printable import without_passwords
from bench.data.access import Access
from bench.execute.options import Options
from bench.execute.rescore import rescore
from bench.plan.grid import plan
from bench.store import Store
from bench.store.studies import Studies

from .conftest import SHORT, Done, Tune


def tuned(store: Store, everything: bool = False) -> list[Line]:
    made = lines(honest(store.rows(), sealed(store)), everything)
    return [line for line in made if "tuned" in line.method]


def edit(toy: Path, name: str, old: str, new: str) -> None:
    path = toy / "methods" / "kinds" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def unfinished(monkeypatch: pytest.MonkeyPatch, tune: Tune, *arguments: str, trials: int) -> Done:
    """A sweep that ends just before it chooses."""
    import bench.search.sweep

    with monkeypatch.context() as patch:
        patch.setattr(bench.search.sweep, "_select", lambda *_: None)
        return tune(*arguments, trials=trials)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("scaled.py", "self.scale[:, None] * ", "1.0 * self.scale[:, None] * "),
        ("scaled.yaml", "high: 1.0e-1", "high: 2.0e-1"),
        ("scaled.yaml", "lr: 1.0e-2", "lr: 2.0e-2"),
    ],
)
def test_searches_of_other_code_spaces_or_defaults_are_not_pooled(
    toy: Path, tune: Tune, name: str, old: str, new: str
) -> None:
    done = tune("scaled=toy/waves", *SHORT, trials=2, confirm=2)
    edit(toy, name, old, new)
    tune("scaled=toy/waves", *SHORT, trials=2, confirm=2)
    (line,) = tuned(done.store)
    assert (line.replicates, line.older) == (2, 1)
    assert [one.replicates for one in tuned(done.store, everything=True)] == [2, 2]


def test_confirmed_and_unconfirmed_searches_are_two_lines(toy: Path, tune: Tune) -> None:
    tune("scaled=toy/waves", *SHORT, trials=2, seeds=(1,))
    done = tune("scaled=toy/waves", *SHORT, trials=2, confirm=2)
    found = {line.method: line.replicates for line in tuned(done.store)}
    assert found == {"scaled (tuned: 2 trials, random)": 2, "scaled (tuned: 2 trials, random, unconfirmed)": 1}


def test_a_choice_is_not_confirmed_with_other_code(toy: Path, tune: Tune) -> None:
    (toy / "methods" / "kinds" / "other.py").write_text((toy / "methods" / "kinds" / "scaled.py").read_text())
    edit(
        toy, "scaled.yaml", "search:\n", 'search:\n  adaptation.adapter: {choices: ["scaled:Scaled", "other:Scaled"]}\n'
    )
    first = tune("scaled=toy/waves", *SHORT, trials=4, confirm=1)
    edit(toy, "other.py", "self.scale[:, None] * ", "2.0 * self.scale[:, None] * ")
    second = tune("scaled=toy/waves", *SHORT, trials=4, confirm=1)
    assert second.study.name != first.study.name, "what a choice reaches is part of the study"
    assert len(first.store.studies.confirmed(first.study.name)) == 1


def test_a_winner_is_a_result_whoever_made_its_run_first(
    toy: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run belongs to a longer search by name: sealed with another choice, or still open."""
    long = unfinished(monkeypatch, tune, "scaled=toy/waves", *SHORT, trials=6)
    short = tune("scaled=toy/waves", *SHORT, trials=2)
    assert short.swept.refused == []
    winner = short.selection["key"]
    rows = {row["key"]: row for row in long.store.rows()}
    assert rows[winner]["scores"]
    assert not rows[winner]["post_hoc"]
    sealed_long = tune("scaled=toy/waves", *SHORT, trials=6)
    assert sealed_long.selection["scored_before"] >= 1
    assert not {row["key"]: row for row in long.store.rows()}[sealed_long.selection["key"]]["post_hoc"]


def test_bench_run_does_not_open_a_trial_of_an_open_search(
    toy: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = unfinished(monkeypatch, tune, "scaled=toy/waves", *SHORT, trials=3)
    trial = done.trials[1]
    access = Access.from_environment(offline=True)
    runs = plan(["scaled=toy/waves", *SHORT, *trial.overrides])
    outcome = carry_out(runs, done.store, access, Options(log=("none",)))
    assert "has not chosen yet" in outcome.refused[str(trial.key)]
    folder = done.store.path / "runs" / str(trial.key)[:2] / str(trial.key)
    stopped = sorted((folder / "events").iterdir())[-1]
    stopped.write_text(stopped.read_text().replace('"done"', '"released"'))  # as if it had been stopped
    outcome = carry_out(runs, done.store, access, Options(log=("none",)))
    assert outcome.finished == [trial.key]
    assert "has not chosen yet" in outcome.refused[str(trial.key)]
    assert not any(row["scores"] for row in done.store.rows())
    with pytest.raises(UserError, match="has not chosen yet"):
        rescore(done.store, str(trial.key), access)


def test_what_was_scored_before_the_choice_is_counted(toy: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    done = unfinished(monkeypatch, tune, "scaled=toy/waves", *SHORT, trials=3)
    access = Access.from_environment(offline=True)
    carry_out(plan(["scaled=toy/waves", *SHORT]), done.store, access, Options(log=("none",)))
    assert tune("scaled=toy/waves", *SHORT, trials=3).selection["scored_before"] == 1


def test_choices_by_several_rules_stand_side_by_side(toy: Path, tune: Tune) -> None:
    tune("scaled=odd/places", *SHORT, trials=2)
    done = tune("scaled=odd/places", *SHORT, "task.selection=oracle", trials=2)
    assert sorted((line.selection, line.older) for line in tuned(done.store)) == [("oracle", 0), ("val", 0)]


def test_one_method_s_mistake_does_not_stop_the_others(toy: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.search.sweep

    carry = bench.search.sweep.carry_out

    def refusing(study, *rest):  # type: ignore[no-untyped-def]
        if study.spec["method"] == "all":
            raise UserError("all is mistaken")
        return carry(study, *rest)

    monkeypatch.setattr(bench.search.sweep, "carry_out", refusing)
    done = tune("all,scaled=toy/waves", *SHORT, trials=2)
    assert done.swept.refused == ["all is mistaken"]
    assert len(done.swept.selections) == 1
    assert not any(row["scores"] for row in done.store.rows()), "nothing is opened while a search of it is open"


def test_a_merge_that_was_killed_breaks_nothing(toy: Path, tune: Tune) -> None:
    done = tune("scaled=toy/waves", *SHORT, trials=2)
    left = done.store.studies.path / ".bringing-0123"
    left.mkdir()
    (left / "study.json").write_text("{}")
    assert done.store.studies.names() == [done.study.name]


def test_merging_joins_what_confirms_one_choice(toy: Path, tune: Tune, tmp_path: Path) -> None:
    here = tune("scaled=toy/waves", *SHORT, trials=2, confirm=1)
    there = tune("scaled=toy/waves", *SHORT, trials=2, confirm=3, store="there")
    (there.store.studies.folder(there.study.name) / "link").symlink_to("/etc/hostname")
    here.store.merge(there.store.path)
    assert len(here.store.studies.confirmed(here.study.name)) == 3
    fresh = Store.open(tmp_path / "fresh")
    fresh.studies.declare(here.study.name, here.study.spec)
    fresh.merge(there.store.path)
    assert fresh.studies.selection(here.study.name) == there.selection
    empty = Store.open(tmp_path / "empty")
    empty.merge(there.store.path)
    assert not (empty.studies.folder(here.study.name) / "link").exists()


def test_confirmations_of_two_processes_are_both_kept(tmp_path: Path) -> None:
    studies = Studies(tmp_path)
    studies.declare("one", {})
    barrier = threading.Barrier(2)

    def confirm(first: int) -> None:
        barrier.wait()
        for number in range(50):
            studies.confirm("one", {f"{first + number:064x}": number})

    threads = [threading.Thread(target=confirm, args=(first,)) for first in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(studies.confirmed("one")) == 100


def test_addresses_are_kept_without_their_passwords() -> None:
    assert without_passwords("postgresql://me:hush@host/db") == "postgresql://me:***@host/db"
    assert (
        without_passwords("postgresql://host/db?user=me&password=hush&x=1")
        == "postgresql://host/db?user=me&password=***&x=1"
    )
    assert without_passwords("lora=demo/digits") == "lora=demo/digits"
