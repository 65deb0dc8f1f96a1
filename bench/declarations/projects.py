"""Where benchmark projects are: around the working directory, in installed plug-ins, and in the harness
itself.

A project is a folder with `tasks/` or `methods/` that hold YAML files. Nothing of a plug-in is run to find
it, except the parent packages of the one it names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import UserError
from bench.declarations.wording import place, quoted

GROUP = "bench.projects"
_SUBFOLDERS = ("tasks", "methods")


@dataclass(frozen=True)
class Project:
    """The folders of one benchmark project; `origin` is "project", "plug-in NAME" or "built-in"."""

    origin: str
    tasks: Path | None
    methods: Path | None

    @classmethod
    def at(cls, folder: Path, origin: str = "project") -> Project:
        """The project whose folders lie in `folder`."""
        tasks, methods = (path if path.is_dir() else None for path in (folder / name for name in _SUBFOLDERS))
        return cls(origin, tasks, methods)


def find_projects(start: Path, builtin: bool = True) -> list[Project]:
    """The project around `start`, then (with `builtin`) plug-ins and built-ins; a folder reached twice
    counts once.

    A checkout of the harness stands for the built-ins while one works in it, even where another copy is
    installed.
    """
    around = project_around(start)
    if not builtin:
        return [] if around is None else [Project.at(around)]
    projects: list[Project] = []
    if around is None:
        projects = [*_plugins(), _builtins()]
    elif _is_harness(around):
        projects = [*_plugins(), Project.at(around, "built-in")]
    else:
        projects = [Project.at(around), *_plugins(), _builtins()]
    return _once(projects)


def project_around(start: Path) -> Path | None:
    """The nearest folder at or above `start` that is a project, on the same file system; None when there is
    none.
    """
    try:
        here = start.resolve()
        device = here.stat().st_dev
        while not any(_has_yaml(here / name) for name in _SUBFOLDERS):
            if here.parent == here or here.parent.stat().st_dev != device:
                return None
            here = here.parent
        return here
    except OSError as error:
        raise UserError(f"{place(start)} cannot be searched for a project: {error.strerror or error}.") from None


def _has_yaml(folder: Path) -> bool:
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        if any(name.endswith(".yaml") for name in files):
            return True
    return False


def _is_harness(folder: Path) -> bool:
    return (folder / "bench" / "declarations" / Path(__file__).name).is_file()


def _once(projects: list[Project]) -> list[Project]:
    """Each folder in the first project that reaches it."""
    seen: set[str] = set()

    def first(folder: Path | None) -> Path | None:
        if folder is None or (real := os.path.realpath(folder)) in seen:
            return None
        seen.add(real)
        return folder

    kept = [Project(project.origin, first(project.tasks), first(project.methods)) for project in projects]
    return [project for project in kept if project.tasks or project.methods]


def _builtins() -> Project:
    """The folders mapped to `bench.tasks` and `bench.methods`; beside the package in a checkout that is not
    installed.
    """
    import bench

    beside = Path(bench.__file__).resolve().parent.parent
    if beside.name in ("site-packages", "dist-packages"):
        beside = beside / "bench"  # never another distribution's top-level `tasks`
    fallback = Project.at(beside)
    tasks, methods = (_package_folder(f"bench.{name}") for name in _SUBFOLDERS)
    return Project("built-in", tasks or fallback.tasks, methods or fallback.methods)


def _plugins() -> list[Project]:
    """The projects that installed distributions offer under the entry-point group, sorted by name."""
    from importlib.metadata import entry_points

    projects = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        module = point.value.partition(":")[0].strip()
        folder = _package_folder(module)
        if folder is None:
            raise UserError(
                f"The plug-in {quoted(point.name)} names the package {quoted(module)}, which cannot be "
                f"imported; install or remove it (entry points {quoted(GROUP)})."
            )
        inside = Project.at(folder)
        tasks = inside.tasks or _package_folder(f"{module}.tasks")
        methods = inside.methods or _package_folder(f"{module}.methods")
        if tasks is None and methods is None:
            raise UserError(
                f"The plug-in {quoted(point.name)} names the package {quoted(module)}, which holds neither "
                f"tasks nor methods."
            )
        projects.append(Project(f"plug-in {point.name}", tasks, methods))
    return projects


def _package_folder(module: str) -> Path | None:
    """The folder of an importable package (`importlib.resources.files` would give the same), found without
    running it.
    """
    from importlib.util import find_spec

    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        if os.path.isdir(location):
            return Path(location)
    return None
