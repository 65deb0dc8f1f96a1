"""`bench run`: the grid, seeds, retries, loggers, --debug, and what its exit code says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.cli.commands.run import MOST_SEEDS, seed_list
from bench.core.errors import UserError
from bench.store import Store

from .conftest import SHORT, Cli, key_of


def tree(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", [0]),
        ("3", [0, 1, 2]),
        ("3,7", [3, 7]),
        ("4,", [4]),
        ("0,", [0]),
        (" 2 , 2,1", [2, 1]),
        ("007", [*range(7)]),
    ],
)
def test_seeds(text: str, expected: list[int]) -> None:
    assert seed_list(text) == expected


@pytest.mark.parametrize("text", ["", ",", "0", "-1", "1,-2", "two", "1.5", "3;4", "1 2", str(MOST_SEEDS + 1), "1e9"])
def test_seeds_that_mean_nothing(text: str) -> None:
    with pytest.raises(UserError, match="--seeds is"):
        seed_list(text)


def test_a_grid_and_its_second_time(cli: Cli, empty: Path, tmp_path: Path) -> None:
    store = tmp_path / "grid"
    arguments = ("run", "all,scaled=toy/*", *SHORT, "--seeds", "3,5", "--store", store)
    said = cli(*arguments)
    assert said.code == 0, said.err
    assert "±" in said.out
    rows = Store(store).rows()
    assert len(rows) == 8
    assert {row["replicate"] for row in rows} == {3, 5}
    before = tree(store / "runs")
    said = cli(*arguments, "--json")
    assert said.code == 0
    assert said.err == ""  # nothing was loaded, nothing is waited for
    assert {(row["method"], row["task"].split()[0], row["seeds"]) for row in said.json} == {
        (method, task, 2) for method in ("all", "scaled") for task in ("toy/waves", "toy/angle")
    }
    assert tree(store / "runs") == before


def test_what_is_printed_for_a_program_is_json_alone(cli: Cli, empty: Path, tmp_path: Path) -> None:
    said = cli("run", "all=toy/waves", *SHORT, "--json", "--store", tmp_path / "store")
    assert said.code == 0
    assert said.json[0]["cost"]["steps"] == 2
    assert "GPU available" not in said.err + said.out
    assert "litlogger" not in said.err + said.out
    assert "Warning" not in said.err


def test_a_failure_is_told_and_kept_and_tried_again_on_demand(cli: Cli, empty: Path, toy: Path, tmp_path: Path) -> None:
    arguments = ("run", "broken,all=toy/waves", "--store", tmp_path / "store")
    said = cli(*arguments)
    assert said.code == 1
    assert "failed: broken = toy/waves seed 0: RuntimeError: the third step went wrong" in said.err
    assert "--retry failed" in said.err
    store = Store(tmp_path / "store")
    key = key_of(store, "broken", "failed")
    assert f"bench show {key[:12]}" in said.err
    attempts = store.path / "runs" / key[:2] / key
    assert cli(*arguments).code == 1
    assert len(list(attempts.glob("attempt-*"))) == 1
    again = cli(*arguments, "--retry", "failed")
    assert again.code == 1
    assert len(list(attempts.glob("attempt-*"))) == 2
    rows = {row["method"]: row for row in cli(*arguments, "--json").json}
    assert rows["broken"]["states"] == {"failed": 1}


@pytest.mark.parametrize("method", ["all", "broken"])
def test_debug_leaves_nothing_behind(
    cli: Cli, empty: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Two steps of a method that fails at its third, even."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    cli("run", f"{method}=toy/waves", "--debug")  # the cache now holds the data
    before = tree(toy)
    said = cli("run", f"{method}=toy/waves", "--debug", "--log", "csv,tensorboard")
    assert said.code == 0
    assert "two steps done" in said.err
    assert "not recorded" in said.err
    assert not empty.exists()
    assert tree(toy) == before
    assert not list((tmp_path / "temporary").iterdir())


def test_debug_shows_the_traceback_of_a_method(cli: Cli, empty: Path, toy: Path) -> None:
    script = toy / "methods" / "kinds" / "broken.py"
    script.write_text(script.read_text().replace("batch.step == 2", "batch.step == 1"))
    with pytest.raises(RuntimeError, match="the third step went wrong"):
        cli("run", "broken=toy/waves", "--debug")
    assert not empty.exists()


@pytest.mark.parametrize(
    ("log", "pattern"),
    [
        ("csv", "metrics.csv"),
        ("tensorboard", "events.out.tfevents.*"),
        ("csv, tensorboard", "events.out.tfevents.*"),
        ("wandb", "run-*.wandb"),
    ],
)
def test_log(cli: Cli, empty: Path, tmp_path: Path, log: str, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    said = cli("run", "all=toy/waves", *SHORT, "--log", log, "--store", tmp_path / "store")
    assert said.code == 0, said.err
    store = Store(tmp_path / "store")
    folder = store.folder(key_of(store, "all"))
    assert folder is not None
    assert list((folder / "log").rglob(pattern))


def test_log_none(cli: Cli, empty: Path, tmp_path: Path) -> None:
    assert cli("run", "all=toy/waves", *SHORT, "--log", "none", "--store", tmp_path / "store").code == 0
    store = Store(tmp_path / "store")
    assert not (store.folder(key_of(store, "all")) / "log").exists()  # type: ignore[operator]


def test_how_a_run_is_executed_does_not_change_its_key(cli: Cli, empty: Path, tmp_path: Path) -> None:
    arguments = ("run", "all=toy/waves", *SHORT, "--store", tmp_path / "store")
    assert cli(*arguments, "--micro-batch", "3", "--threads", "1", "--device", "cpu").code == 0
    said = cli(*arguments, "--workers", "1", "--device", "auto", "--log", "none")
    assert (said.code, said.err) == (0, "")
    assert len(Store(tmp_path / "store").rows()) == 1


def test_twin(cli: Cli, empty: Path, tmp_path: Path) -> None:
    said = cli("run", "lora=glue/rte", "--twin", *SHORT, "--offline", "--store", tmp_path / "store")
    assert said.code == 0, said.err
    assert "twin" in said.out
    assert "provisional" in said.out


def test_the_store_is_beside_the_person_unless_said_otherwise(
    cli: Cli, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "BENCH_STORE" not in os.environ
    assert cli("run", "all=toy/waves", *SHORT).code == 0
    assert len(Store(toy / "bench-store").rows()) == 1
