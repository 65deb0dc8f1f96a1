"""Boards in other places' formats, and the command line of boards."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.boards.build import build
from bench.boards.export import log_to_wandb, model_index
from bench.boards.publish import load
from bench.boards.render import primary
from bench.core.errors import UserError

from ..cli.conftest import Cli, cli
from .conftest import Publish

__all__ = ["cli"]


def test_a_model_card_s_results(board: Path, made: Publish) -> None:
    declared, _ = made(board)
    records, evidence = load(declared)
    found = build(declared, records, evidence)
    text = model_index(found, records, "scaled")
    (model,) = yaml.safe_load(text.strip().strip("-"))["model-index"]
    assert model["name"] == "scaled"
    waves = next(one for one in model["results"] if one["dataset"]["type"] == "toy/waves")
    assert waves["task"]["type"] == "image-classification"
    cell = primary(found, "scaled", waves["dataset"]["name"])
    assert cell is not None
    assert waves["metrics"][0]["value"] == pytest.approx(100 * cell["mean"], abs=1e-3)
    with pytest.raises(UserError, match='Did you mean "scaled"'):
        model_index(found, records, "scalled")


def test_tables_in_wandb(board: Path, made: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    declared, _ = made(board)
    log_to_wandb(declared, build(declared, *load(declared)))
    assert list(Path.cwd().rglob("run-*.wandb"))
    assert list(Path.cwd().rglob("*.table.json"))


def test_the_command_line(
    board: Path, made: Publish, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    made(board)
    said = cli("publish", board, "--no-run", "--offline", "--json")
    assert said.code == 0, said.err
    assert said.json[0]["missing"] == 0
    assert cli("publish", "--all", "--no-run", "--offline").code == 0
    index = (board.parent / "index.html").read_text()
    assert '<a href="toys.html">Toy methods</a>' in index
    assert cli("publish", board, "--check").code == 0
    (board.parent / "toys.tex").write_text("changed")
    wrong = cli("publish", board, "--check")
    assert wrong.code == 1
    assert "toys.tex is not what the records give" in wrong.err
    assert "model-index:" in cli("publish", board, "--model-index", "all").out
    compared = cli("compare", "all", "scaled", "toy/waves", "--json")
    assert compared.json[0]["seeds"] == 3
    assert "needed" in cli("compare", "all", "scaled").out
    assert cli("power", "toy/waves", "--detect", "20", "--json").json[0]["pairs"] == 3
    assert "18 of 18 records are sound" in cli("verify", board.with_name("toys.records.jsonl")).out
    key = load_key(board)
    again = cli("reproduce", key, "--records", board.with_name("toys.records.jsonl"), "--offline")
    assert "The same to the last bit." in again.out
    assert cli("reproduce", key, "--offline").code == 0, "from the store alone"
    assert cli("submit", "pack", board, tmp_path / "pack.zip").code == 0
    assert "18 of 18 verified" in cli("submit", "check", tmp_path / "pack.zip").out
    assert "0 records joined" in cli("submit", "join", tmp_path / "pack.zip", board).out
    assert "Toy methods." in cli("cite", board).out


def load_key(board: Path) -> str:
    from bench.boards.declare import read_board

    records, _ = load(read_board(board))
    return str(records[0]["key"])[:16]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish"], "no board to publish"),
        (["publish", "nowhere.yaml"], "cannot be read"),
        (["publish", "--all"], "leaderboards/ holds none"),
        (["compare", "all", "scaled"], "No run in"),
        (["power", "toy/waves", "--detect", "0"], "expected more than 0 points"),
        (["verify", "nowhere.jsonl"], "cannot be read"),
        (["reproduce", "abc"], "No run in"),
        (["cite", "nowhere.yaml"], "cannot be read"),
        (["submit", "check", "nowhere.zip"], "cannot be read as a pack"),
    ],
)
def test_mistakes_are_one_sentence(
    toy: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "none"))
    found = cli(*arguments)
    assert said in found.complaint
