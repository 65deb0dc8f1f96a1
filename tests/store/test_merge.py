"""Merging: finished runs are copied whole, the one that is there stays, half a merge counts for nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.store import Store, merge


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "other")


def test_both_ways_the_stores_become_equal(store: Store, other: Store, finish: Callable[..., str]) -> None:
    for number in (0, 1, 2):
        finish(number)
    for number in (2, 3):
        finish(number, into=other, record={"from": "other"})
    assert store.merge(other.path) == (1, 1)
    assert store.merge(other.path) == (0, 2)
    assert other.merge(store.path) == (2, 2)
    mine, theirs = store.rows(), other.rows()
    assert [row["state"] for row in mine] == ["done"] * 4
    differing = [m["replicate"] for m, t in zip(mine, theirs, strict=True) if m != t]
    assert differing in ([], [2])  # at most the time of the one that both had
    common = mine[2]["key"]
    assert "from" not in (store.record(common) or {})
    assert (other.record(common) or {})["from"] == "other"


def test_everything_but_checkpoints_and_links_comes_along(
    store: Store, other: Store, finish: Callable[..., str], tmp_path: Path
) -> None:
    key = finish(into=other)
    other.append_score(key, {"values": {"score": 0.25}})
    source = other.folder(key)
    assert source is not None
    (source / "checkpoint").mkdir()
    (source / "checkpoint" / "last.ckpt").write_text("big")
    (tmp_path / "secret").write_text("secret")
    (source / "predictions" / "link").symlink_to(tmp_path / "secret")
    (source / "folder").symlink_to(tmp_path)
    assert store.merge(other.path) == (1, 0)
    target = store.folder(key)
    assert target is not None
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    assert files == {"record.json", "scores.jsonl", "predictions/best.test.safetensors"}
    assert store.record(key) == other.record(key)
    assert store.request(key) == other.request(key)
    assert store.rows() == other.rows()
    assert store.rows()[0]["scores"] == {"score": 0.25}


def test_only_finished_runs_come_and_only_living_ones_stand_in_the_way(
    store: Store, other: Store, finish: Callable[..., str], enqueue: Callable[..., str]
) -> None:
    enqueue(0, other)
    failing = other.claim(enqueue(1, other))
    assert failing
    assert failing.fail({}, "error")
    queued, failed, held = (finish(number, into=other) for number in (2, 3, 4))
    enqueue(2)
    mine = store.claim(enqueue(3))
    assert mine
    assert mine.fail({}, "error")
    living = store.claim(enqueue(4))
    assert living
    assert store.merge(other.path) == (2, 1)
    assert [store.state(key) for key in (queued, failed, held)] == ["done", "done", "running"]
    assert len(list(store.keys())) == 3
    assert living.publish({"mine": True})
    assert store.record(held) == {"mine": True}


def test_a_merge_cut_short_counts_for_nothing_and_is_finished_by_the_next(
    store: Store, other: Store, finish: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = finish(into=other)

    def cut(source: Path, target: Path) -> None:
        shutil.copy(source / "record.json", target / "record.json")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merge, "_copy", cut)
        with pytest.raises(KeyboardInterrupt):
            store.merge(other.path)
    assert store.state(key) == "queued"
    assert store.record(key) is None
    assert store.merge(other.path) == (1, 0)
    assert store.state(key) == "done"
    assert len(list(store.path.rglob("best.test.safetensors"))) == 1


def test_a_run_with_another_spec_is_refused(store: Store, other: Store, finish: Callable[..., str]) -> None:
    key = finish(into=other)
    path = other._run(key) / "spec.json"
    written = json.loads(path.read_text())
    for replicate in (5, float("inf")):
        written["spec"]["replicate"] = replicate
        path.write_text(json.dumps(written))
        with pytest.raises(UserError, match="spec does not give its key"):
            store.merge(other.path)
    assert list(store.keys()) == []


def test_a_store_that_is_not_there_is_an_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no store at"):
        store.merge(tmp_path / "none")
    assert not (tmp_path / "none").exists()
