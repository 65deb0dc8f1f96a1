"""`bench data prepare` and `bench check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Cli


def test_data_are_prepared_once_for_all_folds(
    cli: Cli, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    said = cli("data", "prepare", "odd/places", "toy/waves", "--json")
    assert said.code == 0, said.err
    places, waves = said.json
    assert (places["folds"], waves["folds"]) == (4, 1)
    assert waves["rows"] == {"train": 72, "val": 24, "test": 96}
    assert places["rows"] == {"train": 96, "val": 24, "test": 32, "target-val": 8}
    assert len(list((tmp_path / "cache/inputs").iterdir())) == 2, "the folds of a task share their inputs"
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert cli("data", "prepare", "odd/places", "toy/waves").code == 0
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert again == files, "what is there is kept"
    assert "4 folds, the first shown" in cli("data", "prepare", "odd/places").out


def test_mistakes_of_data(cli: Cli, toy: Path) -> None:
    assert "No declared task matches 'toy/wavs'. Did you mean" in cli("data", "prepare", "toy/wavs").complaint
    assert "No task is named" in cli("data", "prepare", "task.image.size=8").complaint
    (toy / "tasks/toy/waves.yaml").write_text("title: x\nclasses: [a, b]\nmetric: accuracy\n")
    said = cli("data", "prepare", "toy/waves", "odd/places")
    assert said.code == 2
    assert "labels run from 0 to 2; the task declares 2" in said.out
    assert "4 folds" in said.out, "the others are prepared all the same"


def test_a_check_says_what_is_wrong_with_each_task(cli: Cli, toy: Path) -> None:
    (toy / "tasks/toy/angle.yaml").write_text("title: x\nproblem: image-regression\nrange: [0, 1]\nmetric: f1\n")
    said = cli("check", "toy/angle", "toy/waves", "--json", "--method", "all")
    assert said.code == 1
    wrong, right = said.json
    assert "the metric f1 is not for this image-regression task" in wrong["error"]
    assert (right["error"], right["metrics"], right["data"]) == ("", 1, "generator")
    assert 0 <= right["score"] <= 1
    assert "1 of 2 tasks in 1 families passed" in cli("check", "toy/angle", "toy/waves", "-m", "all").out
