"""Archives, unpacked once: plain files and folders, and nothing that could leave its place."""

from __future__ import annotations

import shutil
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from bench.core.errors import UserError, first_line


def unpacked(archive: Path, folder: Path) -> Path:
    """`folder` with the archive's files in it; filled beside its place and then moved there, so that it is whole.

    UserError where the archive is damaged, or holds a link, a device or a name that leaves the folder.
    """
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as made:
        inside = Path(made) / "files"
        inside.mkdir()
        try:
            _zip(archive, inside) if zipfile.is_zipfile(archive) else _tar(archive, inside)
        except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:
            raise UserError(f"{archive.name} cannot be unpacked: {first_line(error)}") from None
        try:
            inside.rename(folder)
        except OSError:
            if not folder.is_dir():  # or another process was first
                raise
    return folder


def files_in(folder: Path) -> list[Path]:
    """All files below `folder`, sorted by their names there."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, "r:*") as file:
        for one in file:
            _check(archive, one.name, plain=one.isfile() or one.isdir())
            file.extract(one, folder, filter="data")


def _zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for one in file.infolist():
            kind = stat.S_IFMT(one.external_attr >> 16)
            _check(archive, one.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            target = folder / one.filename
            if one.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open(one) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _check(archive: Path, name: str, plain: bool) -> None:
    path = PurePosixPath(name)
    if not plain:
        raise UserError(f"{archive.name} holds {name!r}, a link or a device, which is refused.")
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name.partition("/")[0]:
        raise UserError(f"{archive.name} holds {name!r}, a name that leaves its folder, which is refused.")
