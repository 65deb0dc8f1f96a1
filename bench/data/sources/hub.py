"""A dataset repository of the Hugging Face hub, from a mirror, the hub's cache or the network."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, first_line, nearest
from bench.data.access import Access
from bench.data.content import folder_digest
from bench.data.repository import snapshot, snapshot_here
from bench.data.sources import Identity, Rows


class HubSource:
    """`{hub: owner/name, config: NAME, revision: COMMIT}`. Files only: a dataset's own code is never run."""

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
        here = self.mirrored or snapshot_here("dataset", self.name, self.revision)
        return 0 if here is not None else self.bytes

    def load(self, split: str) -> Rows | None:
        folder = self.mirrored or snapshot(
            "dataset", self.name, self.revision, self.access, patterns=[*_wanted(self.config)]
        )
        files = self._files(folder, split)
        if not files:
            there = sorted(_declared_files(folder, self.config) or {})
            if self.mirrored is not None and split not in there:
                return None
            raise UserError(f"{self.name} ({self.config}) has no split {split!r}.{nearest(split, there)}")
        return _read(folder, self.config, split, files, self.access)

    def _files(self, folder: Path, split: str | None = None) -> list[Path]:
        declared = _declared_files(folder, self.config)
        if declared is None:
            inside = folder / self.config if self.config and (folder / self.config).is_dir() else folder
            files = [path for path in inside.rglob("*") if path.suffix in _READERS]
            return [path for path in files if split is None or path.name.startswith(f"{split}-")]
        if not declared:
            raise UserError(f"{folder}/README.md declares no config {self.config!r} of {self.name}.")
        patterns = [glob for name, globs in declared.items() if split in (None, name) for glob in globs]
        files = [path for path in folder.rglob("*") if path.suffix in _READERS]
        return [path for path in files if any(fnmatch.fnmatch(str(path.relative_to(folder)), p) for p in patterns)]


_READERS = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}


def _wanted(config: str | None) -> list[str]:
    return ["README.md", f"{config}/*"] if config else ["README.md", "*.parquet"]


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


def _read(folder: Path, config: str | None, split: str, files: list[Path], access: Access) -> Rows:
    """Read through the `datasets` library, so that features (images, class names) mean what they mean there."""
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.CRITICAL)  # its errors are raised as well, and told below
    kind = _READERS[files[0].suffix]
    cache = access.writable_cache("datasets")
    names = [str(path) for path in sorted(files)]
    try:
        table = load_dataset(kind, data_files={split: names}, split=split, cache_dir=str(cache))
    except (DatasetGenerationError, OSError, ValueError) as error:
        raise UserError(f"{_broken(files) or folder} cannot be read as {kind}: {_first(error)}") from None
    return Rows({name: table[name] for name in table.column_names})


def _broken(files: list[Path]) -> Path | None:
    """The first parquet file that does not open."""
    import pyarrow.parquet

    for path in files:
        try:
            pyarrow.parquet.ParquetFile(path).read()
        except Exception:
            return path
    return None


def _first(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


SOURCE = HubSource
