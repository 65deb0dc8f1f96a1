"""The store's front: opening, finding, scoring, removing, reading what cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.store import Store

KEY = "ab" * 32


def test_a_missing_store_reads_as_an_empty_one_and_stays_missing(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert list(store.keys()) == store.rows() == store.usage() == []
    assert store.state(KEY) == "queued"
    assert store.record(KEY) is None
    assert KEY not in store
    with pytest.raises(UserError, match="No run"):
        store.spec(KEY)
    assert list(tmp_path.iterdir()) == []
    assert Store.open(tmp_path / "none", create=False).rows() == []
    assert not store.path.exists()
    assert Store.open(tmp_path / "deep" / "store").path.is_dir()


def test_what_is_no_store_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, not the folder of a store"):
        Store(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written: not a directory"):
        Store.open(tmp_path / "file" / "store")
    assert Store(tmp_path / "file" / "store").rows() == []
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"thesis\.tex.*is no store"):
        Store.open(tmp_path / "home")
    assert os.listdir(tmp_path / "home") == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"format": 2}', "has format 2, but"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": "x"}', "format x"),
    ],
)
def test_a_newer_or_damaged_format_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "format.json").write_text(text)
    with pytest.raises(UserError, match=sentence):
        Store(tmp_path)


def test_an_unreadable_store_is_one_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    for question in (
        lambda: list(store.keys()),
        lambda: store.state(KEY),
        store.rows,
        lambda: store.find("ab"),
    ):
        with pytest.raises(UserError, match="cannot be read: permission denied"):
            question()


def test_a_read_only_store_can_be_read(
    store: Store, finish: Callable[..., str], enqueue: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = finish(), enqueue(1)
    real = os.open

    def read_only(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", read_only)
    reader = Store(store.path)
    assert reader.state(key) == "done"
    assert reader.record(key)
    assert reader.find(key[:8]) == key
    with pytest.raises(UserError, match="cannot be written: read-only file system"):
        reader.claim(other)
    with pytest.raises(UserError, match="cannot be written: read-only file system"):
        reader.append_score(key, {"values": {}})
    with pytest.raises(UserError, match="cannot be written"):
        reader.remove([key])
    with pytest.raises(UserError, match="cannot be written"):
        enqueue(2)
    monkeypatch.undo()
    assert store.state(key) == "done"
    assert len(store.rows()) == 2


def test_enqueue_twice_is_enqueue_once(store: Store, enqueue: Callable[..., str]) -> None:
    key = enqueue()
    claim = store.claim(key)
    assert claim
    assert claim.publish({"a": 1})
    assert enqueue() == key
    assert store.record(key) == {"a": 1}
    assert store.spec(key)["replicate"] == 0
    assert store.request(key) == {"method": "lora", "replicate": 0}
    assert list(store.keys()) == [key]
    assert key in store


def test_enqueue_from_many_threads_leaves_one_whole_run(store: Store, enqueue: Callable[..., str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(enqueue, [1, 2] * 20))
    assert set(store.keys()) == keys
    assert len(keys) == 2
    assert all(store.spec(key) for key in keys)
    assert not list(store.path.glob("runs/??/.new*"))


def test_a_spec_lost_in_a_power_cut_is_written_again(store: Store, enqueue: Callable[..., str]) -> None:
    key = enqueue()
    (store._run(key) / "spec.json").write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        store.spec(key)
    enqueue()
    assert store.spec(key)["replicate"] == 0


def test_find(store: Store) -> None:
    keys = [head + "0" * 58 for head in ("abcde1", "abcde2", "abffff", "12aaaa")]
    for key in keys:
        store.enqueue(key, {}, {})
    assert store.find("abf") == keys[2]
    assert store.find("1") == keys[3]
    assert store.find(keys[0]) == keys[0]
    with pytest.raises(UserError, match="2 keys begin with 'abc': abcde1000, abcde2000; give more"):
        store.find("abc")
    with pytest.raises(UserError, match="none are given"):
        store.find("")
    for nothing in ("ff", "ab1", "..", "../x", "zz", "*"):
        with pytest.raises(UserError, match="No run"):
            store.find(nothing)


def test_scores_are_counted_and_a_torn_line_is_cut(store: Store, finish: Callable[..., str]) -> None:
    key = finish()
    folder = store.folder(key)
    assert folder is not None
    path = folder / "scores.jsonl"
    with open(path, "a") as file:
        file.write('{"count": 2, "values": {"accu')  # killed here
    assert store.rows()[0]["scores"] == {"accuracy": 0}
    assert store.append_score(key, {"values": {"accuracy": 0.7}, "count": 99}) == 2
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["count"] for line in lines] == [1, 2]
    assert all(line["at"] for line in lines)
    assert store.rows()[0]["scores"] == {"accuracy": 0.7}


def test_scores_from_many_threads_are_all_there(store: Store, finish: Callable[..., str]) -> None:
    key = finish()
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda n: store.append_score(key, {"values": {"n": n}}), range(40)))
    assert sorted(counts) == list(range(2, 42))


def test_a_score_by_another_name_of_the_folder_reaches_the_index(
    store: Store, finish: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = finish()
    store.rows()
    monkeypatch.chdir(store.path)
    folder = store.folder(key)
    assert folder is not None
    assert store.append_score(folder.relative_to(store.path), {"values": {"score": 1.0}}) == 2
    assert store.rows()[0]["scores"] == {"score": 1.0}


def test_an_unfinished_run_has_nothing_to_score(store: Store, enqueue: Callable[..., str]) -> None:
    with pytest.raises(UserError, match="not done"):
        store.append_score(enqueue(), {"values": {}})


def test_remove(store: Store, finish: Callable[..., str], enqueue: Callable[..., str]) -> None:
    gone, kept, held = finish(0), finish(1), enqueue(2)
    store.rows()
    (store.path / "runs" / "00").mkdir(exist_ok=True)
    (store.path / "runs" / "00" / ".removed-killed").mkdir()  # from a removal that was killed
    claim = store.claim(held)
    assert claim
    with pytest.raises(UserError, match="is running"):
        store.remove([gone, held])
    with pytest.raises(UserError, match="No run"):
        store.remove([gone, KEY])
    assert gone in store
    assert store.remove([gone]) == 1
    assert gone not in store
    assert {row["key"] for row in store.rows()} == {kept, held}
    assert store.state(gone) == "queued"
    assert not list(store.path.glob("runs/??/.removed*"))
    finish(0)
    assert store.state(gone) == "done"
    assert claim.publish({})


def test_usage(store: Store, finish: Callable[..., str], enqueue: Callable[..., str]) -> None:
    big, _, _ = finish(0), finish(1), enqueue(2, method="salt")
    (store._run(big) / "attempt-000001" / "checkpoint").mkdir()
    (store._run(big) / "attempt-000001" / "checkpoint" / "x").write_bytes(b"x" * 10_000)
    first, second = store.usage()
    assert (first["method"], first["task"], first["runs"]) == ("lora", "glue/rte", 2)
    assert 10_200 < first["bytes"] < 15_000
    assert (second["method"], second["runs"]) == ("salt", 1)
    assert second["bytes"] > 0


def test_recognising_a_finished_run_imports_nothing_heavy(store: Store, finish: Callable[..., str]) -> None:
    key = finish()
    code = (
        "import sys; from bench.store import Store; s = Store(sys.argv[1]); assert s.record(sys.argv[2]);"
        "print([m for m in ('sqlite3', 'numpy', 'torch', 'yaml', 'omegaconf') if m in sys.modules])"
    )
    root = Path(sys.modules["bench"].__file__ or "").parent.parent
    command = [sys.executable, "-c", code, store.path, key]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "[]", done.stderr
