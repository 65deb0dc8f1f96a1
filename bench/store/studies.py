"""Studies in a store: what a search was declared as, what it chose, and the fresh runs that confirm the choice.

Each is a folder `studies/NAME` with `study.json`, `selection.json` and `confirmed.json`; the trials themselves are
kept by the search's own storage, by default a journal in the same folder. Declaration and selection are written once.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.files import write_json
from bench.store import events
from bench.store.access import read_object, writing

_NAME = re.compile(r"[A-Za-z0-9+-][A-Za-z0-9.+-]*")


@dataclass(frozen=True)
class Studies:
    """The studies below one folder."""

    path: Path

    def names(self) -> list[str]:
        """Every declared study, sorted."""
        try:
            found = sorted(os.listdir(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [name for name in found if _NAME.fullmatch(name) and (self.path / name / "study.json").is_file()]

    def folder(self, name: str) -> Path:
        """Where a study lies; UserError for a name that could lead elsewhere."""
        if not _NAME.fullmatch(name):
            raise UserError(f"{name!r} is no name of a study.")
        return self.path / name

    def declare(self, name: str, spec: Mapping[str, Any]) -> Path:
        """Write down what a study is, unless it is there; its folder."""
        folder = self.folder(name)
        with writing(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            _write_once(folder / "study.json", {"schema": 1, "name": name, "spec": dict(spec)})
        return folder

    def spec(self, name: str) -> dict[str, Any]:
        """What a study was declared as."""
        found: dict[str, Any] = read_object(self.folder(name) / "study.json")["spec"]
        return found

    def select(self, name: str, selection: Mapping[str, Any]) -> dict[str, Any]:
        """Write the selection, which seals the study; where one is written already, that one stands and is given."""
        with writing(self.path):
            _write_once(self.folder(name) / "selection.json", selection)
        return self.selection(name) or {}

    def selection(self, name: str) -> dict[str, Any] | None:
        """What was selected; None while the study is open."""
        return _optional(self.folder(name) / "selection.json")

    def confirm(self, name: str, keys: Mapping[str, int]) -> None:
        """Note the runs (key -> replicate) of the chosen parameters on fresh seeds, beside those noted before."""
        if dict(keys).items() <= self.confirmed(name).items():
            return
        with writing(self.path), open(self.folder(name) / ".confirmed.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two processes may confirm with different seeds
            write_json(self.folder(name) / "confirmed.json", self.confirmed(name) | dict(keys))

    def confirmed(self, name: str) -> dict[str, int]:
        """The runs on fresh seeds: key -> replicate."""
        return _optional(self.folder(name) / "confirmed.json") or {}

    def bring(self, other: Studies) -> int:
        """Copy the studies of another store that are not here, what they have chosen and confirmed; how many are new.

        A study that is here keeps its own choice; fresh seeds that confirm the same choice are joined.
        """
        missing = [name for name in other.names() if not (self.path / name / "study.json").exists()]
        for name in missing:
            made = self.path / f".bringing-{uuid.uuid4().hex}"
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                made.mkdir()
                for file in sorted(other.folder(name).iterdir()):
                    if file.is_file() and not file.is_symlink():  # a link may lead anywhere
                        shutil.copyfile(file, made / file.name)
                shutil.rmtree(self.folder(name), ignore_errors=True)
                made.rename(self.folder(name))
        for name in set(other.names()) - set(missing):
            theirs = other.selection(name)
            if theirs is None or self.spec(name) != other.spec(name):
                continue
            if self.select(name, theirs)["key"] == theirs["key"]:
                self.confirm(name, other.confirmed(name))
        return len(missing)


def _write_once(path: Path, body: Mapping[str, Any]) -> None:
    text = json.dumps(dict(body), indent=1, sort_keys=True, allow_nan=False) + "\n"
    events.create(path, text.encode(), durable=True)


def _optional(path: Path) -> dict[str, Any] | None:
    return read_object(path) if path.exists() else None
