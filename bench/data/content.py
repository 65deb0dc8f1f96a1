"""Content digests of files, remembered by size, time and inode."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.core.files import write_atomic
from bench.data.access import Access

_CHUNK = 1 << 20


def file_digest(path: Path, access: Access) -> str:
    """SHA-256 of a file; read again only when its size, time or inode changed."""
    status = path.stat()
    mark = [status.st_size, status.st_mtime_ns, status.st_ino]
    note = access.cache / "digests" / hashlib.sha256(str(path).encode()).hexdigest()[:32]
    try:
        known = json.loads(note.read_text())
        if known["mark"] == mark:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    sha256 = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    found = sha256.hexdigest()
    access.writable_cache("digests")
    write_atomic(note, json.dumps({"mark": mark, "sha256": found}))
    return found


def folder_digest(folder: Path, files: Iterable[Path], access: Access) -> str:
    """One digest of several files of a folder: their relative names and contents. Damaged mirror files are refused."""
    listed = _checksums(access.mirror) if access.mirror else {}
    found = {}
    for path in sorted(files):
        sha256 = file_digest(path, access)
        expected = listed.get(_within(path, access.mirror)) if access.mirror else None
        if expected and expected != sha256:
            raise UserError(
                f"{path} is damaged: its SHA-256 begins {sha256[:12]}, the mirror's SHA256SUMS says {expected[:12]}; "
                "copy the file anew."
            )
        found[path.relative_to(folder).as_posix()] = sha256
    return digest(found)


def _within(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else ""


@lru_cache(maxsize=4)
def _checksums(mirror: Path) -> dict[str, str]:
    """The mirror's own list of checksums, when it has one."""
    try:
        lines = (mirror / "SHA256SUMS").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines)
    return {pair[1].strip().lstrip("*").removeprefix("./"): pair[0] for pair in pairs if len(pair) == 2}
