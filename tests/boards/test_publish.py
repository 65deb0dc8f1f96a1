"""Boards from declaration to tables, and back from records alone."""

from __future__ import annotations

import csv
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.boards.build import build
from bench.boards.declare import read_board
from bench.boards.evidence import digest_of, read_evidence, write_evidence
from bench.boards.publish import check, load
from bench.boards.records import read_records, write_records
from bench.boards.render import latex, markdown, primary, texts
from bench.core.canonical import digest
from bench.core.errors import UserError

from .conftest import Publish

ENDINGS = ("md", "csv", "tex", "html")


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.parent.iterdir())}


def test_a_board_is_built_from_its_records_alone(board: Path, made: Publish, tmp_path: Path) -> None:
    _declared, published = made(board)
    assert published.records == 3 * 2 * 3
    assert published.missing == published.stale == 0
    assert {file.name for file in published.files} >= {f"toys.{ending}" for ending in ENDINGS}
    assert check(board, tmp_path / "cache") == []
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(board.parent, elsewhere)
    assert check(elsewhere / "toys.yaml", tmp_path / "other-cache") == [], "no store is needed"
    (elsewhere / "toys.md").write_text((elsewhere / "toys.md").read_text().replace("toy/waves", "toy/wave"))
    (wrong,) = check(elsewhere / "toys.yaml", tmp_path / "cache")
    assert "toys.md is not what the records give" in wrong


def test_twice_is_the_same_to_the_byte(board: Path, made: Publish) -> None:
    made(board)
    before = contents(board)
    made(board)
    assert contents(board) == before
    shutil.rmtree(Path.cwd().parent / "cache", ignore_errors=True)
    made(board, no_run=True)
    assert contents(board) == before


def test_cells_say_what_is_known(board: Path, made: Publish) -> None:
    declared, _ = made(board)
    records, evidence = load(declared)
    found = build(declared, records, evidence)
    assert [task["primary"] for task in found["tasks"]] == ["score", "accuracy"]
    cell = primary(found, "all", "toy/waves budget.epochs=1 budget.validations=1")
    assert cell is not None
    own = [one for one in records if one["key"] in cell["keys"]]
    assert cell["mean"] == pytest.approx(np.mean([one["scores"]["accuracy"] for one in own]))
    assert (cell["basis"], cell["note"]) == ("new seeds and new test items", "")
    assert cell["seeds"] == 3
    assert cell["low"] < cell["mean"] < cell["high"]
    angle = primary(found, "all", "toy/angle budget.epochs=1 budget.validations=1")
    assert angle is not None
    assert angle["note"] == "Interval: new seeds, the same test items.", "a correlation is no mean over rows"
    assert any(one["best"] for one in found["cells"])
    overall = {one["method"]: one for one in found["overall"] if one["normalisation"] == "none"}
    assert set(overall) == {"all", "scaled", "scaled optimizer.lr=0.1"}
    assert overall["all"]["mean"] == pytest.approx((cell["mean"] + angle["mean"]) / 2)
    minmax = [one["mean"] for one in found["overall"] if one["normalisation"] == "minmax"]
    assert min(minmax) >= 0
    assert max(minmax) <= 1
    baseline = {one["method"]: one["mean"] for one in found["overall"] if one["normalisation"] == "baseline"}
    assert baseline["all"] == 0
    (distance,) = found["critical_difference"]
    assert distance["tasks"] == 2


def test_evidence_means_are_the_scores(board: Path, made: Publish) -> None:
    declared, _ = made(board)
    records, evidence = load(declared)
    seen = 0
    for one in records:
        for name in one["evidence"].values():
            assert evidence[name].mean() == pytest.approx(one["scores"]["score"], abs=1e-12)
            seen += 1
    assert seen == 9


def test_records_are_small_and_hold_no_path_or_host(board: Path, made: Publish, tmp_path: Path) -> None:
    import socket

    declared, _ = made(board)
    text = declared.beside("records.jsonl").read_text()
    assert str(tmp_path) not in text
    assert socket.gethostname() not in text
    assert len(text) / 18 < 2500
    records = read_records(declared.beside("records.jsonl")).records
    assert all(digest(one["spec"]) == one["key"] for one in records)
    first = next(json.loads(line) for line in text.splitlines())
    assert first["schema"] == 1


def test_one_seed_prints_no_interval(board: Path, made: Publish) -> None:
    board.write_text(board.read_text().replace("seeds: 3", "seeds: 1"))
    declared, _ = made(board)
    text = declared.beside("md").read_text()
    assert "±" not in text.split("\n\n")[2]
    found = build(declared, *load(declared))
    assert all(cell["low"] is None for cell in found["cells"])
    assert all(cell["rank"] in ([1, 3], None) for cell in found["cells"]), "nothing is told apart"


