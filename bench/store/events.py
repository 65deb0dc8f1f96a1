"""The log of one run: numbered entries, each of which can be created once.

Creating entry n + 1 after having read entry n is a compare-and-swap: of two processes that saw n, one wins.
The entry is written under a temporary name and linked to its own, so that it appears whole; a file system
without links gets exclusive creation instead, where a process that dies in between leaves a torn entry.
"""

from __future__ import annotations

import errno
import json
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ENTRY = re.compile(r"(\d{6,})\.json")
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True)
class Entry:
    """Where a log stands: its highest `number` and its last readable `event`.

    `torn` counts the unreadable entries after that event; `event` is {} when none can be read.
    """

    number: int
    event: dict[str, Any]
    torn: int = 0

    @property
    def kind(self) -> str:
        return str(self.event.get("event", "none"))

    @property
    def attempt(self) -> int:
        """The attempt the last readable event speaks of, 0 when there was none."""
        attempt = self.event.get("attempt", 0)
        return attempt if isinstance(attempt, int) else 0


def path_of(log: Path, number: int) -> Path:
    """The file of entry `number`."""
    return log / f"{number:06d}.json"


def last(log: Path) -> Entry:
    """Where the log in the folder `log` stands; entry 0 when it is empty or absent."""
    try:
        names = os.listdir(log)
    except (FileNotFoundError, NotADirectoryError):
        return Entry(0, {})
    numbers = sorted((int(match[1]) for name in names if (match := _ENTRY.fullmatch(name))), reverse=True)
    for torn, number in enumerate(numbers):
        event = read(log, number)
        if event:
            return Entry(numbers[0], event, torn)
    return Entry(numbers[0] if numbers else 0, {}, len(numbers))


def read(log: Path, number: int) -> dict[str, Any]:
    """The event in entry `number`; {} when it is absent or torn."""
    try:
        event = json.loads(path_of(log, number).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return event if isinstance(event, dict) else {}


def append(log: Path, number: int, event: dict[str, Any], durable: bool = False) -> bool:
    """Create entry `number`; False when it exists already, or the run was removed meanwhile.

    A `durable` entry is on disk afterwards; any other may be lost in a power cut, with its process.
    """
    try:
        return create(path_of(log, number), (json.dumps(event, sort_keys=True) + "\n").encode(), durable)
    except FileNotFoundError:
        return False


def create(path: Path, data: bytes, durable: bool = False) -> bool:
    """Make a file that is whole from its first moment; False when it exists: of several makers one succeeds."""
    temporary = path.parent / f".{path.stem}.{uuid.uuid4().hex}"
    try:
        _write(temporary, data, durable)
        created = _link(temporary, path, data, durable)
    finally:
        temporary.unlink(missing_ok=True)
    if created and durable:
        _sync_folder(path.parent)
    return created


def _link(temporary: Path, target: Path, data: bytes, durable: bool) -> bool:
    try:
        os.link(temporary, target)
    except FileExistsError:
        # A network file system may report its own retry as a collision; the link count tells.
        return os.stat(temporary).st_nlink == 2
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            _write(target, data, durable)
        except FileExistsError:
            return False
    return True


def _write(path: Path, data: bytes, durable: bool) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        if os.write(handle, data) != len(data):
            raise OSError(errno.ENOSPC, "the disk is full")
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut, where the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
