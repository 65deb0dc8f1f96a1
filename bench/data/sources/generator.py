"""Data made by a function in the task's own folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.loading import load
from bench.data.access import Access
from bench.data.sources import Identity, Rows


class GeneratorSource:
    """`{generator: "file:function", params: {...}}`: the function gives `{split: {column: values}}`.

    Its identity is its parameters; its source file is digested with the run's other code.
    """

    def __init__(self, declared: Mapping[str, Any], home: Path, access: Access) -> None:
        self.reference, self.params, self.home = declared["generator"], dict(declared.get("params") or {}), home

    def identity(self) -> Identity:
        return Identity({"generator": self.reference, "params": self.params})

    def download(self) -> int:
        return 0

    def load(self, split: str) -> Rows:
        splits = load(self.reference, self.home)(**self.params)
        if split not in splits:
            raise UserError(f"{self.reference} makes the splits {', '.join(splits)}, not {split!r}.")
        return Rows(dict(splits[split]))


SOURCE = GeneratorSource
