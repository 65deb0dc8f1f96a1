"""Which declarations there are, and where: the project around the working directory, plug-ins, the
built-ins.

A name is a file's place below `tasks/` or `methods/`, so that listing names opens no file. A file is read
when its declaration is asked for, once. The same name in two places is an error, never a question of order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, nearest
from bench.declarations import yaml12
from bench.declarations.keys import locate, nearest_key, settable
from bench.declarations.merging import merge
from bench.declarations.projects import Project, find_projects
from bench.declarations.references import reference
from bench.declarations.schema import KINDS, METHOD, check
from bench.declarations.wording import found, place, quoted

__all__ = ["Catalog", "Declaration", "Project", "reference"]

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PLURALS = {"task": "tasks", "suite": "tasks", "method": "methods", "backbone": "methods"}


@dataclass(frozen=True)
class Declaration:
    """One declaration, as it stands in its file; a task's families are merged in. Treat `body` as
    read-only.

    `root` is the folder that holds `tasks/` or `methods/`; `origin` is "project", "plug-in NAME" or
    "built-in";
    `layers` are the files merged into `body`, innermost first, with what each says.
    """

    kind: str
    name: str
    path: Path
    root: Path
    origin: str
    body: dict[str, Any]
    layers: tuple[tuple[Path, dict[str, Any]], ...] = field(default=(), repr=False, compare=False)

    @property
    def home(self) -> Path:
        """The folder in which "file:Class" of this declaration is looked up."""
        return self.path.parent

    def giver(self, key: str) -> Path | None:
        """The file that gives the dotted `key`: the innermost layer that holds it."""
        for path, body in self.layers:
            if _holds(body, key):
                return path
        return None

    def place(self, key: str) -> str:
        """Where the dotted `key` stands, for errors: the file that gives it, else the declaration's own."""
        return place(self.giver(key) or self.path)


@dataclass(frozen=True)
class _Entry:
    kind: str
    path: Path
    top: Path  # the `tasks` or `methods` folder
    origin: str


