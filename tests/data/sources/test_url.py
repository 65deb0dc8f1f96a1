"""Files at an address: what they are, how they are read, and that an archive keeps to its place."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.sources import source
from bench.data.sources.url import UrlSource

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, size=700_000, dtype=np.uint8))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def opened(tmp_path: Path, files: dict[str, bytes] | None = None, **declared: object) -> UrlSource:
    """The source, with some files in its mirror."""
    mirror = tmp_path / "mirror" / "files"
    mirror.mkdir(parents=True, exist_ok=True)
    for name, content in (files or {}).items():
        (mirror / name).write_bytes(content)
    made = source(
        {"url": "https://example.org/a/table.csv", **declared}, tmp_path, Access(tmp_path / "cache", mirror.parent)
    )
    assert isinstance(made, UrlSource)
    return made


# ---------------------------------------------------------------- what it is


def test_a_mirror_s_file_is_the_published_one_only_with_its_checksum(tmp_path: Path) -> None:
    content = b"a,b\n1,2\n"
    files = {"table.csv": content}
    published = opened(tmp_path, files, sha256=sha256(content)).identity()
    assert published.fingerprint == {"sha256": sha256(content)}
    assert published.provisional == ()
    for declared in ({}, {"sha256": "0" * 64}, {"md5": "0" * 32}):
        found = opened(tmp_path, files, **declared).identity()
        assert found.fingerprint == {"sha256": sha256(content)}
        assert found.provisional == ("table.csv comes from a mirror",)
    md5 = hashlib.md5(content).hexdigest()
    for _ in range(2):  # the second time from the note that the first left
        assert opened(tmp_path, files, md5=md5).identity().provisional == ()


def test_without_a_mirror_it_is_its_checksum(tmp_path: Path) -> None:
    assert opened(tmp_path, md5="a" * 32).identity().fingerprint == {"md5": "a" * 32}
    assert opened(tmp_path, md5="a" * 32, bytes=7).download() == 7
    with pytest.raises(UserError, match=r"source.sha256 \(or md5\) is missing for https://example.org/a/table.csv"):
        opened(tmp_path).identity()


def test_names_addresses_and_formats(tmp_path: Path) -> None:
    for url, name in (
        ("https://example.org/files/drive_256.npz?download=1", "drive_256.npz"),
        ("http://example.org/letter-recognition.data#letter.csv", "letter.csv"),
        ("https://example.org/a/b/letter+recognition.zip", "letter+recognition.zip"),
    ):
        assert opened(tmp_path, url=url).name == name
    assert opened(tmp_path, url="https://example.org/x.tar.gz").format == "tar"
    for url in ("file:///etc/passwd", "ftp://example.org/a.csv", "a.csv", "https://example.org/..", "https:///a.csv"):
        with pytest.raises(UserError, match="source.url is"):
            opened(tmp_path, url=url)
    with pytest.raises(UserError, match="no plain file name"):
        opened(tmp_path, url="https://example.org/a%2F..%2Fb.csv")
    with pytest.raises(UserError, match="source.format is missing"):
        opened(tmp_path, url="https://example.org/letter.data")
    with pytest.raises(UserError, match=r"source.format is 'npy'.*Did you mean \"npz\""):
        opened(tmp_path, format="npy")
    with pytest.raises(UserError, match="source.columns names the columns of a csv"):
        opened(tmp_path, url="https://example.org/a.npz", columns=["a"])


# ---------------------------------------------------------------- arrays and tables


def test_arrays_of_a_split(tmp_path: Path) -> None:
    kept = io.BytesIO()
    np.savez(kept, train_images=np.zeros((3, 2)), train_label=np.arange(3), test_images=np.ones((1, 2)))
    found = opened(tmp_path, {"a.npz": kept.getvalue()}, url="https://example.org/a.npz")
    rows = found.load("train")
    assert sorted(rows.columns) == ["images", "label"]
    assert len(rows) == 3
    with pytest.raises(UserError, match=r"a.npz has no split 'tset'; it has test, train. Did you mean \"test\""):
        found.load("tset")
    with pytest.raises(UserError, match="cannot be read as npz"):
        opened(tmp_path, {"b.npz": b"no zip"}, url="https://example.org/b.npz").load("train")


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_a_table_with_a_header(tmp_path: Path, separator: str) -> None:
    lines = [['""', "d1", "d2", '"class"'], ["1", "2", "0.5", '"T"'], ["2", "5", "", '"F"']]
    text = "".join(separator.join(line) + "\r\n" for line in lines)
    columns = opened(tmp_path, {"table.csv": text.encode()}).load("all").columns
    assert list(columns) == ["column0", "d1", "d2", "class"]
    assert columns["d1"].dtype == np.int64
    assert columns["d1"].tolist() == [2, 5]
    assert columns["d2"].tolist()[0] == 0.5
    assert np.isnan(columns["d2"][1])
    assert columns["class"] == ["T", "F"], "letters are text, whatever words for true and false there are"


def test_a_table_without_a_header(tmp_path: Path) -> None:
    names = ["class", "x", "y"]
    plain = opened(tmp_path, {"table.csv": b"T, 47,100\nI,  3,  0\n"}, columns=names).load("all").columns
    assert list(plain) == names
    assert (plain["class"], plain["x"].tolist(), plain["y"].tolist()) == (["T", "I"], [47, 3], [100, 0])
    headed = opened(tmp_path, {"table.csv": b'"","x","y","class"\n"1",47,100,"T"\n"2",3,0,"I"\n'}, columns=names)
    for name, values in headed.load("all").columns.items():
        if name in names:
            assert list(values) == list(plain[name])


def test_tables_that_are_none(tmp_path: Path) -> None:
    for content, declared, sentence in (
        (b"1,2,3\n", {"columns": ["a", "b"]}, "table.csv has 3 columns; source.columns names 2"),
        (b"1,2,3\n4,5,6\n", {}, "holds numbers, no names; name them in source.columns"),
        (b"a,b\n1,2\n3\n", {}, "cannot be read as csv: .*Expected 2 columns, got 1"),
        (b"a,a\n1,2\n", {}, "has the column 'a' twice"),
        (b"\n1,2\n", {}, "its first line is empty"),
        (b"\xff\xfe\x00,\n", {}, "cannot be read as csv"),
    ):
        with pytest.raises(UserError, match=sentence):
            opened(tmp_path, {"table.csv": content}, **declared).load("all")
    with pytest.raises(UserError, match="its only split is 'all', not 'train'"):
        opened(tmp_path, {"table.csv": b"a\n1\n"}).load("train")


def zipped(files: dict[str, bytes]) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return kept.getvalue()


def test_a_table_in_a_zip(tmp_path: Path) -> None:
    files = {"letter.data": b"T,2\nI,5\n", "letter.names": b"...", "Index": b"..."}
    declared = {"url": "https://example.org/letter+recognition.zip", "format": "csv", "columns": ["class", "x"]}
    found = opened(tmp_path, {"letter+recognition.zip": zipped(files)}, **declared).load("all")
    assert found.columns["class"] == ["T", "I"]
    two = {**files, "more/other.csv": b"a\n1\n"}
    with pytest.raises(UserError, match=r"must hold one table .* it has letter.data, more/other.csv"):
        opened(tmp_path, {"letter+recognition.zip": zipped(two)}, **declared).load("all")


# ---------------------------------------------------------------- archives


def tarred(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w:gz") as file:
        for info, content in members:
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return kept.getvalue()


FILES = {"b/two.txt": b"2", "a/one.txt": b"1", "zero.txt": b"0"}


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tgz"])
def test_an_archive_s_files_are_sorted_and_unpacked_once(tmp_path: Path, name: str) -> None:
    content = zipped(FILES) if name == "x.zip" else tarred([(tarfile.TarInfo(one), FILES[one]) for one in FILES])
    declared = {"url": f"https://example.org/{name}"}
    files = opened(tmp_path, {name: content}, **declared).load("").columns["file"]
    assert [path.read_bytes() for path in files] == [b"1", b"2", b"0"]
    assert [path.name for path in files] == ["one.txt", "two.txt", "zero.txt"]
    assert all(path.is_relative_to(tmp_path / "cache") for path in files)
    before = [path.stat().st_ino for path in files]
    again = opened(tmp_path, **declared).load("").columns["file"]
    assert [path.stat().st_ino for path in again] == before
    assert not list((tmp_path / "cache/unpacked").glob(".making*"))
    with pytest.raises(UserError, match=r"has no split 'train': name a function .* in source.through"):
        opened(tmp_path, **declared).load("train")


def test_a_function_makes_splits_of_an_archive(tmp_path: Path) -> None:
    home = tmp_path / "tasks"
    home.mkdir()
    (home / "read.py").write_text(
        "def splits(load, ending):\n"
        "    files = [path for path in load('')['file'] if path.suffix == ending]\n"
        "    return {'train': {'text': [path.read_text() for path in files]}}\n"
    )
    opened(tmp_path, {"x.zip": zipped(FILES)})
    declared = {"url": "https://example.org/x.zip", "through": "read:splits", "params": {"ending": ".txt"}}
    made = source(declared, home, Access(tmp_path / "cache", tmp_path / "mirror"))
    rows = made.load("train")
    assert rows is not None
    assert rows.columns["text"] == ["1", "2", "0"]


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("/etc/owned"),
        tarfile.TarInfo("../owned"),
        tarfile.TarInfo("a/../../owned"),
        link("a", "/etc/passwd", tarfile.SYMTYPE),
        link("a", "b", tarfile.LNKTYPE),
        link("a", "", tarfile.CHRTYPE),
        link("a", "", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_a_tar_that_reaches_out_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    content = tarred([(tarfile.TarInfo("fine.txt"), b"x"), (member, b"")])
    with pytest.raises(UserError, match="which is refused"):
        opened(tmp_path, {"x.tar.gz": content}, url="https://example.org/x.tar.gz").load("")
    assert not [path for path in tmp_path.rglob("*") if path.name in ("owned", "fine.txt")]
    assert not list((tmp_path / "cache/unpacked").iterdir())


@pytest.mark.parametrize("name", ["/owned", "../owned", "a/../../owned", "C:/owned", "a\\..\\owned", "link"])
def test_a_zip_that_reaches_out_is_refused(tmp_path: Path, name: str) -> None:
    info = zipfile.ZipInfo(name)
    if name == "link":
        info.external_attr = 0o120777 << 16
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as file:
        file.writestr("fine.txt", b"x")
        file.writestr(info, b"/etc/passwd")
    with pytest.raises(UserError, match="which is refused"):
        opened(tmp_path, {"x.zip": kept.getvalue()}, url="https://example.org/x.zip").load("")
    assert not [path for path in tmp_path.rglob("*") if path.name in ("owned", "fine.txt", "link")]


def test_a_damaged_archive_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    whole = tarred([(tarfile.TarInfo("a"), CONTENT)])
    for name, content in (
        ("x.tar.gz", whole[: len(whole) // 2]),
        ("y.zip", b"PK no"),
        ("z.tar.gz", gzip.compress(b"n")),
    ):
        with pytest.raises(UserError, match=f"{name} cannot be unpacked"):
            opened(tmp_path, {name: content}, url=f"https://example.org/{name}").load("")
    assert not list((tmp_path / "cache/unpacked").iterdir())
