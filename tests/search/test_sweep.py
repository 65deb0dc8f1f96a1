"""Whole sweeps: what is run, what is looked at and when, what is chosen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench.execute.grid
import bench.score
from bench.aggregate import lines
from bench.aggregate.tuned import Sealed, honest
from bench.core.errors import UserError
from bench.data.access import Access
from bench.execute.rescore import rescore
from bench.plan.grid import plan
from bench.search.afterwards import known_trials, score_trials
from bench.select.trials import Trial
from bench.store import Store

from .conftest import SHORT, Tune


def sealed(store: Store) -> list[Sealed]:
    kept = store.studies
    found = ((name, kept.selection(name)) for name in kept.names())
    return [Sealed(name, kept.spec(name), one, kept.confirmed(name)) for name, one in found if one]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the runs that are executed, in order."""
    keys: list[str] = []
    execute = bench.execute.grid._execute

    def noting(run: Any, *rest: Any) -> Any:
        keys.append(run.key)
        return execute(run, *rest)

    monkeypatch.setattr(bench.execute.grid, "_execute", noting)
    return keys


@pytest.fixture
def unsealed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(data, part) of every look at sealed labels."""
    seen: list[tuple[str, str]] = []
    unseal = bench.score.unseal

    def noting(data: str, part: str, access: Access) -> Any:
        seen.append((data, part))
        return unseal(data, part, access)

    monkeypatch.setattr(bench.score, "unseal", noting)
    return seen


def test_the_test_is_opened_only_after_every_choice_is_written(
    toy: Path, tune: Tune, unsealed: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[str]] = []
    score = bench.score.score

    def noting(*given: Any, **named: Any) -> Any:
        kept = Store(toy.parent / "store").studies
        written.append([name for name in kept.names() if kept.selection(name)])
        return score(*given, **named)

    monkeypatch.setattr(bench.score, "score", noting)
    done = tune("scaled=toy/waves,toy/angle", *SHORT, trials=3)
    assert len(done.swept.selections) == 2
    assert len(written) == 2, "one look for each winner"
    assert all(len(names) == 2 for names in written), "and both choices stood by then"
    assert len(unsealed) == 2
    for study in done.studies:
        rows = {row["key"]: row for row in done.store.rows()}
        keys = [one.key for one in done.swept.trials[study.name]]
        looked = [key for key in keys if key and rows[key]["scores"]]
        assert looked == [done.swept.selections[study.name]["key"]]


def test_what_is_chosen_is_the_best_on_validation_and_is_written_down(toy: Path, tune: Tune) -> None:
    done = tune("scaled=toy/waves", *SHORT, trials=4)
    best = max(done.trials, key=lambda one: (one.value, -one.number))
    assert done.selection["winner"] == best.number
    assert done.selection["rule"] == "val"
    assert [one["number"] for one in done.selection["trials"]] == [0, 1, 2, 3]
    assert done.selection["spent"]["steps"] == 4 * 9
    records = [done.store.record(str(one.key)) or {} for one in done.trials]
    assert [one.value for one in done.trials] == [record["selection"]["value"] for record in records]
    assert done.trials[0].key == plan(["scaled=toy/waves", *SHORT])[0].key, "the declared parameters come first"


def test_a_sealed_study_is_never_chosen_anew(toy: Path, tune: Tune, trained: list[str]) -> None:
    first = tune("scaled=toy/waves", *SHORT)
    count = len(trained)
    file = first.store.studies.folder(first.study.name) / "selection.json"
    body = json.loads(file.read_text())
    other = {**body, "winner": 3, "key": body["trials"][3]["key"], "overrides": body["trials"][3]["overrides"]}
    file.write_text(json.dumps(other))
    second = tune("scaled=toy/waves", *SHORT)
    assert second.selection["winner"] == 3
    assert len(trained) == count, "nothing is trained again"
    assert first.store.studies.select(first.study.name, body)["winner"] == 3


def test_a_longer_search_uses_the_trials_of_a_shorter_one(toy: Path, tune: Tune, trained: list[str]) -> None:
    short = tune("scaled=toy/waves", *SHORT, trials=3)
    assert len(trained) == 3
    long = tune("scaled=toy/waves", *SHORT, trials=5)
    assert len(trained) == 5
    assert [one.key for one in long.trials[:3]] == [one.key for one in short.trials]
    assert [one.reused for one in long.trials] == [True, True, True, False, False]
    assert long.selection["scored_before"] == 1, "the shorter one's winner"
    assert all(one.seconds > 0 for one in long.trials), "what a reused run cost counts"


def test_confirmed_on_fresh_seeds(toy: Path, tune: Tune) -> None:
    done = tune("scaled=toy/waves", *SHORT, confirm=2, seeds=(1,), trials=3)
    rows = {row["key"]: row for row in done.store.rows()}
    confirmed = done.store.studies.confirmed(done.study.name)
    assert sorted(confirmed.values()) == [0, 2], "never the seed of the search"
    typed = [*SHORT, *done.selection["overrides"]]
    assert all(rows[key]["request"]["overrides"] == typed for key in confirmed)
    assert all(rows[key]["scores"] for key in confirmed)
    table = lines(honest(list(rows.values()), sealed(done.store)))
    (tuned,) = [one for one in table if "tuned" in one.method]
    assert tuned.replicates == 2
    assert tuned.method == "scaled (tuned: 3 trials, random, searched with seed 1)"
    assert not any("optimizer.lr" in one.method for one in table), "trials are no results"


def test_trials_can_be_scored_afterwards_and_stay_marked(toy: Path, tune: Tune) -> None:
    done = tune("scaled=toy/waves", *SHORT, trials=3)
    access = Access.from_environment(offline=True)
    trials = known_trials(done.studies, done.store, None)
    rows = score_trials(done.studies, trials, done.store, access, print)
    assert [row["number"] for row in rows] == [0, 1, 2]
    late = {row["number"]: row["post_hoc"] for row in rows}
    assert late == {number: number not in (0, done.selection["winner"]) for number in late}
    stored = {row["key"]: row for row in done.store.rows()}
    for row, trial in zip(rows, trials[done.study.name], strict=True):
        assert stored[str(trial.key)]["post_hoc"] == row["post_hoc"]
    assert len(score_trials(done.studies, trials, done.store, access, print)) == 3
    assert all(row["scored"] == 1 for row in done.store.rows()), "looked at once"
    again = tune("scaled=toy/waves", *SHORT, trials=5)
    assert again.selection["winner"] == max(again.trials, key=lambda one: (one.value, -one.number)).number


def test_an_open_study_s_trials_stay_closed(toy: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.search.sweep

    monkeypatch.setattr(bench.search.sweep, "_select", lambda *_: None)  # it stops just before it chooses
    done = tune("scaled=toy/waves", *SHORT, trials=3)
    access = Access.from_environment(offline=True)
    with pytest.raises(UserError, match="has not chosen yet"):
        rescore(done.store, str(done.trials[1].key), access)
    with pytest.raises(UserError, match="has not chosen yet"):
        score_trials(done.studies, done.swept.trials, done.store, access, print)
    assert rescore(done.store, str(done.trials[0].key), access)["values"], "the declared parameters are anybody's"


def test_a_task_whose_validation_rows_are_its_test_rows_is_refused(toy: Path, tune: Tune, trained: list[str]) -> None:
    done = tune("scaled=toy/waves", *SHORT, "task.splits.val=test[:50%]")
    assert "share 48 rows of 'test'" in done.swept.refused[0]
    assert not trained
    assert done.swept.selections == {}


def test_validation_rows_that_equal_the_test_rows_are_refused(toy: Path, tune: Tune, trained: list[str]) -> None:
    """Under another name, so that only their contents tell."""
    make = toy / "tasks" / "toy" / "make.py"
    make.write_text(make.read_text() + COPIED)
    family = toy / "tasks" / "toy" / "_family.yaml"
    family.write_text(family.read_text().replace("make:waves", "make:copied"))
    done = tune("scaled=toy/waves", *SHORT, "task.splits.train=train", "task.splits.val=copy")
    assert "a search would choose on the test" in done.swept.refused[0]
    assert not trained


COPIED = """