def test_missing_and_failed_cells_are_stated(board: Path, made: Publish) -> None:
    board.write_text(board.read_text().replace("[all, scaled,", "[all, broken, scaled,"))
    declared, published = made(board)
    text = declared.beside("md").read_text()
    assert "| broken | failed | failed | - | - |" in text
    assert "A method without a result on a task is in no average." in text
    assert "Failed: broken on" in text
    assert published.missing == 6
    board.write_text(board.read_text() + "missing: worst\n")
    declared, _ = made(board, no_run=True)
    assert "counts as the worst" in declared.beside("md").read_text()


def test_stale_records_stay_until_they_are_made_anew(board: Path, made: Publish, toy: Path) -> None:
    made(board)
    scaled = toy / "methods" / "kinds" / "scaled.py"
    scaled.write_text(scaled.read_text().replace("self.scale[:, None] * ", "1.0 * self.scale[:, None] * "))
    assert "1.0 * " in scaled.read_text()
    declared, published = made(board, store="another", no_run=True)
    assert published.missing == 12
    assert published.stale == 12, "all of one method's and its variant's; the other's keys are what they were"
    found = build(declared, *load(declared))
    assert {"stale" in cell["marks"] for cell in found["cells"] if cell["method"] == "scaled"} == {True}
    assert not any("stale" in cell["marks"] for cell in found["cells"] if cell["method"] == "all")
    _, anew = made(board, store="another")
    assert (anew.missing, anew.stale) == (0, 0)


