"""What a board's numbers rest on can be looked at by others: verify, reproduce, submit."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bench.boards.build import build
from bench.boards.cite import citations
from bench.boards.declare import read_board
from bench.boards.packs import check, join, pack
from bench.boards.publish import load, write
from bench.boards.reproduce import reproduce
from bench.boards.verify import AGREES, DIFFERS, NONE, verify
from bench.core.errors import UserError
from bench.data.access import Access
from bench.execute.options import Options
from bench.execute.progress import Silent
from bench.store import Store

from .conftest import Publish


@pytest.fixture
def access() -> Access:
    return Access.from_environment(offline=True)


def test_records_of_a_sound_board_verify(board: Path, made: Publish, tmp_path: Path, access: Access) -> None:
    declared, _ = made(board)
    records = declared.beside("records.jsonl")
    found = verify(records, Store(tmp_path / "store"), access)
    assert len(found) == 18
    assert {one.key for one in found} == {one.predictions for one in found} == {AGREES}
    assert {one.evidence for one in found} == {AGREES, NONE}, "correlations have no items"
    without = verify(records, None, access)
    assert {one.predictions for one in without} == {NONE}
    assert all(one.sound for one in without)


def spoil(board: Any, change: Any) -> None:
    records, evidence = load(board)
    change(records)
    write(board, records, evidence)


def test_tampering_is_found(board: Path, made: Publish, tmp_path: Path, access: Access) -> None:
    declared, _ = made(board)
    store = Store(tmp_path / "store")

    def better(records: Any) -> None:
        one = next(one for one in records if one["task"].startswith("toy/waves"))
        one["scores"] = {name: value + 0.01 for name, value in one["scores"].items()}

    spoil(declared, better)
    found = verify(declared.beside("records.jsonl"), store, access)
    (wrong,) = [one for one in found if not one.sound]
    assert (wrong.key, wrong.evidence, wrong.predictions) == (AGREES, DIFFERS, DIFFERS)

    def other(records: Any) -> None:
        records[0]["spec"]["method"]["optimizer"]["lr"] = 0.5

    made(board)
    spoil(declared, other)
    found = [one for one in verify(declared.beside("records.jsonl"), None, access) if not one.sound]
    assert found, "every record that shares this part of a spec"
    assert {one.key for one in found} == {DIFFERS}


def test_a_row_is_run_again_from_its_record(board: Path, made: Publish, toy: Path, access: Access) -> None:
    declared, _ = made(board)
    records, _ = load(declared)
    record = next(one for one in records if "optimizer.lr=0.1" in one["typed"])
    options = Options(log=("none",))
    found = reproduce(record, access, options, Silent())
    assert found.recorded == found.found
    assert found.changed == []
    scaled = toy / "methods" / "kinds" / "scaled.yaml"
    scaled.write_text(scaled.read_text().replace("start: 1.0", "start: 0.5"))
    with pytest.raises(UserError, match="would be another run today: method.adaptation.params.start changed"):
        reproduce(record, access, options, Silent())
    again = reproduce(record, access, options, Silent(), anyway=True)
    assert again.changed == ["method.adaptation.params.start"]


def test_a_pack_is_checked_and_joins(board: Path, made: Publish, tmp_path: Path, access: Access) -> None:
    declared, _ = made(board)
    theirs = tmp_path / "theirs.zip"
    assert pack(declared, Store(tmp_path / "store"), theirs) == 18
    before = theirs.read_bytes()
    pack(declared, Store(tmp_path / "store"), theirs)
    assert theirs.read_bytes() == before, "the same to the byte"
    found = check(theirs, access)
    assert {one.standing for one in found} == {"verified"}

    board.write_text(board.read_text().replace('[all, scaled, "scaled optimizer.lr=0.1"]', "[all]"))
    ours, _ = made(board)
    records, evidence = load(ours)
    write(ours, [one for one in records if one["method"] == "all"], evidence)
    assert join(found, ours) == 12
    declared, published = made(board)
    assert published.stale == 0
    board_now = build(declared, *load(declared))
    marks = {cell["method"]: cell["marks"] for cell in board_now["cells"]}
    assert "verified" in marks["scaled"]
    assert "verified" not in marks["all"]
    assert join(found, ours) == 0, "it is there already"


def test_what_cannot_be_checked_is_reported(board: Path, made: Publish, tmp_path: Path, access: Access) -> None:
    declared, _ = made(board)

    def better(records: Any) -> None:
        for one in records:
            one["scores"] = {name: value + 0.01 for name, value in one["scores"].items()}

    spoil(declared, better)
    theirs = tmp_path / "theirs.zip"
    pack(declared, Store(tmp_path / "store"), theirs)
    found = check(theirs, access)
    assert {one.standing for one in found} == {"reported"}
    assert all("its predictions give" in one.note for one in found)
    pack(declared, Store(tmp_path / "empty"), theirs)
    assert {one.note for one in check(theirs, access)} == {"it came without predictions"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.py", "which no pack does"),
        ("predictions/x/best.test.safetensors", "which no pack does"),
        ("run.pkl", "no pack"),
    ],
)
def test_a_pack_holds_nothing_else(tmp_path: Path, access: Access, name: str, said: str) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr("records.jsonl", json.dumps({"schema": 1}) + "\n")
        file.writestr(name, b"x")
    with pytest.raises(UserError, match=said):
        check(tmp_path / "evil.zip", access)
    assert not (tmp_path.parent / "evil.py").exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("selection", "candidate"), "../../../etc/passwd"),
        (("data", "rows"), {"test/../../x": 3}),
        (("data", "digest"), "../../.."),
        (("scores", "score"), "high"),
        (("request", "method"), 3),
        (("request",), None),
        (("fold",), 7),
        (("typed",), [1]),
    ],
)
def test_received_records_lead_nowhere(
    board: Path, made: Publish, tmp_path: Path, access: Access, place: tuple[str, ...], value: Any
) -> None:
    declared, _ = made(board)

    def spoiling(records: Any) -> None:
        where = records[0]
        for name in place[:-1]:
            where = where[name]
        where[place[-1]] = value

    spoil(declared, spoiling)
    pack_file = tmp_path / "evil.zip"
    with zipfile.ZipFile(pack_file, "w") as file:
        file.writestr("records.jsonl", declared.beside("records.jsonl").read_bytes())
        evidence = next(board.parent.glob("*.evidence.zip"))
        file.writestr("evidence.zip", evidence.read_bytes())
    with pytest.raises(UserError, match="is not in the form of one|a record needs"):
        check(pack_file, access)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all"])
def test_what_is_no_pack_is_a_sentence(tmp_path: Path, access: Access, content: bytes) -> None:
    (tmp_path / "evil.zip").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a pack"):
        check(tmp_path / "evil.zip", access)


def test_citations(board: Path, made: Publish) -> None:
    declared, _ = made(board)
    first, *_ = citations(read_board(board))
    assert first.startswith("Toy methods. Leaderboard toys, 18 records (sha256 ")
    assert declared.name == "toys"


def test_predictions_made_elsewhere(board: Path, made: Publish, tmp_path: Path, access: Access) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    from bench.boards.imports import imported
    from bench.boards.packs import add

    board.write_text(board.read_text().replace("overrides: [task.budget.epochs=1, task.budget.validations=1]", ""))
    declared, _ = made(board)
    records, _ = load(declared)
    ours = next(one for one in records if one["method"] == "all" and one["task"] == "toy/waves")
    folder = Store(tmp_path / "store").folder(ours["key"])
    assert folder is not None
    found = load_file(folder / "predictions" / f"{ours['selection']['candidate']}.test.safetensors")
    shuffled = np.random.default_rng(0).permutation(len(found["ids"]))
    save_file(
        {name: np.ascontiguousarray(values[shuffled]) for name, values in found.items()}, tmp_path / "x.safetensors"
    )
    record, evidence = imported(tmp_path / "x.safetensors", "theirs", "toy/waves", 0, None, access)
    assert record["scores"] == ours["scores"]
    assert record["evidence"] == ours["evidence"], "the same rows, in the same order"
    assert add(declared, [record], evidence) == 1
    declared, published = made(board)
    built = build(declared, *load(declared))
    (cell,) = [one for one in built["cells"] if one["method"] == "theirs"]
    assert cell["marks"] == ["imported"]
    assert cell["mean"] == pytest.approx(ours["scores"]["accuracy"])
    assert published.stale == 0
    assert all(one.sound for one in verify(declared.beside("records.jsonl"), None, access))
    save_file({**found, "ids": found["ids"] + 1}, tmp_path / "y.safetensors")
    with pytest.raises(UserError, match="not of the 96 test rows"):
        imported(tmp_path / "y.safetensors", "theirs", "toy/waves", 1, None, access)
    save_file({"ids": found["ids"]}, tmp_path / "z.safetensors")
    with pytest.raises(UserError, match="needs ids and logits"):
        imported(tmp_path / "z.safetensors", "theirs", "toy/waves", 1, None, access)