def copied(rows: int) -> dict:
    made = waves(rows)
    return {**made, "copy": {name: list(reversed(list(column))) for name, column in made["test"].items()}}
"""


def test_without_validation_rows_there_is_no_search(toy: Path, tune: Tune) -> None:
    with pytest.raises(UserError, match="no validation rows"):
        tune("scaled=toy/waves", "task.splits.val=null", "task.selection=last")


def test_a_method_without_parameters_is_one_trial(toy: Path, tune: Tune) -> None:
    done = tune("all=toy/waves", *SHORT, trials=10)
    assert [one.number for one in done.trials] == [0]
    assert done.selection["overrides"] == []


def test_what_the_command_line_sets_is_not_searched(toy: Path, tune: Tune) -> None:
    done = tune("scaled=toy/waves", *SHORT, "optimizer.lr=0.02", trials=10)
    assert len(done.trials) == 1


def test_a_task_may_open_its_budget(toy: Path, tune: Tune) -> None:
    waves = toy / "tasks" / "toy" / "waves.yaml"
    waves.write_text(waves.read_text() + "search:\n  budget.batch_size: {choices: [4, 8, 16]}\n")
    done = tune("all=toy/waves", *SHORT, trials=6)
    assert {over for one in done.trials for over in one.overrides} <= {
        f"task.budget.batch_size={n}" for n in (4, 8, 16)
    }
    assert len({one.key for one in done.trials}) == 3, "a batch size makes another run, the same one the same run"
    table = lines(honest(done.store.rows(), sealed(done.store)))
    assert {one.base for one in table} == {"toy/waves"}


def test_a_task_opens_nothing_but_its_budget(toy: Path, tune: Tune) -> None:
    waves = toy / "tasks" / "toy" / "waves.yaml"
    waves.write_text(waves.read_text() + "search:\n  splits.test: {choices: [train, test]}\n")
    with pytest.raises(UserError, match="splits.test"):
        tune("all=toy/waves", *SHORT)


def test_illegal_values_of_a_space_are_found_before_anything_runs(toy: Path, tune: Tune, trained: list[str]) -> None:
    scaled = toy / "methods" / "kinds" / "scaled.yaml"
    scaled.write_text(scaled.read_text() + "  optimizer.schedule: {choices: [constant, linnear]}\n")
    with pytest.raises(UserError, match="linnear"):
        tune("scaled=toy/waves", *SHORT)
    assert not trained


def test_a_failing_method_is_a_row_and_no_choice(toy: Path, tune: Tune) -> None:
    done = tune("broken=toy/waves", *SHORT)
    assert done.swept.selections == {}
    assert "no trial of 1" in done.swept.failed[done.study.name]
    assert [row["state"] for row in done.store.rows()] == ["failed"]


def test_some_trials_may_fail(toy: Path, tune: Tune) -> None:
    scaled = toy / "methods" / "kinds" / "scaled.yaml"
    scaled.write_text(scaled.read_text().replace("high: 1.0e-1", "high: 1.0e+38"))
    done = tune("scaled=toy/waves", *SHORT, trials=6)
    assert {one.state for one in done.trials} == {"done", "failed"}
    assert all("FloatingPointError" in str(one.error) for one in done.trials if one.state == "failed")
    assert done.selection["spent"]["failed"] == sum(one.state == "failed" for one in done.trials)


def test_pruned_runs_leave_nothing_in_the_store(toy: Path, tune: Tune) -> None:
    done = tune("scaled=toy/waves", "task.budget.epochs=3", "task.budget.validations=9", pruner="asha", trials=12)
    pruned = [one for one in done.trials if one.state == "pruned"]
    assert pruned
    assert all(0 < one.steps < 27 for one in pruned)
    assert all(str(one.key) not in done.store for one in pruned)
    assert {row["state"] for row in done.store.rows()} == {"done"}


def test_every_fold_is_searched_alone(toy: Path, tune: Tune, unsealed: list[tuple[str, str]]) -> None:
    done = tune("scaled=odd/places", *SHORT, trials=3, confirm=1)
    folds = [study.base.fold for study in done.studies]
    assert len(folds) == len(set(folds)) > 2
    winners = {study.base.fold: done.swept.selections[study.name] for study in done.studies}
    assert all(one["rule"] == "val" for one in winners.values())
    parts = {part for _, part in unsealed}
    assert parts == {"test", "target-val"}
    table = lines(honest(done.store.rows(), sealed(done.store)))
    (tuned,) = [one for one in table if "tuned" in one.method]
    assert set(tuned.domains or {}) == set(folds)
    assert tuned.selection == "val"
    assert tuned.replicates == 1


@pytest.mark.parametrize("rule", ["oracle", "leave-one-domain-out"])
def test_the_other_rules_look_at_what_they_may(
    toy: Path, tune: Tune, rule: str, unsealed: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.search.sweep

    monkeypatch.setattr(bench.search.sweep, "_look", lambda *_: None)
    (fold, *others) = next(iter(plan(["all=odd/places"]))).request["folds"]
    done = tune("scaled=odd/places", *SHORT, f"task.selection={rule}", trials=2, folds=[fold])
    runs = done.study.runs(None)
    by_data = {run.data: str(run.fold) for run in runs}
    seen = {(by_data.get(data), part) for data, part in unsealed if data in by_data}
    if rule == "oracle":
        assert seen == {(fold, "target-val")}
    else:
        assert {str(run.fold) for run in runs[1:]} == {name for name in by_data.values() if "+" in name}
        assert {part for _, part in seen} == {f"test-{other}" for other in others}
    assert f"test-{fold}" not in {part for _, part in unsealed}
    assert (fold, "test") not in seen
    assert done.selection["rule"] == rule
    assert all(one.value is not None for one in done.trials)


def test_rules_share_their_runs(toy: Path, tune: Tune, trained: list[str]) -> None:
    fold = plan(["all=odd/places"])[0].request["folds"][0]
    tune("scaled=odd/places", *SHORT, trials=3, folds=[fold])
    count = len(trained)
    oracle = tune("scaled=odd/places", *SHORT, "task.selection=oracle", trials=3, folds=[fold])
    assert len(trained) == count, "the rule is no part of a run, nor of what is proposed"
    table = lines(honest(oracle.store.rows(), sealed(oracle.store)))
    assert {one.selection for one in table if "tuned" in one.method} <= {"val", "oracle"}


def test_discovery_needs_hidden_classes(toy: Path, tune: Tune) -> None:
    with pytest.raises(UserError, match="hide known classes"):
        tune("scaled=odd/kinds", *SHORT)
    done = tune("scaled=odd/kinds", *SHORT, "task.hidden=1", "task.selection=val", trials=2)
    assert len(done.trials) == 2
    last = tune("scaled=odd/kinds", *SHORT, "task.hidden=1", "task.selection=last", trials=2)
    assert last.selection["rule"] == "last"


def test_several_search_seeds_choose_for_themselves(toy: Path, tune: Tune) -> None:
    done = tune("scaled=toy/waves", *SHORT, seeds=(0, 1), trials=3)
    assert len(done.swept.selections) == 2
    assert {study.base.replicate for study in done.studies} == {0, 1}
    first, second = (done.swept.trials[study.name] for study in done.studies)
    assert [one.overrides for one in first[1:]] != [one.overrides for one in second[1:]]
    (tuned,) = [one for one in lines(honest(done.store.rows(), sealed(done.store))) if "tuned" in one.method]
    assert tuned.replicates == 2


def test_a_run_that_somebody_asks_for_later_is_scored_then(toy: Path, tune: Tune) -> None:
    from bench.api import carry_out, rows_of
    from bench.execute.options import Options

    done = tune("scaled=toy/waves", *SHORT, trials=3)
    other = next(one for one in done.trials[1:] if one.number != done.selection["winner"])
    runs = plan(["scaled=toy/waves", *SHORT, *other.overrides])
    assert runs[0].key == other.key
    outcome = carry_out(runs, done.store, Access.from_environment(offline=True), Options())
    assert outcome.present == [other.key]
    (row,) = rows_of(done.store, runs)
    assert row["scores"]
    assert row["post_hoc"], "it was a trial, and was not chosen"
    (line,) = lines([row])
    assert line.post_hoc == 1


def test_stores_bring_their_studies(toy: Path, tune: Tune, tmp_path: Path) -> None:
    done = tune("scaled=toy/waves", *SHORT, trials=3, confirm=1)
    other = Store.open(tmp_path / "other")
    other.merge(done.store.path)
    assert other.studies.names() == done.store.studies.names()
    before = lines(honest(done.store.rows(), sealed(done.store)))
    assert lines(honest(other.rows(), sealed(other))) == before
    other.merge(done.store.path)


def test_trials_know_what_they_are() -> None:
    trial = Trial(1, "done", 0.5, ("a.b=1",), "0" * 64, 3, 1.0)
    body = json.loads(json.dumps(trial.__dict__))
    assert Trial.read(body) == trial
    assert replace(trial, number=2) != trial


def test_names_lead_nowhere(tmp_path: Path) -> None:
    names: Sequence[str] = ("../x", "a/b", "", ".hidden", "a\nb")
    for name in names:
        with pytest.raises(UserError, match="no name of a study"):
            Store(tmp_path).studies.folder(name)


def test_the_runs_of_a_study_are_one_group_in_wandb(
    toy: Path, tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.execute.fit
    from bench.execute.logs import make_loggers

    (run,) = plan(["scaled=toy/waves"])
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger: Any = make_loggers(["wandb"], tmp_path / "log", run, "of-one-study")[0]
    assert logger._wandb_init["group"] == "of-one-study"
    groups: list[Any] = []
    make = bench.execute.fit.make_loggers

    def noting(names: Any, folder: Path, run: Any, group: Any = None) -> Any:
        groups.append(group)
        return make(names, folder, run, group)

    monkeypatch.setattr(bench.execute.fit, "make_loggers", noting)
    done = tune("scaled=toy/waves", *SHORT, trials=2, confirm=1)
    assert groups == [done.study.name] * 3
