"""Where data comes from. One file per kind of source; the key under `source:` names the file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench.data.access import Access

KINDS = ("hub", "url", "folder", "sklearn", "generator")


@dataclass(frozen=True)
class Rows:
    """One split of a source: columns of equal length, each indexable and iterable."""

    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True)
class Identity:
    """What a source's bytes are, for the key, and what must be said of them.

    `provisional` holds the reasons why a result made from them is not yet one about the published data.
    """

    fingerprint: dict[str, Any]
    provisional: tuple[str, ...] = field(default=())


class Source(Protocol):
    """A declared source."""

    def __init__(self, declared: Mapping[str, Any], home: Path, access: Access) -> None: ...

    def identity(self) -> Identity:
        """Without loading the data, and without the network where the declaration pins what it names."""
        ...

    def load(self, split: str) -> Rows | None:
        """The rows of one published split, None where a mirror lacks it; UserError where it cannot be had."""
        ...

    def download(self) -> int | None:
        """Bytes still to be fetched, as far as they are known: 0 when everything is here, None when unknown."""
        ...


def source(declared: Mapping[str, Any], home: Path, access: Access) -> Source:
    """The source a task declares; `home` is the folder of its YAML file."""
    kind = next(kind for kind in KINDS if declared.get(kind) is not None)
    module = importlib.import_module(f"bench.data.sources.{kind}")
    made: Source = module.SOURCE(declared, home, access)
    return made
