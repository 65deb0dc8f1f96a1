"""GLUE with few examples: as many of each class as declared, from the right splits, drawn anew for each replicate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.canonical import digest
from bench.data.access import Access
from bench.data.prepare import Prepared, Wanted, prepare
from bench.declarations.catalog import Catalog
from bench.declarations.schema import check_task
from bench.problems import extra_fields, problem_of

TASKS = ("cola", "sst2", "mrpc", "qqp", "mnli", "qnli", "rte")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.find()


def declared(catalog: Catalog, name: str, **changes: Any) -> dict[str, Any]:
    found = catalog.task(name)
    checked = check_task(found.body, found.place, extra_fields(found.body["problem"]))
    return {"name": name, **checked, **changes}


def prepared(catalog: Catalog, task: dict[str, Any], access: Access, twin: bool) -> Prepared:
    mark = digest([task["name"], twin])
    return prepare(Wanted(task, None, problem_of(task), catalog.task(task["name"]).home, twin, mark, mark), access)


def test_the_suite_holds_all_of_them(catalog: Catalog) -> None:
    assert catalog.suite("glue/fewshot").body["tasks"] == [f"glue/fewshot/{name}" for name in TASKS]
    assert [name for name in catalog.tasks() if name.startswith("glue/fewshot/")] == sorted(
        f"glue/fewshot/{name}" for name in TASKS
    )
    assert not [name for name in catalog.suite("glue").body["tasks"] if "fewshot" in name]


@pytest.mark.parametrize("name", TASKS)
def test_only_the_examples_are_fewer(catalog: Catalog, name: str) -> None:
    few, whole = declared(catalog, f"glue/fewshot/{name}"), declared(catalog, f"glue/{name}")
    for key in ("problem", "source", "inputs", "classes", "backbone", "text"):
        assert few[key] == whole[key], key
    assert few["splits"]["test"] == whole["splits"]["test"]
    assert few["splits"]["shots"] == 16
    measured = [few["metric"], *few["report"]] if few["report"] else [few["metric"]]
    assert measured == (whole["metric"] if isinstance(whole["metric"], list) else [whole["metric"]])
    assert few["budget"] == {"steps": 1000, "batch_size": 8, "validations": 10}
    assert all(few[key] for key in ("title", "citation", "licence", "homepage"))


def check(found: Prepared, classes: int) -> None:
    """16 of each class, apart from each other, anew for each replicate, and the same test rows for all."""
    seen = []
    for replicate in (0, 1, 0):
        pool = found.pool(replicate)
        for part in pool.values():
            assert part.labels is not None
            assert np.bincount(part.labels, minlength=classes).tolist() == [16] * classes
        assert pool["train"].split == pool["val"].split == "train"
        assert not set(pool["train"].rows) & set(pool["val"].rows)
        seen.append({name: sorted(part.rows) for name, part in pool.items()})
    assert seen[0] == seen[2]
    for name in ("train", "val"):
        assert len(set(seen[0][name]) & set(seen[1][name])) < 16 * classes
    assert all(part.split.startswith("validation") for part in found.tests())


@pytest.mark.parametrize("name", TASKS)
def test_a_twin_has_as_many_of_each_class(catalog: Catalog, name: str, tmp_path: Path) -> None:
    task = declared(catalog, f"glue/fewshot/{name}", twin={"rows": 300})
    found = prepared(catalog, task, Access(tmp_path, offline=True), twin=True)
    check(found, len(task["classes"]))
    assert [len(part) for part in found.tests()] == [300] * (2 if name == "mnli" else 1)


@pytest.mark.parametrize(("name", "tested"), [("rte", 277), ("cola", 1043)])
def test_real_examples(mirror: Path, catalog: Catalog, name: str, tested: int, tmp_path: Path) -> None:
    task = declared(catalog, f"glue/fewshot/{name}")
    found = prepared(catalog, task, Access(tmp_path, mirror, True), twin=False)
    check(found, 2)
    (test,) = found.tests()
    assert len(test) == tested
    shares = []
    for replicate in range(200):
        rows = found.pool(replicate)["train"].rows
        shares.append((rows < task["source"]["rows"]["train"] / 2).mean())
    assert abs(np.mean(shares) - 0.5) < 0.04, "examples come from the whole training split"
