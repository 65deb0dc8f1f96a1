"""Every board of this repository is what its records give."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.boards.publish import check
from bench.boards.verify import verify
from bench.data.access import Access

BOARDS = sorted((Path(__file__).parents[2] / "leaderboards").glob("*.yaml"))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_tables_are_what_the_records_give(path: Path, tmp_path: Path) -> None:
    assert check(path, tmp_path) == []


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_records_are_sound(path: Path) -> None:
    found = verify(path.with_name(f"{path.stem}.records.jsonl"), None, Access.from_environment(offline=True))
    assert found
    assert all(one.sound for one in found)


def test_there_is_a_board() -> None:
    assert BOARDS
