"""One file at an address, named by its checksum: arrays, a table, or an archive of files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.core.errors import UserError, nearest
from bench.core.files import write_atomic
from bench.data.access import Access, no_network
from bench.data.content import file_digest
from bench.data.csvtable import member, read
from bench.data.download import Wanted, fetch
from bench.data.sources import Identity, Rows
from bench.data.unpack import files_in, unpacked

FORMATS = {"npz": (".npz",), "csv": (".csv",), "tar": (".tar", ".tar.gz", ".tgz"), "zip": (".zip",)}

_NAME = re.compile(r"[A-Za-z0-9_][\w.+, ()-]*")


class UrlSource:
    """`{url: https://.../NAME, sha256 | md5: ..., format: npz | csv | tar | zip}`.

    - npz holds arrays named `SPLIT_COLUMN`.
    - csv is one split, `all`; `columns` names the columns of a file without a header. In a zip it is the one table.
    - tar and zip are unpacked into the cache; their files, a column `file` of paths, need a function (`through`).

    A mirror's `files/NAME` is taken first; its content then stands in the key in place of the checksum. NAME is the
    last part of the address, or what follows `#` where a mirror keeps the file under another name.
    """

    def __init__(self, declared: Mapping[str, Any], home: Path, access: Access) -> None:
        self.url: str = declared["url"]
        self.name = _name(self.url)
        self.checksum = next(((kind, str(declared[kind])) for kind in ("sha256", "md5") if declared.get(kind)), None)
        self.format: str = declared.get("format") or _format(self.name)
        self.columns: list[str] | None = declared.get("columns")
        self.bytes: int | None = declared.get("bytes")
        self.access = access
        self.mirrored = access.mirrored("files", self.name)
        if self.format not in FORMATS:
            raise UserError(
                f"source.format is {self.format!r} for {self.url}; expected one of {', '.join(FORMATS)}."
                + nearest(self.format, FORMATS)
            )
        if self.columns and self.format != "csv":
            raise UserError(f"source.columns names the columns of a csv file, and {self.url} is {self.format}.")

    def identity(self) -> Identity:
        if self.mirrored is not None:
            found = file_digest(self.mirrored, self.access)
            reasons = () if self._is_published(found) else (f"{self.name} comes from a mirror",)
            return Identity({"sha256": found}, reasons)
        kind, value = self._declared()
        return Identity({kind: value})

    def download(self) -> int | None:
        if self.mirrored is not None or (self.checksum is not None and self._cached().exists()):
            return 0
        if self.bytes is None or self.checksum is None:
            return self.bytes
        part = self._wanted().part
        return max(0, self.bytes - part.stat().st_size) if part.exists() else self.bytes

    def load(self, split: str) -> Rows:
        path = self.mirrored or self._fetch()
        if self.format in ("tar", "zip"):
            return self._files(path, split)
        if self.format == "csv":
            if split != "all":
                raise UserError(f"{self.name} is one table, so its only split is 'all', not {split!r}.")
            return Rows(read(member(path, self._unpacked(path)) if path.suffix == ".zip" else path, self.columns))
        return Rows(_npz(path, split))

    def _files(self, path: Path, split: str) -> Rows:
        if split:
            raise UserError(
                f"{self.name} is an archive and has no split {split!r}: name a function that makes splits of its files "
                "in source.through."
            )
        return Rows({"file": files_in(self._unpacked(path))})

    def _unpacked(self, path: Path) -> Path:
        """The folder of an archive's files, filled on first use and named by the archive's content."""
        mark = file_digest(path, self.access)[:16]
        return unpacked(path, self.access.writable_cache("unpacked") / f"{mark}-{self.name}")

    def _is_published(self, sha256: str) -> bool:
        """Whether the mirror's file has the declared checksum."""
        if self.checksum is None or self.mirrored is None:
            return False
        kind, value = self.checksum
        return value == (sha256 if kind == "sha256" else _md5(self.mirrored, sha256, self.access))

    def _declared(self) -> tuple[str, str]:
        if self.checksum is None:
            raise UserError(
                f"source.sha256 (or md5) is missing for {self.url}: a downloaded file is named by its checksum. "
                f"Put the file in a mirror as files/{self.name} and set BENCH_MIRROR, or declare its checksum."
            )
        return self.checksum

    def _wanted(self) -> Wanted:
        kind, value = self._declared()
        target = self.access.cache / "files" / f"{value[:16]}-{self.name}"
        return Wanted(self.url.partition("#")[0], target, kind, value, self.bytes)

    def _cached(self) -> Path:
        return self._wanted().target

    def _fetch(self) -> Path:
        wanted = self._wanted()
        if not wanted.target.exists():
            if self.access.offline:
                raise no_network(self.name, f"files/{self.name}")
            self.access.writable_cache("files")
            fetch(wanted)
        return wanted.target


def _name(url: str) -> str:
    """The file's name: the last part of the address, or what follows `#`. Refuses what is no plain name."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UserError(f"source.url is {url!r}; expected an address that begins with https:// or http://.")
    name = unquote(parts.fragment or parts.path.rstrip("/").rsplit("/", 1)[-1])
    if not _NAME.fullmatch(name) or ".." in name:
        raise UserError(
            f"source.url is {url!r}, whose last part, {name!r}, is no plain file name; write #NAME after it."
        )
    return name


def _format(name: str) -> str:
    """The format that a file's name tells."""
    for format, endings in FORMATS.items():
        if name.lower().endswith(endings):
            return format
    raise UserError(f"source.format is missing, and the name {name} does not tell it; one of {', '.join(FORMATS)}.")


def _md5(path: Path, sha256: str, access: Access) -> str:
    """MD5 of a file, remembered under its SHA-256."""
    note = access.cache / "digests" / f"md5-{sha256[:32]}"
    try:
        return note.read_text()
    except OSError:
        pass
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    access.writable_cache("digests")
    write_atomic(note, found)
    return found


def _npz(path: Path, split: str) -> dict[str, Any]:
    import numpy as np

    prefix = f"{split}_"
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}
            there = sorted({name.partition("_")[0] for name in file.files})
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as npz: {error}") from None
    if not found:
        raise UserError(f"{path.name} has no split {split!r}; it has {', '.join(there)}.{nearest(split, there)}")
    return found


SOURCE = UrlSource
