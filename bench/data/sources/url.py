"""One file at an address, named by its checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.data.access import Access, no_network
from bench.data.content import file_digest
from bench.data.sources import Identity, Rows

FORMATS = ("npz",)


class UrlSource:
    """`{url: https://.../NAME, sha256: ..., format: npz}`; an npz file holds arrays named `SPLIT_COLUMN`.

    A mirror's `files/NAME` is taken first; its content then stands in the key in place of the checksum.
    """

    def __init__(self, declared: Mapping[str, Any], home: Path, access: Access) -> None:
        self.url, self.sha256 = declared["url"], declared.get("sha256")
        self.name = self.url.rstrip("/").rsplit("/", 1)[-1]
        self.format = declared.get("format") or self.name.rsplit(".", 1)[-1]
        self.bytes: int | None = declared.get("bytes")
        self.access = access
        self.mirrored = access.mirrored("files", self.name)
        if self.format not in FORMATS:
            raise UserError(f"source.format is {self.format!r} for {self.url}; expected one of {', '.join(FORMATS)}.")

    def identity(self) -> Identity:
        if self.mirrored is not None:
            found = file_digest(self.mirrored, self.access)
            reasons = () if found == self.sha256 else (f"{self.name} comes from a mirror",)
            return Identity({"sha256": found}, reasons)
        if not self.sha256:
            raise UserError(f"source.sha256 is missing for {self.url}: a downloaded file is named by its checksum.")
        return Identity({"sha256": self.sha256})

    def download(self) -> int | None:
        here = self.mirrored or self._cached()
        return 0 if here.exists() else self.bytes

    def load(self, split: str) -> Rows | None:
        path = self.mirrored or self._fetch()
        columns = _npz(path, split)
        if columns is None:
            raise UserError(f"{path.name} has no split {split!r}.")
        return Rows(columns)

    def _cached(self) -> Path:
        return self.access.cache / "files" / f"{str(self.sha256)[:16]}-{self.name}"

    def _fetch(self) -> Path:
        path = self._cached()
        if path.exists():
            return path
        if self.access.offline:
            raise no_network(self.name, f"files/{self.name}")
        import pooch

        self.access.writable_cache("files")
        try:
            pooch.retrieve(self.url, f"sha256:{self.sha256}", fname=path.name, path=path.parent, progressbar=True)
        except ValueError as error:
            raise UserError(f"{self.url} does not have the declared checksum: {error}") from None
        except Exception as error:
            raise UserError(f"{self.url} cannot be fetched: {error}") from None
        return path


def _npz(path: Path, split: str) -> dict[str, Any] | None:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            prefix = f"{split}_"
            return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)} or None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as npz: {error}") from None


SOURCE = UrlSource
