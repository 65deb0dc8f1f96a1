"""Python files named by a declaration: `file:Name` beside the YAML."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from bench.core.canonical import digest
from bench.core.errors import UserError, nearest

ROOTS = ("methods", "tasks", "metrics")


def load(reference: str, home: Path) -> Any:
    """The object that `reference` ("file:Name") names in the folder `home`.

    Built-in files are imported as `bench.methods...`; those of another project under a package name of their own,
    so that relative imports work everywhere and no project's names collide with another's. Files edited since they
    were imported are imported anew: what runs is what the key says.
    """
    stem, _, name = reference.partition(":")
    path = source_path(reference, home)
    package = _package(root_of(home))
    _forget_edited(package)
    writing, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a cached file may be a second out of date
    try:
        module = importlib.import_module(f"{package}.{_dotted(home, stem)}")
    except UserError:
        raise
    except Exception as error:
        raise UserError(_unimportable(path, error)) from error
    finally:
        sys.dont_write_bytecode = writing
        _MARKS.update({module: mark for module, mark in _marks(package).items() if module not in _MARKS})
    if not hasattr(module, name):
        public = [word for word in vars(module) if not word.startswith("_")]
        raise UserError(f"{path} has no {name}, which {reference!r} names.{nearest(name, public)}")
    return getattr(module, name)


def _unimportable(path: Path, error: Exception) -> str:
    """What went wrong while a file was imported, and where in the project: a mistake to mend, not a result."""
    root = str(root_of(path.parent))
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
    said = next(iter(str(error).splitlines()), "")
    where = f" (line {own[-1].lineno} of {own[-1].filename})" if own and not isinstance(error, SyntaxError) else ""
    return f"{path} cannot be imported: {type(error).__name__}: {said}{where}."


def source_path(reference: str, home: Path) -> Path:
    """The file that `reference` names; UserError when there is none."""
    stem = reference.partition(":")[0]
    path = home / f"{stem}.py"
    if not path.is_file():
        there = [file.stem for file in home.glob("*.py")]
        raise UserError(f"{reference!r} names the file {path}, which does not exist.{nearest(stem, there)}")
    return path


def root_of(home: Path) -> Path:
    """The `methods`, `tasks` or `metrics` folder that `home` lies in."""
    for folder in (home, *home.parents):
        if folder.name in ROOTS:
            return folder
    raise UserError(f"{home} lies in no folder called methods or tasks.")


def _dotted(home: Path, stem: str) -> str:
    return ".".join([*home.relative_to(root_of(home)).parts, stem])


_MARKS: dict[str, tuple[int, int]] = {}  # module -> time and size of its file when it was imported


def _marks(package: str) -> dict[str, tuple[int, int]]:
    """The present marks of the imported modules of a package; (0, 0) for a file that is gone."""
    found = {}
    inside = [name for name in list(sys.modules) if name.startswith(f"{package}.")]
    for name in inside:
        file = getattr(sys.modules[name], "__file__", None)
        if file:
            try:
                status = Path(file).stat()
                found[name] = (status.st_mtime_ns, status.st_size)
            except OSError:
                found[name] = (0, 0)
    return found


def _forget_edited(package: str) -> None:
    """Drop a package's modules when the file of any of them changed: they may hold each other's old objects."""
    present = _marks(package)
    if all(_MARKS.get(name, mark) == mark for name, mark in present.items()):
        return
    for name in present:
        del sys.modules[name]
        _MARKS.pop(name, None)
    importlib.invalidate_caches()


def builtin_root(name: str) -> Path | None:
    """The folder of the built-in `methods`, `tasks` or `metrics`; None in a bare checkout that is not installed."""
    try:
        spec = importlib.util.find_spec(f"bench.{name}")
    except ModuleNotFoundError:
        return None
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    return Path(places[0]) if places else None


def _package(root: Path) -> str:
    """The importable package name for a root folder; made on first use where it is not a built-in."""
    if builtin_root(root.name) == root:
        return f"bench.{root.name}"
    name = f"bench_project_{digest(str(root))[:12]}_{root.name}"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(root)]
        sys.modules[name] = package
    return name
