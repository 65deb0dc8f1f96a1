"""Journals: which keys to look at again, one file per host.

A key is noted with + before an event of its run is written and with - after it. A reader that has seen the +
but not the - looks at the key again next time; one that has seen the - finds the event written. So no change
is missed at any moment, also when the writer is killed in between, and no other folder need be looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.store.liveness import host

_LINE = re.compile(rb"^([+-])([0-9a-f]{64})$", re.MULTILINE)


class Journal:
    """The journals in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def touching(self, key: str) -> Iterator[None]:
        """Note `key` before and after the block, which changes its run."""
        self._note("+", key)
        try:
            yield
        finally:
            self._note("-", key)

    def sizes(self) -> dict[str, int]:
        """The length of every journal, in bytes."""
        try:
            with os.scandir(self.folder) as files:
                return {file.name: file.stat().st_size for file in files if file.name.endswith(".log")}
        except FileNotFoundError:
            return {}

    def read(self, name: str, start: int) -> tuple[list[tuple[str, int]], int]:
        """(key, +1 or -1) per line of a journal from byte `start` on, and the end of its last whole line."""
        with open(self.folder / name, "rb") as file:
            file.seek(start)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        lines = [(key.decode(), 1 if sign == b"+" else -1) for sign, key in _LINE.findall(data[:whole])]
        return lines, start + whole

    def _note(self, sign: str, key: str) -> None:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", host()).lstrip(".") or "localhost"
        # The leading newline keeps a line torn by a full disk from spoiling this one.
        line = f"\n{sign}{key}\n".encode()
        self.folder.mkdir(exist_ok=True)
        handle = os.open(self.folder / f"{name}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
