"""Where data comes from. One file per kind of source; the key under `source:` names the file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from bench.core.errors import UserError, first_line
from bench.core.loading import load
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


def sized(declared: Mapping[str, Any], size: int | None) -> dict[str, Any]:
    """A declaration in which `{size}` of the address, and what is given for each size, are those of one image size."""
    url = declared.get("url")
    if url is None or "{size}" not in url:
        return dict(declared)
    if size is None:
        raise UserError(f"source.url is {url}, and the task has no image.size to stand in it.")
    chosen: dict[str, Any] = {**declared, "url": url.replace("{size}", str(size))}
    for key in ("sha256", "md5", "bytes"):
        given = declared.get(key)
        if isinstance(given, dict):
            if str(size) not in given:
                raise UserError(f"image.size is {size}; {url} is declared for {', '.join(given)}.")
            chosen[key] = given[str(size)]
    return chosen


def source(declared: Mapping[str, Any], home: Path, access: Access) -> Source:
    """The source a task declares; `home` is the folder of its YAML file."""
    kind = next(kind for kind in KINDS if declared.get(kind) is not None)
    module = importlib.import_module(f"bench.data.sources.{kind}")
    made: Source = module.SOURCE(declared, home, access)
    return made if declared.get("through") is None else Through(made, declared, home)


class Through:
    """A source whose rows pass through a function in the task's own folder before they are used.

    The function gets a loader of the raw splits and the declared params, and gives `{split: {column: values}}`. Its
    file is digested with the run's other code.
    """

    def __init__(self, raw: Source, declared: Mapping[str, Any], home: Path) -> None:
        self.raw, self.reference, self.home = raw, str(declared["through"]), home
        self.params = dict(declared.get("params") or {})

    def identity(self) -> Identity:
        found = self.raw.identity()
        return Identity({**found.fingerprint, "through": self.reference, "params": self.params}, found.provisional)

    def download(self) -> int | None:
        return self.raw.download()

    @cached_property
    def _made(self) -> Mapping[str, Mapping[str, Any]]:
        def columns(split: str) -> Mapping[str, Any]:
            found = self.raw.load(split)
            if found is None:
                raise UserError(
                    f"The mirror has no split {split!r}, from which {self.reference} makes the task's data."
                )
            return found.columns

        try:
            made: Mapping[str, Mapping[str, Any]] = load(self.reference, self.home)(columns, **self.params)
            lengths = {split: {len(values) for values in each.values()} for split, each in made.items()}
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"source.through, {self.reference}, must give {{split: {{column: values}}}}; it failed with "
                f"{type(error).__name__}: {first_line(error)}"
            ) from None
        for split, found in lengths.items():
            if len(found) > 1:
                raise UserError(f"source.through, {self.reference}, gives columns of unequal length for {split!r}.")
        return made

    def load(self, split: str) -> Rows:
        if split not in self._made:
            raise UserError(f"{self.reference} makes the splits {', '.join(self._made)}, not {split!r}.")
        return Rows(dict(self._made[split]))
