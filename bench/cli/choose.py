"""Which tasks of a store a command is about: names, globs and suites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.errors import UserError, nearest
from bench.core.patterns import matches
from bench.declarations.catalog import Catalog
from bench.store import Store


@dataclass(frozen=True)
class Chosen:
    """The rows of the chosen tasks, and each suite that was named with its tasks by group."""

    rows: list[dict[str, Any]]
    suites: dict[str, dict[str, list[str]]]


def choose(store: Store, patterns: Sequence[str], methods: str | None = None) -> Chosen:
    """The rows of the tasks that `patterns` mean, all of them without any; `methods` are globs with commas.

    A UserError for a pattern that means nothing: no run here, no declared task, no suite.
    """
    catalog = Catalog.find() if patterns else None
    known = catalog.suites() if catalog else []
    suites = {name: dict(catalog.suite(name).body["groups"]) for name in patterns if catalog and name in known}
    members = {name: [task for tasks in groups.values() for task in tasks] for name, groups in suites.items()}
    tasks = [task for name in patterns for task in members.get(name, [name])] or None
    globs = [one.strip() for one in methods.split(",")] if methods is not None else None
    rows = store.rows(methods=globs, tasks=tasks)
    if catalog is not None:
        _check([name for name in patterns if name not in suites], rows, store, catalog)
    if globs is not None and not rows:
        there = sorted({row["method"] for row in store.rows(tasks=tasks)})
        raise UserError(f"No run in {store.path} is of the method {methods!r}.{nearest(str(methods), there)}")
    return Chosen(rows, suites)


def _check(patterns: Sequence[str], rows: Sequence[dict[str, Any]], store: Store, catalog: Catalog) -> None:
    """Refuse the first pattern that matches neither a run's task nor a declared one."""
    found = {row["task"] for row in rows} | set(catalog.tasks())
    for pattern in patterns:
        if not any(matches(name, pattern) for name in found):
            there = {row["task"] for row in store.rows()}
            if any(matches(name, pattern) for name in there):
                continue  # other methods' runs
            hint = nearest(pattern, sorted({*found, *there, *catalog.suites()}))
            raise UserError(f"No run in {store.path} and no declared task matches {pattern!r}.{hint}")
