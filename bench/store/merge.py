"""Bringing the finished runs of one store into another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.store import events
from bench.store.access import reading, writing

if TYPE_CHECKING:
    from bench.store.store import Store


def merge(into: Store, other: Store) -> tuple[int, int]:
    """Copy the finished runs of `other` that are neither finished nor being run in `into`: (copied, present).

    A run is copied under a claim, like any other attempt: a merge cut short leaves nothing that counts, and
    the next one finishes it. Checkpoints and unfinished attempts stay where they are.
    UserError when a run of `other` does not have the key its spec gives it.
    """
    if not (other.path / "format.json").exists():
        raise UserError(f"There is no store at {other.path}.")
    copied = present = 0
    for key in other.keys():  # noqa: SIM118 (no dict)
        source = other.folder(key)
        if source is None:
            continue
        if into.state(key) != "done" and _bring(into, other, key, source):
            copied += 1
        else:
            present += 1
    into.studies.bring(other.studies)
    return copied, present


def _bring(into: Store, other: Store, key: str, source: Path) -> bool:
    spec = other.spec(key)
    if not _is_digest(key, spec):
        raise UserError(f"The run {key} in {other.path} is damaged: its spec does not give its key.")
    other.record(key)  # a record that cannot be read is an error here rather than later
    into.enqueue(key, spec, other.request(key))
    claim = into.claim(key, retry=True)
    if claim is None:
        return False
    done = events.last(source.parent / "events").event
    with claim:
        _copy(source, claim.folder)
        return claim.adopt(str(done.get("at", "")))


def _is_digest(key: str, spec: dict[str, Any]) -> bool:
    try:
        return digest(spec) == key
    except ValueError:  # infinities, which no spec holds
        return False


def _copy(source: Path, target: Path) -> None:
    """Copy the regular files of an attempt; links are not followed, for they may lead anywhere."""
    for where, folders, names in os.walk(source):
        if Path(where) == source and "checkpoint" in folders:
            folders.remove("checkpoint")
        here = target / Path(where).relative_to(source)
        with writing(target):
            here.mkdir(exist_ok=True)
        for name in names:
            file = Path(where, name)
            if file.is_file() and not file.is_symlink():
                _copy_file(file, here / name)


def _copy_file(source: Path, target: Path) -> None:
    with reading(source), open(source, "rb") as old, writing(target), open(target, "wb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
