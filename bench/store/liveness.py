"""Whether the process that holds a claim still lives.

On the same machine the process table knows. From another machine only the heartbeat speaks, and its age is
measured with the clock of the file system that stamped it: clocks of two machines may differ by minutes.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any


@functools.cache
def host() -> str:
    """The name of this machine."""
    return socket.gethostname() or "localhost"


@functools.cache
def machine() -> str:
    """This boot of this machine and its process numbering, as 16 digits.

    Containers may share a host name while their process numbers mean different things.
    """
    try:
        known = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/pid")
    except OSError:
        known = ""
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def started(pid: int) -> str | None:
    """When a process began, in ticks since boot; "ended" when it only waits to be reaped; None if unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before ")" may hold anything
    return "ended" if fields[0] in "ZX" else fields[19]


def this_process() -> dict[str, Any]:
    """What a claim says of its holder."""
    return {"host": host(), "machine": machine(), "pid": os.getpid(), "started": started(os.getpid())}


def lives(holder: dict[str, Any]) -> bool | None:
    """Whether the process lives, as far as this machine's process table knows; None where it cannot tell."""
    pid = holder.get("pid")
    here = (holder.get("host"), holder.get("machine")) == (host(), machine())
    if not here or not isinstance(pid, int) or pid < 1:
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another person's process
    began = started(pid)
    return None if began is None else began == holder.get("started")


def age(*files: Path) -> float:
    """Seconds since the newest of `files` was touched, by their file system's clock; infinite without any."""
    touched = [stamp for stamp in map(_touched, files) if stamp is not None]
    return _now(files[0].parent) - max(touched) if touched else float("inf")


def _touched(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _now(folder: Path) -> float:
    """The file system's time; this machine's where the folder cannot be written."""
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".clock.")
    except OSError:
        return time.time()
    try:
        return os.fstat(handle).st_mtime
    finally:
        os.close(handle)
        os.unlink(name)
