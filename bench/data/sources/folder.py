"""A folder of images on this machine: `SPLIT/CLASS/*.png`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.content import folder_digest
from bench.data.sources import Identity, Rows

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


class FolderSource:
    """`{folder: PATH}`, relative to the declaration; columns `image` (a path) and `label` (the class folder's name)."""

    def __init__(self, declared: Mapping[str, Any], home: Path, access: Access) -> None:
        self.root = (home / Path(declared["folder"]).expanduser()).resolve()
        self.access = access
        if not self.root.is_dir():
            raise UserError(f"source.folder is {declared['folder']}, and {self.root} is no folder.")

    def identity(self) -> Identity:
        files = self._files("*")
        if not files:
            raise UserError(f"{self.root} holds no images; expected SPLIT/CLASS/NAME.png.")
        return Identity({"folder": folder_digest(self.root, files, self.access)})

    def _files(self, split: str) -> list[Path]:
        """In an order that says nothing of the classes, since a row's place in it is its id."""
        files = [path for path in self.root.glob(f"{split}/*/*") if path.suffix.lower() in SUFFIXES]
        return sorted(files, key=lambda path: digest(path.relative_to(self.root).as_posix()))

    def download(self) -> int:
        return 0

    def load(self, split: str) -> Rows:
        folder = self.root / split
        if not folder.is_dir():
            there = sorted(path.name for path in self.root.iterdir() if path.is_dir())
            raise UserError(f"{self.root} has no split folder {split!r}; it has {', '.join(there) or 'none'}.")
        files = self._files(split)
        return Rows({"image": files, "label": [path.parent.name for path in files]})


SOURCE = FolderSource
