"""The store's front: every question about runs and every change to them goes through here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.files import read_json, write_atomic, write_json
from bench.core.patterns import matches
from bench.store import scores
from bench.store.access import KEY, read_object, reading, writing
from bench.store.claims import Claim, attempt_folder, standing, take
from bench.store.index import Index, Row
from bench.store.journal import Journal
from bench.store.studies import Studies
from bench.store.summary import summarise

FORMAT = 1
_OWN = {"runs", "journal", "studies", "format.json", "index.sqlite", "index.sqlite-journal"}


class Store:
    """The runs under one folder. A missing store reads as an empty one and is made by the first change."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._journal = Journal(self.path / "journal")
        self._index = Index(self.path / "index.sqlite", self._journal, self._summarise, self.keys)
        self._made = self._check()

    @classmethod
    def open(cls, path: str | os.PathLike[str], create: bool = True) -> Store:
        """The store at `path`, made where it is missing; UserError when it cannot be read or made."""
        store = cls(path)
        if create:
            store._make()
        return store

    def __contains__(self, key: str) -> bool:
        with reading(self._run(key)):
            return (self._run(key) / "spec.json").exists()

    def keys(self) -> Iterator[str]:
        """The keys of all runs, sorted."""
        for shard in self._list(self.path / "runs"):
            if len(shard) == 2:
                yield from self._shard(shard)

    def find(self, prefix: str) -> str:
        """The one key that begins with `prefix`; UserError when there is none, or more than one."""
        if not prefix:
            raise UserError("A run is named by the first digits of its key, and none are given.")
        keys = self._shard(prefix[:2]) if len(prefix) > 1 and prefix.isalnum() else self.keys()
        found = [key for key in keys if key.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise UserError(f"No run in {self.path} has a key that begins with {prefix!r}.")
        some = ", ".join(key[: len(prefix) + 6] for key in found[:3])
        more = ", …" if len(found) > 3 else ""
        raise UserError(f"{len(found)} keys begin with {prefix!r}: {some}{more}; give more of it.")

    def spec(self, key: str) -> dict[str, Any]:
        """What the run's key is the digest of."""
        return self._written(key, "spec")

    def request(self, key: str) -> dict[str, Any]:
        """What was asked for when the run was planned: enough to plan it again."""
        return self._written(key, "request")

    def state(self, key: str) -> str:
        """queued, running, done, failed or stale; a key nobody has enqueued is queued too."""
        with reading(self._run(key)):
            return standing(self._run(key))[0]

    def folder(self, key: str) -> Path | None:
        """The attempt that was published; None unless the run is done."""
        return self._attempt(key, "done")

    def record(self, key: str) -> dict[str, Any] | None:
        """The published record; None unless the run is done."""
        folder = self.folder(key)
        return None if folder is None else read_object(folder / "record.json")

    def error(self, key: str) -> str | None:
        """The traceback of a failed run; None unless the run has failed."""
        folder = self._attempt(key, "failed")
        with reading(self._run(key)):
            return None if folder is None else (folder / "error.txt").read_text(encoding="utf-8")

    def rows(self, methods: Sequence[str] | None = None, tasks: Sequence[str] | None = None) -> list[Row]:
        """One row per run (see `summary.summarise`) whose method and task match one of the globs; sorted."""

        def wanted(method: str, task: str) -> bool:
            return _matches(method, methods) and _matches(task, tasks)

        if not (self.path / "runs").is_dir():
            return []
        with reading(self.path):
            return sorted(self._index.rows(wanted), key=_order)

    @property
    def studies(self) -> Studies:
        """The searches whose trials are among these runs."""
        return Studies(self.path / "studies")

    def rebuild_index(self) -> None:
        """Throw the index away and make it anew from the run folders."""
        self._index.discard()
        self.rows()

    def usage(self) -> list[Row]:
        """The disk space taken: `method`, `task`, `runs`, `bytes`, the largest first."""
        total: dict[tuple[str, str], list[int]] = {}
        for row in self.rows():
            entry = total.setdefault((row["method"], row["task"]), [0, 0])
            entry[0] += 1
            entry[1] += _bytes(self._run(row["key"]))
        largest = sorted(total.items(), key=lambda item: (-item[1][1], item[0]))
        return [{"method": m, "task": t, "runs": runs, "bytes": held} for (m, t), (runs, held) in largest]

    def enqueue(self, key: str, spec: dict[str, Any], request: dict[str, Any]) -> None:
        """Write down a run to be done; nothing happens when it is there already."""
        run = self._run(key)
        if _whole(run / "spec.json"):
            return
        self._make()
        written = {"key": key, "spec": spec, "request": request}
        text = json.dumps(written, indent=1, sort_keys=True, allow_nan=False) + "\n"
        with writing(self.path), self._journal.touching(key):
            run.parent.mkdir(parents=True, exist_ok=True)
            if run.exists():  # its spec was lost in a power cut
                write_atomic(run / "spec.json", text)
                return
            new = run.parent / f".new-{uuid.uuid4().hex}"
            (new / "events").mkdir(parents=True)
            (new / "spec.json").write_text(text, encoding="utf-8")
            try:
                new.rename(run)  # the folder appears whole
            except OSError:
                shutil.rmtree(new)
                if not run.exists():
                    raise

    def claim(self, key: str, retry: bool = False) -> Claim | None:
        """The right to work on a run; None if done, held by a living other, or failed and no `retry`."""
        run = self._run(key)
        if key not in self:
            raise UserError(f"No run {key} in {self.path}.")
        with writing(run):
            return take(run, self._journal, retry)

    def append_score(self, place: str | Path, event: dict[str, Any]) -> int:
        """Append a score event to a published run (a key) or to an attempt (a folder); its count, from 1."""
        folder = place if isinstance(place, Path) else self.folder(place)
        if folder is None:
            raise UserError(f"The run {place} is not done; there is nothing to score.")
        with writing(folder), self._touching(folder.parent):
            return scores.append(folder, event)

    def remove(self, keys: Iterable[str]) -> int:
        """Delete runs and all they hold; their number. UserError, and nothing deleted, if one is running."""
        chosen = sorted(set(keys))
        for key in chosen:
            if key not in self:
                raise UserError(f"No run {key} in {self.path}.")
            if self.state(key) == "running":
                raise UserError(f"The run {key} is running; stop it before it is removed.")
        with writing(self.path):
            for key in chosen:
                with self._journal.touching(key), contextlib.suppress(FileNotFoundError):
                    self._run(key).rename(self._run(key).parent / f".removed-{uuid.uuid4().hex}")
            for folder in (self.path / "runs").glob("??/.removed-*"):  # also what a killed removal left
                shutil.rmtree(folder, ignore_errors=True)
        return len(chosen)

    def merge(self, other: str | os.PathLike[str]) -> tuple[int, int]:
        """Copy the finished runs of another store: (copied, present). See `merge.merge`."""
        from bench.store.merge import merge

        return merge(self, Store(other))

    def _run(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise UserError(f"{key!r} is no key of a run, which has 64 hexadecimal digits.")
        return self.path / "runs" / key[:2] / key

    def _attempt(self, key: str, state: str) -> Path | None:
        run = self._run(key)
        with reading(run):
            found, entry = standing(run)
        return attempt_folder(run, entry.attempt) if found == state else None

    def _written(self, key: str, part: str) -> dict[str, Any]:
        if key not in self:
            raise UserError(f"No run {key} in {self.path}.")
        path = self._run(key) / "spec.json"
        value = read_object(path).get(part)
        if not isinstance(value, dict):
            raise UserError(f"{path} is damaged: it has no {part}.")
        return value

    def _summarise(self, key: str) -> Row | None:
        return summarise(self._run(key))

    def _touching(self, run: Path) -> AbstractContextManager[None]:
        """The journal's note of a change in the folder `run`, if that lies in this store."""
        if KEY.fullmatch(run.name) and run.exists() and run.resolve() == self._run(run.name).resolve():
            return self._journal.touching(run.name)
        return contextlib.nullcontext()

    def _shard(self, shard: str) -> list[str]:
        return [name for name in self._list(self.path / "runs" / shard) if KEY.fullmatch(name)]

    def _list(self, folder: Path) -> list[str]:
        with reading(self.path):
            try:
                return sorted(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def _check(self) -> bool:
        """Whether the store exists; UserError when what stands at its path is none that can be read."""
        with reading(self.path):
            if self.path.exists() and not self.path.is_dir():
                raise UserError(f"{self.path} is a file, not the folder of a store.")
            path = self.path / "format.json"
            try:
                found = read_json(path)["format"]
            except (FileNotFoundError, NotADirectoryError):
                return False
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path} is damaged: it should name the format.") from None
        if not isinstance(found, int) or found > FORMAT:
            raise UserError(f"{self.path} has format {found}, but {FORMAT} is the newest known here.")
        return True

    def _make(self) -> None:
        if self._made:
            return
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            strange = {name for name in os.listdir(self.path) if not name.startswith(".")} - _OWN
            if strange:
                raise UserError(f"{self.path} holds {min(strange)!r} and is no store; name a new folder.")
            (self.path / "runs").mkdir(exist_ok=True)
            (self.path / "journal").mkdir(exist_ok=True)
            write_json(self.path / "format.json", {"format": FORMAT})
        self._made = True


def _matches(name: str, globs: Sequence[str] | None) -> bool:
    return globs is None or any(matches(name, glob) for glob in globs)


def _order(row: Row) -> tuple[str, str, str, str, int, str]:
    fold = "" if row["fold"] is None else str(row["fold"])
    return row["task"], row["method"], row["variant"], fold, row["replicate"] or 0, row["key"]


def _whole(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _bytes(folder: Path) -> int:
    """What the files below `folder` hold, in bytes; those that vanish meanwhile count as nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total
