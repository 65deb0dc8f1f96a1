"""The index: always what the folders say, whatever happens to its file."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.store import Store, index
from bench.store import store as store_module
from bench.store.journal import Journal


def rebuilt(store: Store, tmp_path: Path) -> list[dict[str, Any]]:
    """The rows a store without an index and journals would make from the folders."""
    copy = tmp_path / f"copy-{random.random()}"
    shutil.copytree(store.path, copy, ignore=shutil.ignore_patterns("index.sqlite", "*.log"))
    return Store(copy).rows()


def test_a_row(store: Store, finish: Callable[..., str], enqueue: Callable[..., str]) -> None:
    key = finish(3, record={"selection": {"best": 7}, "provisional": True})
    other = finish(4)
    assert store.append_score(key, {"values": {"accuracy": 0.5, "score": 0.5}}) == 2
    row, second = store.rows()
    expected = {
        "key": key,
        "method": "lora",
        "task": "glue/rte",
        "fold": None,
        "replicate": 3,
        "state": "done",
    }
    assert {name: row[name] for name in expected} == expected
    assert row["request"] == {"method": "lora", "replicate": 3}
    assert row["scores"] == {"accuracy": 0.5, "score": 0.5}
    assert row["scored"] == 2
    assert (row["cost"], row["selection"], row["provisional"]) == ({"seconds": 3}, {"best": 7}, True)
    assert second["key"] == other
    assert second["scores"] == {"accuracy": 0.04}
    assert second["selection"] is None
    assert row["variant"] == second["variant"]
    enqueue(3, fold="art")
    enqueue(3, precision="16")
    assert len({row["variant"] for row in store.rows()}) == 2


def test_states_and_errors(store: Store, finish: Callable[..., str], enqueue: Callable[..., str]) -> None:
    finish(0)
    keys = [enqueue(number) for number in (1, 2, 3)]
    failing, held = store.claim(keys[0]), store.claim(keys[1])
    assert failing
    assert held
    assert failing.fail({}, "Traceback\nValueError: no\n")
    rows = store.rows()
    assert [row["state"] for row in rows] == ["done", "failed", "running", "queued"]
    assert [row["error"] for row in rows] == [None, "ValueError: no", None, None]


def test_globs(store: Store, enqueue: Callable[..., str]) -> None:
    for method in ("lora", "lora-pro", "salt"):
        for task in ("glue/rte", "glue/cola", "dg/pacs"):
            enqueue(method=method, task=task)
    assert len(store.rows()) == 9
    assert len(store.rows(["lora*"], ["glue/*"])) == 4
    assert len(store.rows(tasks=["dg/pacs", "glue/rte"])) == 6
    assert store.rows(methods=[]) == store.rows(["LORA"]) == []


@pytest.mark.parametrize("seed", range(4))
def test_after_random_operations_the_index_equals_a_rebuilt_one(
    store: Store, finish: Callable[..., str], enqueue: Callable[..., str], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    held: dict[str, Any] = {}
    for step in range(60):
        key = enqueue(chance.randrange(12))
        word = chance.choice(["claim", "publish", "fail", "release", "score", "remove", "finish", "look"])
        if word == "claim":
            held[key] = store.claim(key, retry=chance.random() < 0.5) or held.get(key)
        elif word in ("publish", "fail", "release") and held.get(key):
            arguments = {"publish": ({"cost": step},), "fail": ({}, f"error {step}"), "release": ()}[word]
            getattr(held.pop(key), word)(*arguments)
        elif word == "score" and store.state(key) == "done":
            store.append_score(key, {"values": {"score": step}})
        elif word == "remove" and store.state(key) != "running":
            store.remove([key])
        elif word == "finish":
            finish(100 + step)
        elif word == "look":
            assert store.rows() == rebuilt(store, tmp_path)
    kept = store.rows()
    assert kept == rebuilt(store, tmp_path)
    store.rebuild_index()
    assert store.rows() == kept
    assert len(kept) == len(list(store.keys()))


def test_a_refresh_reads_only_what_was_touched(
    store: Store, finish: Callable[..., str], enqueue: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [finish(number) for number in range(5)] + [enqueue(number) for number in range(5, 9)]
    store.rows()
    looked: list[str] = []
    real = store_module.summarise
    monkeypatch.setattr(store_module, "summarise", lambda run: looked.append(run.name) or real(run))
    assert len(store.rows()) == 9
    assert looked == []
    store.append_score(keys[2], {"values": {}})
    claim = store.claim(keys[7])
    store.rows()
    assert sorted(looked) == sorted([keys[2], keys[7]])
    looked.clear()
    store.rows()
    assert looked == [keys[7]]  # running: it may have died
    assert claim
    assert claim.release()


def test_other_hosts_journals_are_followed(
    store: Store, enqueue: Callable[..., str], finish: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(0)
    store.rows()
    monkeypatch.setattr("bench.store.journal.host", lambda: "other/../host")
    finish(1)
    assert [row["state"] for row in store.rows()] == ["done", "done"]
    assert len(list((store.path / "journal").iterdir())) == 2


SPOIL: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"garbage" * 1000),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "holed": lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\0" * (path.stat().st_size - 4096)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", SPOIL)
def test_a_spoilt_file_is_made_anew(store: Store, finish: Callable[..., str], how: str) -> None:
    for number in range(6):
        finish(number)
    before = store.rows()
    SPOIL[how](store.path / "index.sqlite")
    assert store.rows() == before
    finish(6)
    assert len(store.rows()) == 7
    assert store.rows()[:6] == before


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE runs", "DROP TABLE journals", "PRAGMA user_version = 99", "UPDATE runs SET summary = '{'"],
)
def test_another_shape_is_made_anew(store: Store, finish: Callable[..., str], statement: str) -> None:
    finish()
    before = store.rows()
    with sqlite3.connect(store.path / "index.sqlite") as connection:
        connection.execute(statement)
    connection.close()
    assert store.rows() == before


def test_a_locked_file_is_done_without(
    store: Store, finish: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "LOCK_SECONDS", 0.05)
    finish(0)
    store.rows()
    other = sqlite3.connect(store.path / "index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    finish(1)
    assert len(store.rows()) == 2
    other.close()
    assert len(store.rows()) == 2


@pytest.mark.parametrize("there", [True, False])
def test_a_store_that_cannot_be_written_is_read_in_memory(
    store: Store, finish: Callable[..., str], monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    finish(0)
    if there:
        store.rows()
    finish(1)
    real = sqlite3.connect

    def connect(path: Any, **options: Any) -> sqlite3.Connection:
        if isinstance(path, Path):  # what a read-only file system answers
            path, options = f"{path.as_uri()}?mode=ro", options | {"uri": True}
        return real(path, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    before = sorted(os.listdir(store.path))
    assert [row["state"] for row in store.rows()] == ["done", "done"]
    assert sorted(os.listdir(store.path)) == before


def test_killed_between_the_journal_and_the_event(
    store: Store, finish: Callable[..., str], enqueue: Callable[..., str], tmp_path: Path
) -> None:
    key, other = finish(0), enqueue(1)
    store.rows()
    store._journal._note("+", key)  # killed here
    assert store.rows() == rebuilt(store, tmp_path)
    store._journal._note("+", other)  # a slow writer, seen by a refresh before its event is there …
    assert store.rows()[1]["state"] == "queued"
    silent = Store(store.path)
    silent._journal = Journal(tmp_path / "nowhere")  # the event itself, without another note
    (tmp_path / "nowhere").mkdir()
    claim = silent.claim(other)
    assert claim
    assert claim.publish({})
    assert store.rows()[1]["state"] == "done"  # … is not missed


def test_a_torn_journal_line_spoils_only_itself(store: Store, finish: Callable[..., str]) -> None:
    finish(0)
    store.rows()
    journal = next((store.path / "journal").iterdir())
    with open(journal, "a") as file:
        file.write("\n+abc")
    key = finish(1)
    assert key in {row["key"] for row in store.rows()}


def test_a_lost_journal_means_a_new_look_at_everything(store: Store, finish: Callable[..., str]) -> None:
    keys = {finish(number) for number in range(3)}
    store.rows()
    shutil.rmtree(store.path / "journal")
    assert {row["key"] for row in store.rows()} == keys
    keys.add(finish(3))
    assert {row["key"] for row in store.rows()} == keys


def test_damaged_files_of_one_run_do_not_hide_the_others(store: Store, finish: Callable[..., str]) -> None:
    first, second = finish(0), finish(1)
    (store.folder(first) / "record.json").write_text("{")  # type: ignore[operator]
    (store._run(second) / "spec.json").write_text("")
    assert [row["key"] for row in store.rows()] == [first]
    assert finish(2) in {row["key"] for row in store.rows()}