class Catalog:
    """The declarations of several projects under one set of names."""

    def __init__(self, projects: Sequence[Project]) -> None:
        self.projects = tuple(projects)
        self._indexes: dict[str, dict[tuple[str, str], _Entry]] = {}
        self._files: dict[Path, dict[str, Any]] = {}
        self._declarations: dict[tuple[str, str], Declaration] = {}

    @classmethod
    def find(cls, start: Path | None = None, builtin: bool = True) -> Catalog:
        """The catalog of the project around `start` (default: the working directory), plug-ins and built-ins.

        Without `builtin` it is the project's alone.
        """
        return cls(find_projects(start if start is not None else Path(), builtin))

    def tasks(self) -> list[str]:
        """The names of all tasks, sorted; like the other lists, made without opening a file."""
        return self._names("task")

    def suites(self) -> list[str]:
        """The names of all suites, sorted."""
        return self._names("suite")

    def methods(self) -> list[str]:
        """The names of all methods, sorted."""
        return self._names("method")

    def backbones(self) -> list[str]:
        """The names of all declared backbones, sorted."""
        return self._names("backbone")

    def task(self, name: str) -> Declaration:
        """The task `name` with its families merged in; `resolve`, knowing its problem, checks its keys."""
        return self._declaration("task", name)

    def suite(self, name: str) -> Declaration:
        """The suite `name`, checked, with defaults; its tasks under full names (a file may be shorter)."""
        return self._declaration("suite", name)

    def method(self, name: str) -> Declaration:
        """The method `name`, checked; without defaults, since it may be combined with others."""
        return self._declaration("method", name)

    def backbone(self, name: str) -> Declaration:
        """The declared backbone `name`, checked, with defaults."""
        return self._declaration("backbone", name)

    def _names(self, kind: str) -> list[str]:
        return sorted(name for of, name in self._index(_PLURALS[kind]) if of == kind)

    def _index(self, plural: str) -> dict[tuple[str, str], _Entry]:
        if plural not in self._indexes:
            index: dict[tuple[str, str], _Entry] = {}
            for project in self.projects:
                folder = project.tasks if plural == "tasks" else project.methods
                if folder is None:
                    continue
                for kind, name, path in _declared(plural, folder):
                    _add(index, name, _Entry(kind, path, folder, project.origin))
            self._indexes[plural] = index
        return self._indexes[plural]

    def _declaration(self, kind: str, name: str) -> Declaration:
        if (kind, name) not in self._declarations:
            entry = self._index(_PLURALS[kind]).get((kind, name))
            if entry is None:
                raise self._unknown(kind, name)
            self._declarations[kind, name] = self._read(name, entry)
        return self._declarations[kind, name]

    def _read(self, name: str, entry: _Entry) -> Declaration:
        paths = [entry.path]
        if entry.kind == "task":
            paths += [path for path in _families(entry.path, entry.top) if path.exists()]
        layers = tuple((path, self._file(path)) for path in paths)
        body: dict[str, Any] = {}
        for _, layer in reversed(layers):
            body = merge(body, layer)
        draft = Declaration(entry.kind, name, entry.path, entry.top.parent, entry.origin, body, layers)
        if entry.kind == "task":
            return draft
        checked = check(body, KINDS[entry.kind], draft.place, defaults=entry.kind != "method")
        if entry.kind == "method":
            _check_search(checked, draft)
        if entry.kind == "suite":
            given = checked["tasks"]
            if isinstance(given, dict) != (checked["average"] == "groups"):
                raise UserError(
                    f'{draft.place("average")}: "tasks" must be a mapping of groups to lists where "average" is '
                    f"groups, and a list where it is macro, found {found(given)}."
                )
            groups = {name: self._members(tasks, draft) for name, tasks in _grouped(given, name).items()}
            checked["tasks"] = [task for tasks in groups.values() for task in tasks]
            checked["groups"] = groups
        return replace(draft, body=checked)

    def _members(self, given: list[str], suite: Declaration) -> list[str]:
        """The full names of a suite's tasks, each once."""
        known = set(self.tasks())
        full = {task: task if task in known else f"{suite.name}/{task}" for task in given}
        for task, name in full.items():
            if name not in known:
                raise UserError(
                    f'{suite.place("tasks")}: "tasks" names {quoted(task)}, which is no task.{nearest(name, known)}'
                )
        return list(dict.fromkeys(full.values()))

    def _file(self, path: Path) -> dict[str, Any]:
        if path not in self._files:
            self._files[path] = yaml12.load(path)
        return self._files[path]

    def _unknown(self, kind: str, name: str) -> UserError:
        for other in KINDS:
            if other != kind and name in self._names(other):
                return UserError(f"There is no {kind} {quoted(name)}; that is the name of a {other}.")
        known = self._names(kind)
        hint = nearest(name, known) or (f" `bench list {kind}s` shows all {len(known)}." if known else "")
        return UserError(f"There is no {kind} {quoted(name)}.{hint}")


def _grouped(tasks: list[str] | dict[str, list[str]], name: str) -> dict[str, list[str]]:
    """A suite's tasks by group; a plain list is one group."""
    return tasks if isinstance(tasks, dict) else {name: tasks}


