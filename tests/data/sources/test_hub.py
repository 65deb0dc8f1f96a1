"""Repositories of the hub: which files are a split's, shards of webdataset, what is fetched, what is refused."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.sources import hub
from bench.data.sources.hub import HubSource

DECLARED = {"hub": "owner/name", "revision": "0" * 40}


def write_shard(path: Path, rows: Iterable[int], labels: Sequence[str] | None = None) -> None:
    """A tar of lossless images whose pixels are all their row's number, and of `cls` members, row % 3 or `labels`."""
    import numpy as np
    import PIL.Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for place, row in enumerate(rows):
            image = io.BytesIO()
            PIL.Image.fromarray(np.full((4, 4, 3), row, dtype=np.uint8)).save(image, "webp", lossless=True)
            label = str(row % 3) if labels is None else labels[place]
            for suffix, content in (("cls", label.encode()), ("webp", image.getvalue())):
                member = tarfile.TarInfo(f"s{row:07d}.{suffix}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A mirrored repository without a README: twelve training shards of two rows, one test shard of five."""
    found = tmp_path / "mirror" / "datasets" / "owner" / "name"
    for number in range(12):
        write_shard(found / "train" / f"{number}.tar", range(2 * number, 2 * number + 2))
    write_shard(found / "test" / "0.tar", range(100, 105))
    (found / "test" / "nshards.txt").write_text("1\n")
    (found / "classnames.txt").write_text("a\nb\nc\n")
    return found


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(tmp_path / "cache", tmp_path / "mirror")


def source(access: Access, **declared: Any) -> HubSource:
    return HubSource({**DECLARED, **declared}, Path(), access)


def pixel(image: Any) -> int:
    return int(image.convert("RGB").getpixel((0, 0))[0])


def test_shards_are_read_in_the_order_they_were_written(folder: Path, access: Access) -> None:
    rows = source(access).load("train")
    assert rows is not None
    assert len(rows) == 24
    assert set(rows.columns) == {"webp", "cls", "__key__"}  # and not where the shard lies on this machine
    assert list(rows.columns["cls"]) == [row % 3 for row in range(24)]
    assert [type(label) for label in rows.columns["cls"]] == [int] * 24
    assert [pixel(rows.columns["webp"][row]) for row in (0, 4, 21, 23)] == [0, 4, 21, 23]  # 10.tar follows 9.tar


def test_an_image_is_decoded_when_its_row_is_asked_for(
    folder: Path, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    import PIL.Image

    rows = source(access).load("train")
    assert rows is not None
    opened: list[object] = []
    opening = PIL.Image.open

    def counted(*given: Any, **named: Any) -> Any:
        opened.append(given)
        return opening(*given, **named)

    monkeypatch.setattr(PIL.Image, "open", counted)
    assert list(rows.columns["cls"])[:2] == [0, 1]
    assert len(rows) == 24
    assert not opened
    assert [pixel(rows.columns["webp"][row]) for row in (3, 17)] == [3, 17]
    assert len(opened) == 2


def test_a_split_is_its_folder_and_nothing_else(folder: Path, access: Access) -> None:
    rows = source(access).load("test")
    assert rows is not None
    assert list(rows.columns["__key__"]) == [f"s{row:07d}" for row in range(100, 105)]
    assert source(access).load("trian") is None  # a mirror may hold less than the hub


def test_class_numbers_that_are_none_are_refused(folder: Path, access: Access) -> None:
    write_shard(folder / "odd" / "0.tar", range(2), labels=["1", "two"])
    with pytest.raises(UserError, match="cannot be read as webdataset"):
        source(access).load("odd")


@pytest.mark.parametrize(
    ("kept", "whole"), [(["1", "2"], [1, 2]), ([b"1", b"2"], [1, 2]), (["cat", "dog"], ["cat", "dog"])]
)
def test_class_numbers_kept_as_text_become_whole_numbers(kept: list[object], whole: list[object]) -> None:
    from datasets import Dataset

    assert list(hub._column(Dataset.from_dict({"cls": kept}), "cls")) == whole


def test_a_damaged_shard_is_named(folder: Path, access: Access) -> None:
    (folder / "train" / "3.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(UserError, match=r"train/3\.tar cannot be read as webdataset"):
        source(access).load("train")


def test_an_empty_shard_is_named(folder: Path, access: Access) -> None:
    write_shard(folder / "test" / "0.tar", [])
    with pytest.raises(UserError, match=r"test/0\.tar cannot be read as webdataset"):
        source(access).load("test")


def test_the_identity_is_the_content_of_all_shards(folder: Path, access: Access) -> None:
    before = source(access).identity()
    assert before.provisional == ("owner/name comes from a mirror",)
    assert source(access).identity() == before
    (folder / "classnames.txt").write_text("other\n")
    os.utime(folder / "train" / "0.tar")
    assert source(access).identity() == before  # neither notes nor times are data
    write_shard(folder / "train" / "11.tar", [22, 24])
    assert source(access).identity().fingerprint["content"] != before.fingerprint["content"]


def test_without_a_mirror_the_commit_is_the_identity(tmp_path: Path) -> None:
    assert source(Access(tmp_path)).identity().fingerprint == {
        "hub": "owner/name", "config": None, "revision": "0" * 40,
    }  # fmt: skip
    with pytest.raises(UserError, match="revision is missing"):
        source(Access(tmp_path), revision=None).identity()


class Hub:
    """Stands for the hub: copies what matches the patterns it is asked for into its cache."""

    def __init__(self, repository: Path, cache: Path) -> None:
        self.repository, self.cache = repository, cache

    def snapshot(self, kind: str, name: str, revision: str, access: Access, patterns: list[str]) -> Path:
        from huggingface_hub.utils._paths import filter_repo_objects

        assert (kind, name, revision) == ("dataset", "owner/name", "0" * 40)
        there = [path.relative_to(self.repository).as_posix() for path in self.repository.rglob("*") if path.is_file()]
        for wanted in filter_repo_objects(there, allow_patterns=patterns) if not access.offline else ():
            target = self.cache / wanted
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((self.repository / wanted).read_bytes())
        return self.cache

    def fetched(self) -> set[str]:
        return {path.relative_to(self.cache).as_posix() for path in self.cache.rglob("*") if path.is_file()}


@pytest.fixture
def published(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(folder, tmp_path / "hub")
    monkeypatch.setattr(hub, "snapshot", made.snapshot)
    monkeypatch.setattr(hub, "snapshot_here", lambda *_: made.cache if made.cache.is_dir() else None)
    return made


def test_only_the_wanted_split_is_fetched(published: Hub, tmp_path: Path) -> None:
    access = Access(tmp_path / "cache")
    assert source(access, bytes=7).download() == 7
    rows = source(access).load("test")
    assert rows is not None
    assert len(rows) == 5
    assert published.fetched() == {"test/0.tar"}
    assert source(access, bytes=7).download() == 0


def test_a_split_the_hub_lacks_is_named_with_the_nearest(published: Hub, tmp_path: Path) -> None:
    access = Access(tmp_path / "cache")
    source(access).load("test")
    with pytest.raises(UserError, match="owner/name has no split 'tset'.*test"):
        source(access).load("tset")


def test_a_split_that_was_not_fetched_is_missed_offline(published: Hub, tmp_path: Path) -> None:
    source(Access(tmp_path / "cache")).load("test")
    with pytest.raises(UserError, match="The split train of owner/name is not in the mirror or the cache"):
        source(Access(tmp_path / "cache", offline=True)).load("train")


def test_a_readme_says_which_files_are_a_splits(published: Hub, tmp_path: Path) -> None:
    (published.repository / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: held\n    path: test/*.tar\n---\n"
    )
    access = Access(tmp_path / "cache")
    rows = source(access).load("held")
    assert rows is not None
    assert len(rows) == 5
    assert published.fetched() == {"README.md", "test/0.tar"}
    with pytest.raises(UserError, match="has no split 'test'"):
        source(access).load("test")


@pytest.mark.parametrize(
    "name",
    ["train-00000-of-00001.parquet", "data/train-00000.parquet", "train/0000.parquet", "default/train/0.parquet"],
)
def test_tables_without_a_readme_are_found_by_their_names(published: Hub, tmp_path: Path, name: str) -> None:
    import pyarrow
    import pyarrow.parquet

    published.repository = tmp_path / "tables"
    for path, values in ((name, [1, 2]), (name.replace("train", "test"), [3])):
        (published.repository / path).parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table({"number": values}), published.repository / path)
    rows = source(Access(tmp_path / "cache")).load("train")
    assert rows is not None
    assert list(rows.columns["number"]) == [1, 2]
    assert published.fetched() == {name}


def test_files_of_two_kinds_are_no_split(folder: Path, access: Access) -> None:
    (folder / "test" / "more.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="several kinds: csv, webdataset"):
        source(access).load("test")
