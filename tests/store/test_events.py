"""The log: an entry can be created once, whole, with or without links."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.store import events


def no_links(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "no links here")


@pytest.mark.parametrize("links", [True, False])
def test_of_many_who_append_the_same_entry_one_wins(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with ThreadPoolExecutor(8) as pool:
        for number in range(1, 31):
            won = list(pool.map(lambda who, n=number: events.append(tmp_path, n, {"who": who}), range(8)))
            assert won.count(True) == 1
            assert events.last(tmp_path) == events.Entry(number, {"who": won.index(True)})
    assert len(os.listdir(tmp_path)) == 30  # no temporary file is left


def test_an_absent_and_an_empty_log_stand_at_zero(tmp_path: Path) -> None:
    assert events.last(tmp_path / "absent") == events.last(tmp_path) == events.Entry(0, {})
    assert not events.append(tmp_path / "absent", 1, {"event": "claim"})


def test_a_torn_entry_keeps_its_number_and_the_event_before_it_speaks(tmp_path: Path) -> None:
    events.append(tmp_path, 1, {"event": "failed", "attempt": 1})
    events.path_of(tmp_path, 2).write_text('{"event": "cl')
    assert events.last(tmp_path) == events.Entry(2, {"event": "failed", "attempt": 1}, torn=1)
    assert not events.append(tmp_path, 2, {"event": "claim"})


def test_a_collision_with_ones_own_retry_is_a_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def retried(source: Path, target: Path) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, "the first reply was lost")

    monkeypatch.setattr(os, "link", retried)
    assert events.append(tmp_path, 1, {"event": "claim"})


def test_a_full_disk_leaves_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda handle, data: 3)
    with pytest.raises(OSError, match="full"):
        events.append(tmp_path, 1, {"event": "done"})
    assert os.listdir(tmp_path) == []
