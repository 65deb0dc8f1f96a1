"""`bench sweep` as a person types it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.store import Store

from .conftest import SHORT, Cli

# So many steps that three trials differ, and there is something to explain.
STEPS = ("task.budget.steps=4", "task.budget.validations=1")
SWEEP = ("sweep", "scaled=toy/waves", *STEPS, "--trials", "3", "--offline", "--log", "none")


@pytest.fixture
def place(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "mine"))
    return tmp_path / "mine"


def test_a_sweep_from_beginning_to_end(cli: Cli, place: Path, tmp_path: Path) -> None:
    said = cli(*SWEEP, "--confirm-seeds", "2", "--json")
    assert said.code == 0, said.err
    search, result = said.json
    assert search["planned"] == 3
    assert search["sealed"]
    assert search["spent"]["steps"] == 12
    assert result["method"] == "scaled (tuned: 3 trials, tpe)"
    assert result["seeds"] == 2
    assert result["half"] is not None
    assert "3 of 3 trials" in said.err

    again = cli(*SWEEP, "--confirm-seeds", "2", "--json")
    assert again.json == said.json, "nothing is run again"
    assert ": 4 steps" not in again.err

    table = cli("table", "--json").json
    table = [line for line in table if line["method"] != "scaled"]  # the declared parameters, where they were chosen
    assert [line["method"] for line in table] == ["scaled (tuned: 3 trials, tpe)"]
    status = cli("status").out
    assert "of a search" in status

    text = cli(*SWEEP, "--curve").out
    assert "Budget curve" in text
    opened = cli(*SWEEP, "--open-test", "--json").json
    assert sum(bool(row.get("post_hoc")) for row in opened) in (1, 2), "all but the chosen and the declared ones"
    shown = cli("table", "--json").json
    assert [line for line in shown if "tuned" in line["method"]] == table, "what was opened afterwards is no result"
    assert {line["method"] for line in shown} <= {"scaled", "scaled (tuned: 3 trials, tpe)"}

    drawn = cli(*SWEEP, "--plot", tmp_path / "pictures")
    assert drawn.code == 0, drawn.err
    names = sorted(path.name for path in (tmp_path / "pictures").rglob("*.*") if path.is_file())
    assert names == ["budget-curve.png", "history.png", "importance.png", "parallel-coordinates.png", "study.html"]
    page = next((tmp_path / "pictures").rglob("study.html")).read_text()
    assert "scaled = toy/waves" in page
    assert "<script src" not in page
    assert "<link" not in page
    for picture in (tmp_path / "pictures").rglob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_few_words_in_python(place: Path) -> None:
    rows = bench.sweep("scaled=toy/waves", *SHORT, trials=2, confirm_seeds=1, offline=True, log=["none"])
    assert [row["replicate"] for row in rows] == [1]
    assert "tuned: 2 trials" in repr(rows)
    with pytest.raises(bench.UserError, match="--sampler"):
        bench.sweep("scaled=toy/waves", sampler="tpee")


def test_afterwards_nothing_is_made(cli: Cli, place: Path) -> None:
    said = cli(*SWEEP, "--curve")
    assert "No search of scaled = toy/waves" in said.complaint
    assert not place.exists()


def test_other_options_are_another_search(cli: Cli, place: Path) -> None:
    assert cli(*SWEEP, "--confirm-seeds", "0").code == 0
    said = cli(*SWEEP, "--sampler", "random", "--curve").complaint
    assert "There are searches of it with: trials 3, sampler tpe, sampler_seed 0, replicate 0." in said


def test_ctrl_c_and_the_same_command_again(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.search.trial

    carry, count = bench.search.trial.carry_out, [0]

    def stopping(*given: Any) -> Any:
        count[0] += 1
        if count[0] == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return carry(*given)

    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread alone")
    monkeypatch.setattr("bench.search.sweep.carry_out", stopping)
    said = cli(*SWEEP)
    assert said.code == 130
    assert "goes on from there" in said.err
    (name,) = Store(place).studies.names()
    assert Store(place).studies.selection(name) is None
    monkeypatch.undo()
    monkeypatch.chdir(place.parent / "toy")
    monkeypatch.setenv("BENCH_STORE", str(place))
    monkeypatch.setenv("BENCH_CACHE", str(place.parent / "cache"))
    assert cli(*SWEEP, "--confirm-seeds", "0").code == 0
    assert len((Store(place).studies.selection(name) or {})["trials"]) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["scaled=toy/waves", "--sampler", "tpee"], "--sampler is 'tpee'; expected one of tpe, random"),
        (["scaled=toy/waves", "--pruner", "medain"], 'Did you mean "median"?'),
        (["scaled=toy/waves", "--trials", "0"], "--trials is 0; expected at least 1"),
        (["scaled=toy/waves", "--seconds", "0"], "--seconds is 0; expected more than 0."),
        (["scaled=toy/waves", "--confirm-seeds", "-1"], "--confirm-seeds is -1; expected 0 to 1000."),
        (["scaled=toy/waves", "--storage", "nowhere"], "--storage is no address"),
        (["scaled=toy/waves", "--storage", "postgresql://me:secret@localhost:1/x"], "The study cannot be kept in"),
        (["scaled=toy/waves", "task.splits.val=null", "task.selection=last"], "has no validation rows"),
        (["scaled=odd/places", "task.selection=leave-one-domain-out", "--pruner", "asha"], "none of them is pruned"),
        (["scaled=odd/places", "--folds", "nowhere"], "has no fold 'nowhere'"),
        (["scaled=toy/waves", "optimizer.lrr=1"], 'Did you mean "optimizer.lr"?'),
        (["scaled=toy/waves", "--open-test"], "No search of"),
    ],
)
def test_mistakes_are_one_sentence(cli: Cli, empty: Path, arguments: list[str], expected: str) -> None:
    said = cli("sweep", *arguments)
    complaint = said.complaint if said.code == 2 and len(said.err.splitlines()) == 1 else said.err
    assert said.code == 2
    assert expected in complaint
    assert "secret" not in said.err
    assert "Traceback" not in said.err
