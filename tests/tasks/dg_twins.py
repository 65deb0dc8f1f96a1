"""What the tests of domain generalization share: a declared task checked and prepared, and its twin looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.core.canonical import digest
from bench.data.access import Access
from bench.data.prepare import Prepared, Wanted, prepare
from bench.declarations.catalog import Catalog
from bench.declarations.schema import check_task
from bench.problems import extra_fields, problem_of


def declared(catalog: Catalog, name: str) -> dict[str, Any]:
    """The task with its defaults."""
    found = catalog.task(name)
    return {"name": name, **check_task(found.body, found.place, extra_fields(found.body["problem"]))}


def prepared(catalog: Catalog, task: dict[str, Any], access: Access, fold: str | None, twin: bool) -> Prepared:
    inputs = digest([task["name"], twin, str(access.cache)])
    home = catalog.task(task["name"]).home
    return prepare(Wanted(task, fold, problem_of(task), home, twin, inputs, digest([inputs, fold])), access)


def check_twin(catalog: Catalog, name: str, cache: Path) -> None:
    """Every part is there, with rows of all training domains and of several classes."""
    task = declared(catalog, name)
    if "image" in task:
        task["image"]["size"] = 16
    fold = next(iter(problem_of(task).folds()), None)
    made = prepared(catalog, task, Access(cache), fold, twin=True)
    assert {part.name for part in made.tests()} == ({"test", "target-val"} if fold else {"test"})
    domains = len(task.get("domains") or [0] * 3) - (fold is not None)
    for part in made.pool(0).values():
        assert part.groups is not None
        assert part.labels is not None
        assert len(set(part.labels.tolist())) > 1
        assert len(set(part.groups.tolist())) == domains
        assert (part.subgroups is not None) == ("group" in task)
