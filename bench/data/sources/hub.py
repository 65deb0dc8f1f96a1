"""A dataset repository of the Hugging Face hub, from a mirror, the hub's cache or the network."""

from __future__ import annotations

import fnmatch
import logging
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, first_line, nearest
from bench.data.access import Access, no_network
from bench.data.content import folder_digest
from bench.data.repository import snapshot, snapshot_here
from bench.data.sources import Identity, Rows

_READERS = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json", ".tar": "webdataset"}


class HubSource:
    """`{hub: owner/name, config: NAME, revision: COMMIT}`. Files only: a dataset's own code is never run.

    A split's files are those that the repository's README lists. Without such a list they are those under a folder of
    the split's name or whose own name begins with it (`train/0.tar`, `data/train-00000.parquet`, `train.csv`). Shards
    of webdataset (`.tar`) have a column for each suffix of their members (`webp`, `cls`).
    """

    def __init__(self, declared: Mapping[str, Any], home: Path, access: Access) -> None:
        self.name: str = declared["hub"]
        self.config: str | None = declared.get("config")
        if self.config is not None and (set(self.config) & set("/\\*?[") or not self.config.strip(".")):
            raise UserError(f"source.config is {self.config!r}; a config is a plain name.")
        self.revision: str | None = declared.get("revision")
        self.bytes: int | None = declared.get("bytes")
        self.access = access
        self.mirrored = access.mirrored("datasets", *self.name.split("/"))

    def identity(self) -> Identity:
        if self.mirrored is not None:
            content = folder_digest(self.mirrored, self._files(self.mirrored), self.access)
            fingerprint = {"hub": self.name, "config": self.config, "content": content}
            return Identity(fingerprint, (f"{self.name} comes from a mirror",))
        if self.revision is None:
            raise UserError(
                f"source.revision is missing for {self.name}: a dataset on the hub is named by the commit it is read "
                "at, or the result could change without notice."
            )
        return Identity({"hub": self.name, "config": self.config, "revision": self.revision})

    def download(self) -> int | None:
        if self.mirrored is not None:
            return 0
        here = snapshot_here("dataset", self.name, self.revision)
        return 0 if here is not None and self._files(here) else self.bytes

    def load(self, split: str) -> Rows | None:
        folder = self.mirrored or self._fetched(split)
        files = self._files(folder, split)
        if not files:
            there = self._splits(folder)
            if self.mirrored is not None and split not in there:
                return None
            if self.access.offline and self.mirrored is None:
                raise no_network(f"The split {split} of {self.name}", f"datasets/{self.name}/")
            title = self.name if self.config is None else f"{self.name} ({self.config})"
            raise UserError(f"{title} has no split {split!r}.{nearest(split, there)}")
        return _read(folder, split, files, self.access)

    def _fetched(self, split: str) -> Path:
        """The folder of the repository at its commit, with this split's files; other splits are not fetched."""
        folder = snapshot("dataset", self.name, self.revision, self.access, patterns=["README.md"])
        declared = _declared_files(folder, self.config)
        if declared is not None and split not in declared:
            return folder
        wanted = _usual(split, self.config) if declared is None else declared[split]
        return snapshot("dataset", self.name, self.revision, self.access, patterns=["README.md", *wanted])

    def _files(self, folder: Path, split: str | None = None) -> list[Path]:
        """The data files of a split, or of all."""
        declared = _declared_files(folder, self.config)
        if declared is None:
            inside = self._inside(folder)
            return [path for path in _data_files(inside) if split is None or split in _names(path, inside)]
        if not declared:
            raise UserError(f"{folder}/README.md declares no config {self.config!r} of {self.name}.")
        patterns = [glob for name, globs in declared.items() if split in (None, name) for glob in globs]
        files = _data_files(folder)
        return [path for path in files if any(fnmatch.fnmatch(str(path.relative_to(folder)), p) for p in patterns)]

    def _inside(self, folder: Path) -> Path:
        """The config's own folder, where it has one."""
        return folder / self.config if self.config and (folder / self.config).is_dir() else folder

    def _splits(self, folder: Path) -> list[str]:
        """The splits that a folder has, or what looks like them where no README lists them."""
        declared, inside = _declared_files(folder, self.config), self._inside(folder)
        if declared is not None:
            return sorted(declared)
        return sorted(set().union(*(_names(path, inside) for path in _data_files(inside))))