def test_tuned_boards(board: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.cli.main import main

    board.write_text(
        "title: Tuned\nmethods: [scaled, all]\ntasks: [toy/waves]\noverrides: [task.budget.epochs=1]\nseeds: 2\n"
        "tune: {trials: 3, sampler: random}\n"
    )
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    with pytest.raises(SystemExit) as ended:
        main(["publish", str(board), "--offline", "--log", "none"])
    assert ended.value.code == 0
    declared = read_board(board)
    records, _evidence = load(declared)
    assert {one["replicate"] for one in records} == {1, 2}, "never the seed of the search"
    tuned = next(one["tuned"] for one in records if one["method"].startswith("scaled"))
    assert tuned["spent"]["trials"] == 3
    text = declared.beside("md").read_text()
    assert "Methods are tuned: 3 trials each (random), chosen on validation rows" in text
    assert check(board, tmp_path / "cache") == []


def test_tasks_of_several_rules_and_units_share_a_board(board: Path, made: Publish) -> None:
    board.write_text(
        "title: Mixed\nmethods: [all, scaled]\ntasks: [toy/waves, odd/places, odd/kinds]\n"
        "overrides: [task.budget.epochs=1, task.budget.validations=1]\nseeds: 2\n"
    )
    declared, _ = made(board)
    text = declared.beside("md").read_text()
    assert "missing" not in text
    assert "the last one counts" in text
    found = build(declared, *load(declared))
    assert [rule["name"] for rule in found["rules"]] == ["declared", "oracle"]
    rules = {cell["task"].partition(" ")[0]: set() for cell in found["cells"]}
    for cell in found["cells"]:
        rules[cell["task"].partition(" ")[0]].add(cell["rule"])
    assert rules == {"toy/waves": {"declared"}, "odd/places": {"declared", "oracle"}, "odd/kinds": {"declared"}}


def test_a_metric_in_pixels_is_no_percentage(board: Path, made: Publish) -> None:
    declared, _ = made(board)
    found = build(declared, *load(declared))
    for task in found["tasks"]:
        for metric in task["metrics"]:
            metric["unit"] = "px"
    cell = primary(found, "all", found["tasks"][1]["name"])
    assert cell is not None
    assert f"{cell['mean']:.2f} ± " in markdown(found)


def test_trials_of_a_search_are_no_results_of_a_board(
    board: Path, made: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method whose very parameters were a trial: not scored it is missing, scored afterwards it says so."""
    from bench.api import sealed
    from bench.cli.main import main

    budget = "task.budget.epochs=1"
    sweep = ["sweep", "scaled=toy/waves", budget, "--trials", "3", "--sampler", "random", "--confirm-seeds", "0"]
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    with pytest.raises(SystemExit):
        main([*sweep, "--offline", "--log", "none"])
    from bench.store import Store

    (study,) = sealed(Store(tmp_path / "store"))
    other = next(one for one in study.selection["trials"] if one["overrides"] and one["key"] != study.selection["key"])
    board.write_text(
        f"title: Trials\nmethods: ['scaled {other['overrides'][0]}']\ntasks: [toy/waves]\noverrides: [{budget}]\n"
        "seeds: 1\n"
    )
    declared, published = made(board, no_run=True)
    assert (published.records, published.missing) == (0, 1)
    declared, published = made(board)
    assert published.missing == 0
    found = build(declared, *load(declared))
    assert {tuple(cell["marks"]) for cell in found["cells"]} <= {("post hoc",), ("provisional", "post hoc")}


def test_reported_numbers_stand_apart(board: Path, made: Publish) -> None:
    board.write_text(
        board.read_text()
        + "reported:\n- {method: theirs, task: toy/waves budget.epochs=1 budget.validations=1, value: 0.99, "
        "citation: 'Them. 2020.', protocol: other splits}\n"
    )
    declared, _ = made(board)
    text = declared.beside("md").read_text()
    assert "99.0*" in text
    assert "compared with nothing" in text
    found = build(declared, *load(declared))
    theirs = [cell for cell in found["cells"] if cell["method"] == "theirs"]
    assert [cell["best"] for cell in theirs] == [False]


EVIL = (
    "<script>alert(1)</script>",
    "=cmd()|' /C calc'!A0",
    r"\input{/etc/passwd} $x_1$ & 50%",
    "\u202eevil\u202c",
    "a|b`c*",
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append(tag)


@pytest.mark.parametrize("evil", EVIL)
def test_every_string_is_inert_in_every_format(board: Path, made: Publish, evil: str) -> None:
    declared, _ = made(board)
    records, evidence = load(declared)
    plain = build(declared, records, evidence)
    tags = Tags()
    tags.feed(texts(plain)["html"])
    for one in records:
        one["request"]["method"] = one["request"]["method"].replace("scaled", evil)
        one["request"]["task"] += evil
    spoilt = type(declared)(declared.name, declared.path, {**declared.body, "title": evil, "caption": evil})
    found = build(spoilt, records, evidence)
    written = texts(found)
    after = Tags()
    after.feed(written["html"])
    assert after.found.count("script") == tags.found.count("script")
    for ending, text in written.items():
        assert "\u202e" not in text, ending
    assert "<script>alert" not in written["md"]
    assert "<script>alert" not in written["html"]
    rows = list(csv.reader(written["csv"].splitlines()))
    assert {len(row) for row in rows} == {14}
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)
    assert r"\input" not in latex(found)
    table = [line for line in markdown(found).splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1, "no name makes a column"


def test_damaged_records_are_refused(board: Path, made: Publish) -> None:
    declared, _ = made(board)
    path = declared.beside("records.jsonl")
    text = path.read_text()
    for spoilt, said in (
        (text.replace('"schema":1', '"schema":9'), "schema is 9"),
        (text.replace('"value":{', '"value":{"more":1,', 1), "is not what its name says"),
        (text + "{\n", "expected a JSON object"),
        ("\n".join(line for line in text.splitlines() if '"part"' not in line), "is missing"),
        (text.replace('.evidence.zip"', '.evidence.zip/../x"'), "expected the name of a file"),
    ):
        path.write_text(spoilt)
        with pytest.raises(UserError, match=said):
            load(declared)
    path.write_text(text)
    file = next(declared.path.parent.glob("*.zip"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read as evidence"):
        load(declared)


def test_evidence_keeps_every_value(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    arrays = {"a1": drawn.integers(0, 2, 77).astype(float), "b2": drawn.random(31), "c3": np.ones(8)}
    write_evidence(tmp_path / "one.zip", arrays)
    write_evidence(tmp_path / "two.zip", dict(reversed(arrays.items())))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    found = read_evidence(tmp_path / "one.zip")
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
    assert digest_of(arrays["b2"]) != digest_of(arrays["b2"][::-1])


def test_records_survive_a_round_trip(tmp_path: Path, board: Path, made: Publish) -> None:
    declared, _ = made(board)
    kept = read_records(declared.beside("records.jsonl"))
    write_records(tmp_path / "again.jsonl", reversed(kept.records), kept.evidence)
    assert (tmp_path / "again.jsonl").read_bytes() == declared.beside("records.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: x\nmethods: [all]\n", "tasks"),
        ("title: x\nmethods: [all]\ntasks: [toy/waves]\nmetods: 1\n", 'Did you mean "methods"'),
        ("title: x\nmethods: ['all=toy/waves']\ntasks: [toy/waves]\n", "expected NAME"),
        ("title: x\nmethods: [all]\ntasks: [toy/waves]\ninterval: cros\n", "crossed"),
        ("title: x\nmethods: [all]\ntasks: [toy/waves]\nseeds: 0\n", "at least 1"),
    ],
)
def test_mistakes_in_a_declaration_are_sentences(board: Path, text: str, said: str) -> None:
    board.write_text(text)
    with pytest.raises(UserError, match=said):
        read_board(board)