def _declared(plural: str, folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Kind, name and path of each declaration below a `tasks/` or `methods/` folder."""
    for parts, path in _yaml_files(folder, folder.parent):
        *folders, stem = parts
        if stem.startswith("_"):
            if plural == "tasks" and stem == "_suite" and folders:
                yield "suite", _name(folders, path), path
        elif plural == "tasks":
            yield "task", _name(parts, path), path
        elif folders and folders[0] == "backbones":
            yield "backbone", _name([stem], path), path
        else:
            if "." in stem:
                raise UserError(
                    f'{place(path)}: the name of a method may hold no "." (on the command line it marks an '
                    f"override), found {quoted(stem)}."
                )
            yield "method", _name([stem], path), path


def _name(parts: Sequence[str], path: Path) -> str:
    for part in parts:
        if not _SEGMENT.fullmatch(part) or ".." in part:
            raise UserError(
                f'{place(path)}: a name may hold letters, digits, "_", "-" and ".", and begin with one of '
                f"the first three, found {quoted(part)}."
            )
    return "/".join(parts)


def _yaml_files(folder: Path, root: Path) -> Iterator[tuple[list[str], Path]]:
    """Every `.yaml` file below `folder` as ([folder, ..., stem], path), sorted; links stay in `root`."""
    within = os.path.realpath(root)

    def walk(here: str, parts: list[str], trail: list[str]) -> Iterator[tuple[list[str], Path]]:
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{place(Path(here))} cannot be listed: {error.strerror or error}.") from None
        for entry in entries:
            if entry.name.startswith((".", "__")):
                continue
            if entry.is_dir():
                real = _kept_within(entry, within, trail)
                yield from walk(entry.path, [*parts, entry.name], [*trail, real])
            elif entry.name.endswith(".yaml"):
                _kept_within(entry, within, [])
                yield [*parts, entry.name[: -len(".yaml")]], Path(entry.path)

    if folder.is_symlink() and not _inside(os.path.realpath(folder), within):
        raise UserError(f"{place(folder)} is a link that leaves its project, which is refused.")
    yield from walk(str(folder), [], [os.path.realpath(folder)])


def _kept_within(entry: os.DirEntry[str], within: str, trail: Sequence[str]) -> str:
    """The real path of `entry`; refused when it is a link that leaves `within` or leads back to its own
    parents.
    """
    if not entry.is_symlink():
        return os.path.join(trail[-1], entry.name) if trail else entry.path
    real = os.path.realpath(entry.path)
    if not _inside(real, within):
        raise UserError(f"{place(Path(entry.path))} is a link that leaves its project, which is refused.")
    if real in trail:
        raise UserError(f"{place(Path(entry.path))} is a link that leads back to its own parent, which is refused.")
    return real


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _add(index: dict[tuple[str, str], _Entry], name: str, entry: _Entry) -> None:
    """Enter a declaration; a task and a suite of one name exclude each other too, since both stand after
    the `=`.
    """
    rivals = ("task", "suite") if entry.kind in ("task", "suite") else (entry.kind,)
    for kind in rivals:
        if other := index.get((kind, name)):
            both = entry.kind if kind == entry.kind else f"{kind} and as a {entry.kind}"
            raise UserError(
                f"{quoted(name)} is declared twice as a {both}: in {place(other.path)} and in {place(entry.path)}."
            )
    index[entry.kind, name] = entry


def _families(path: Path, top: Path) -> Iterator[Path]:
    """Where the `_family.yaml` files of the task at `path` may be, innermost first."""
    for folder in path.parents:
        yield folder / "_family.yaml"
        if folder == top:
            return


def _holds(body: Any, key: str) -> bool:
    """Whether `body` gives the dotted `key`, which may end in list indices."""
    for part in key.split("."):
        name = part.partition("[")[0]
        if not isinstance(body, dict) or name not in body:
            return False
        body = body[name]
    return True


def _check_search(body: dict[str, Any], declaration: Declaration) -> None:
    """Each key of a search space, and each condition, must be a key the method can be given."""
    for key, space in body.get("search", {}).items():
        for name in (key, *space.get("when", {})):
            target = locate(METHOD, body, name.split("."))
            if isinstance(target, str):
                hint = nearest_key(name, list(settable(METHOD, body)))
                raise UserError(
                    f'{declaration.place("search")}: "search" names {quoted(name)}, and {target}; '
                    f"expected a key of the method.{hint}"
                )
