"""A task's data card: what a person asks before using a data set, in one column of names and one of answers."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.core.printable import printable

if TYPE_CHECKING:
    from bench.declarations.catalog import Catalog, Declaration

_WIDTH = 100
_NAMES = 6  # classes shown by name


def card(declared: Declaration, catalog: Catalog) -> dict[str, str]:
    """The card's lines in order; what is not known is left out."""
    from bench.declarations.resolve import resolve_task
    from bench.problems import extra_fields, problem_of

    body, home = resolve_task(catalog, declared.name, (), extra_fields)
    task = {"name": declared.name, **body}
    notes, problem = declared.body, problem_of(task)
    source = task["source"]
    lines = {
        "title": notes.get("title"),
        "about": notes.get("description"),
        "problem": task["problem"],
        "source": _source(source),
        "pinned by": _pinned(source),
        "here": _here(task, home),
        "download": _bytes(source.get("bytes")),
        "rows": ", ".join(f"{split} {count:,}" for split, count in (source.get("rows") or {}).items()),
        "classes": _classes(task.get("classes") or []),
        "splits": _splits(task["splits"]),
        "folds": ", ".join(problem.folds()),
        "domains": _classes(task.get("domains") or []) if not problem.folds() else None,
        "known classes": str(problem.known()) if problem.known() is not None else None,
        "score": _metrics(task["metric"]),
        "reported": _metrics(task.get("report") or []),
        "budget": ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in task["budget"].items()),
        "selection": task["selection"],
        "backbone": task.get("backbone"),
        "licence": notes.get("licence"),
        "to obtain": notes.get("obtain"),
        "citation": notes.get("citation"),
        "homepage": notes.get("homepage"),
    }
    return {name: " ".join(str(text).split()) for name, text in lines.items() if text}


def drawn(lines: Mapping[str, str]) -> str:
    """The card as text."""
    width = max(map(len, lines)) + 2
    rows = []
    for name, text in lines.items():
        first, *rest = textwrap.wrap(printable(text), _WIDTH - width) or [""]
        rows += [f"{name:<{width}}{first}", *(" " * width + line for line in rest)]
    return "\n".join(rows)


def _source(source: Mapping[str, Any]) -> str:
    kind = next(one for one in ("hub", "url", "folder", "sklearn", "generator") if source.get(one))
    words = {
        "hub": "Hugging Face hub",
        "url": "file at",
        "folder": "folder",
        "sklearn": "scikit-learn's",
        "generator": "made by",
    }
    config = f", config {source['config']}" if source.get("config") else ""
    through = f", through {source['through']}" if source.get("through") else ""
    return f"{words[kind]} {source[kind]}{config}{through}"


def _pinned(source: Mapping[str, Any]) -> str:
    if source.get("generator"):
        return "its code and params"
    if source.get("folder"):
        return "a digest of the files' contents"
    for key in ("revision", "sha256", "md5"):
        if given := source.get(key):
            each = ", ".join(f"{value} ({size})" for size, value in given.items()) if isinstance(given, dict) else given
            return f"{key} {each}"
    return "nothing yet: the revision or checksum is not declared, so that only a mirror or the twin can be used"


def _here(task: Mapping[str, Any], home: Any) -> str | None:
    from bench.data.access import Access
    from bench.data.sources import sized, source

    try:
        declared = sized(task["source"], (task.get("image") or {}).get("size"))
        missing = source(declared, home, Access.from_environment(offline=True)).download()
    except UserError as error:
        return str(error)
    if missing == 0:
        return "yes"
    pinned = any(task["source"].get(key) for key in ("revision", "sha256", "md5"))
    return "no; `bench data prepare` fetches it" if pinned else "no"


def _bytes(given: Any) -> str | None:
    from bench.tables import bytes_

    if isinstance(given, dict):
        return ", ".join(f"{bytes_(value)} ({size})" for size, value in given.items())
    return bytes_(given) if given else None


def _classes(names: list[Any]) -> str:
    more = f", ... {names[-1]}" if len(names) > _NAMES else ""
    return f"{len(names)}: {', '.join(map(str, names[:_NAMES]))}{more}" if names else ""


def _splits(splits: Mapping[str, Any]) -> str:
    parts = []
    for name in ("train", "val", "test"):
        given = splits.get(name)
        if isinstance(given, dict):
            parts += [f"{name}-{part} = {text}" for part, text in given.items()]
        elif given:
            parts.append(f"{name} = {given}")
    order = splits.get("shuffle") or "none"
    shots = f"; {splits['shots']} of each class" if splits.get("shots") else ""
    return "; ".join(parts) + ("" if order == "none" else f"; order {order}") + shots


def _metrics(given: str | list[str]) -> str:
    from bench.metrics import metric

    found = [metric(name) for name in ([given] if isinstance(given, str) else given)]
    return "; ".join(
        f"{one.name} ({one.title}, version {one.version}, {'higher' if one.higher else 'lower'} is better)"
        for one in found
    )