def _data_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in _READERS]


def _names(path: Path, root: Path) -> set[str]:
    """The splits that a file may belong to by its place: its folders' names, and its own up to a `-` or the suffix."""
    return {*path.relative_to(root).parts[:-1], path.stem.partition("-")[0], path.stem}


def _usual(split: str, config: str | None) -> list[str]:
    """Patterns of the files of a split in a repository whose README lists none; here `*` matches `/` as well."""
    within = f"{config}/" if config else ""
    places = (f"{within}{split}", f"{within}*/{split}")
    return [f"{place}{rest}{suffix}" for place in places for rest in ("/*", "-*", "") for suffix in _READERS]


def _declared_files(folder: Path, config: str | None) -> dict[str, list[str]] | None:
    """Split -> file patterns as the repository's README declares them; None without a README, {} without the config."""
    from bench.declarations.yaml12 import parse

    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except OSError:
        return None
    if not text.startswith("---"):
        return None
    header = parse(text.split("---", 2)[1], f"{folder}/README.md")
    try:
        configs = (header or {}).get("configs")
        if not configs:
            return None
        for entry in configs:
            if config is None or entry.get("config_name") == config:
                return {item["split"]: _listed(item["path"]) for item in entry["data_files"]}
    except (AttributeError, KeyError, TypeError):
        raise UserError(
            f"{folder}/README.md declares its configs in a form that is not read here; expected a list of "
            "{config_name: NAME, data_files: [{split: NAME, path: PATTERNS}]}."
        ) from None
    return {}


def _listed(given: Any) -> list[str]:
    return [str(one) for one in given] if isinstance(given, list) else [str(given)]


def _read(folder: Path, split: str, files: list[Path], access: Access) -> Rows:
    """Read through the `datasets` library, so that features (images, class names) mean what they mean there.

    Columns are read from its memory-mapped cache when they are indexed; an image is decoded when its row is.
    """
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.CRITICAL)  # its errors are raised as well, and told below
    kinds = sorted({_READERS[path.suffix] for path in files})
    if len(kinds) > 1:
        raise UserError(f"The split {split!r} of {folder} has files of several kinds: {', '.join(kinds)}.")
    cache = access.writable_cache("datasets")
    names = [str(path) for path in sorted(files, key=_counted)]
    try:
        table = load_dataset(kinds[0], data_files={split: names}, split=split, cache_dir=str(cache))
    except (DatasetGenerationError, tarfile.TarError, OSError, ValueError, IndexError) as error:
        raise UserError(f"{_broken(files) or folder} cannot be read as {kinds[0]}: {_first(error)}") from None
    # Where a shard lies on this machine is nothing that a task may read.
    return Rows({name: _column(table, name) for name in table.column_names if name != "__url__"})


def _counted(path: Path) -> list[Any]:
    """A sorting key by which 10.tar follows 9.tar: rows are numbered in the order in which they were written."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.as_posix())]


def _column(table: Any, name: str) -> Any:
    """One column, indexable by row; class numbers of webdataset are whole numbers, however they were stored."""
    if name != "cls" or str(getattr(table.features[name], "dtype", "")).startswith(("int", "uint")):
        return table[name]
    try:
        return [int(value) for value in table[name]]
    except (TypeError, ValueError):
        return table[name]  # class names


def _broken(files: list[Path]) -> Path | None:
    """The first parquet file or tar shard that does not open, or holds nothing."""
    import pyarrow.parquet

    for path in files:
        try:
            if path.suffix == ".parquet":
                pyarrow.parquet.ParquetFile(path).read()
            elif path.suffix == ".tar":
                with tarfile.open(path) as shard:
                    if not shard.getnames():
                        return path
        except Exception:
            return path
    return None


def _first(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


SOURCE = HubSource
