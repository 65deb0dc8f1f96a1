"""One file over HTTP into the cache: kept as it grows, gone on with after an interruption, checked at the end."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, first_line

_CHUNK = 1 << 18
_TIMEOUT = 30  # seconds without a byte
_ATTEMPTS = 4  # in a row that bring nothing new
PAUSE = 1.0  # seconds before the second attempt, doubled for each further one


@dataclass(frozen=True)
class Wanted:
    """A file: where it is, where it goes, and the checksum (`sha256` or `md5`) that makes it the right one."""

    url: str
    target: Path
    algorithm: str
    checksum: str
    bytes: int | None = None  # declared, for the progress bar

    @property
    def part(self) -> Path:
        """What has come of it so far."""
        return self.target.with_name(f"{self.target.name}.part")


class _Broken(Exception):
    """The connection ended before the file did."""


def fetch(wanted: Wanted) -> Path:
    """Fetch the file unless it is there; several processes may ask for it at once.

    What an earlier, interrupted call left is gone on with where the server supports it. The file appears at its place
    at once, and only with the right checksum. UserError where it cannot be had.
    """
    with _alone(wanted.target):
        if wanted.target.exists():
            return wanted.target
        with _bar(wanted) as told:
            _download(wanted, told)
        with wanted.part.open("rb") as file:
            found = hashlib.file_digest(file, wanted.algorithm).hexdigest()
        if found != wanted.checksum:
            wanted.part.unlink()
            raise UserError(
                f"{wanted.url} does not have the declared checksum: its {wanted.algorithm} is {found}, the task "
                f"declares {wanted.checksum}. What was fetched is deleted."
            )
        os.replace(wanted.part, wanted.target)
    return wanted.target


def _download(wanted: Wanted, told: Callable[[int, int | None], None]) -> None:
    """Fill the part file; a connection that breaks is made again as long as it brings something."""
    failures = 0
    while True:
        before = _size(wanted.part)
        try:
            return _receive(wanted, told)
        except _Broken as error:
            failures = 1 if _size(wanted.part) > before else failures + 1
            if failures == _ATTEMPTS:
                raise UserError(
                    f"{wanted.url} cannot be fetched: {error}. {_size(wanted.part):,} bytes are kept; the next attempt "
                    "goes on from there."
                ) from None
            time.sleep(PAUSE * 2 ** (failures - 1))


def _receive(wanted: Wanted, told: Callable[[int, int | None], None]) -> None:
    """One request, for what is still missing."""
    import requests  # type: ignore[import-untyped]

    have = _size(wanted.part)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with requests.get(wanted.url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416 and _is_whole(answer, have):
                return
            if have and (answer.status_code == 416 or (answer.status_code == 206 and _begins_at(answer) != have)):
                wanted.part.unlink()
                raise _Broken("what was fetched before is of another file")
            answer.raise_for_status()
            if have and answer.status_code != 206:  # no ranges here
                wanted.part.unlink()
                have = 0
            _write(answer, wanted, have, told)
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code >= 500:
            raise _Broken(first_line(error)) from None
        raise UserError(f"{wanted.url} cannot be fetched: {first_line(error)}") from None
    except requests.RequestException as error:
        raise _Broken(first_line(error)) from None


def _write(answer: Any, wanted: Wanted, have: int, told: Callable[[int, int | None], None]) -> None:
    from urllib3.exceptions import HTTPError

    length = answer.headers.get("Content-Length")
    total = have + int(length) if length else None
    try:
        with wanted.part.open("ab") as file:
            # The bytes as they are sent: an archive must not be decompressed on the way.
            for chunk in answer.raw.stream(_CHUNK, decode_content=False):
                file.write(chunk)
                have += len(chunk)
                told(have, total)
    except HTTPError as error:
        raise _Broken(first_line(error)) from None
    except OSError as error:
        raise UserError(f"{wanted.part} cannot be written: {error.strerror or error}.") from None
    if total is not None and have < total:
        raise _Broken(f"the connection ended after {have:,} of {total:,} bytes")


def _begins_at(answer: Any) -> int | None:
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _is_whole(answer: Any, have: int) -> bool:
    """Whether a refused range was refused because nothing is missing."""
    return bool(answer.headers.get("Content-Range", "") == f"bytes */{have}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that holds it."""
    with target.with_name(f".{target.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _bar(wanted: Wanted) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on the error stream, where that is a terminal; a line elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        console.print(f"fetching {wanted.url}", markup=False, soft_wrap=True)
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bars:
        task = bars.add_task(wanted.target.name.partition("-")[2], total=wanted.bytes, completed=_size(wanted.part))
        yield lambda have, total: bars.update(task, completed=have, total=total or wanted.bytes)
