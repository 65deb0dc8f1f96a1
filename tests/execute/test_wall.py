"""Promise 2: the wall stands before the test labels."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.prepare import unseal
from bench.execute.method import Blueprint
from bench.plan.grid import plan

from .conftest import Go

CANARY = 0.8128437501903
"""A label of the test split that stands nowhere else."""

SPY = '''
from bench.execute.objective import Objective

SEEN = []


class Spy(Objective):
    """Looks at everything it can reach."""

    def forward(self, method, batch):
        SEEN.append((method, self.info, batch))
        LOOK(method, self.info, batch)
        return super().forward(method, batch)


def LOOK(*objects):
    pass
'''


@pytest.fixture
def canary(toy: Path) -> Path:
    """The regression task with canaries among its test labels, and a method that spies."""
    make = toy / "tasks" / "toy" / "make.py"
    make.write_text(
        make.read_text().replace(
            'return {split: _make(rows, place, classes=None) for place, split in enumerate(("train", "test"))}',
            'made = {split: _make(rows, place, classes=None) for place, split in enumerate(("train", "test"))}\n'
            f'    made["test"]["label"][::2] = {CANARY}\n'
            "    return made",
        )
    )
    assert str(CANARY) in make.read_text()
    (toy / "methods" / "kinds" / "spy.py").write_text(SPY)
    (toy / "methods" / "kinds" / "spy.yaml").write_text(
        'title: A spy\nobjective: {objective: "spy:Spy"}\nadaptation: {train: all}\n'
    )
    return toy


def holds(value: Any) -> bool:
    """Whether an object's own content shows the canary."""
    try:
        return _holds(value)
    except Exception:  # a dead proxy, a tensor without storage, and what else lies about in a process of many tests
        return False


def _holds(value: Any) -> bool:
    if isinstance(value, torch.Tensor) and value.is_floating_point() and not value.is_sparse:
        wanted = torch.tensor(CANARY, dtype=torch.float64)
        return bool(torch.isclose(value.detach().double(), wanted, rtol=0, atol=1e-7).any())
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return bool(np.isclose(value.astype(np.float64), CANARY, rtol=0, atol=1e-7).any())
    if isinstance(value, float):
        return abs(value - CANARY) < 1e-7
    if isinstance(value, (bytes, bytearray)):
        return np.float32(CANARY).tobytes() in value or np.float64(CANARY).tobytes() in value
    return False


def within(value: Any) -> Iterator[Any]:
    """What an object refers to, and what lies in containers that the garbage collector does not track.

    It leaves out those that hold nothing it tracks, such as a dict of arrays.
    """
    for one in gc.get_referents(value):
        yield one
        if type(one) in (dict, list, tuple) and not gc.is_tracked(one):
            yield from within(one)


def test_no_object_in_the_process_holds_a_test_label_during_the_fit(
    canary: Path, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only what the method can reach: everything the garbage collector knows, at every step."""
    found: list[str] = []
    looks: list[int] = []
    assert holds(np.array([0.1, CANARY], np.float32)), "the look can see"

    def look(*objects: Any) -> None:
        looks.append(gc.collect())
        for value in gc.get_objects():
            for one in (value, *within(value)):
                if one is not CANARY and holds(one) and one is not globals().get("CANARY"):
                    found.append(f"{type(one)} in {type(value)}")

    _watch(canary, monkeypatch, look)
    store, (row,) = go("spy=toy/angle", "task.budget.steps=3")
    assert row["state"] == "done", store.error(row["key"])
    assert len(looks) == 3
    assert not found


def test_no_file_that_a_method_is_told_of_holds_a_test_label(
    canary: Path, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every path in every object reachable from the method and the batch, and every file below it."""
    folders: set[Path] = set()

    def look(*objects: Any) -> None:
        folders.update(paths_from(objects))

    _watch(canary, monkeypatch, look)
    access = Access.from_environment()
    (run,) = plan(["spy=toy/angle", "task.budget.steps=2"], access=access)
    _, (row,) = go("spy=toy/angle", "task.budget.steps=2")
    assert row["state"] == "done"
    _, labels, _ = unseal(run.data, "test", access)
    assert holds(labels), "the canary must be where it belongs"
    sealed = access.cache / "sealed"
    assert folders, "the run has at least its own folder"
    for folder in folders:
        assert not sealed.is_relative_to(folder), f"{folder} leads to the labels"
        assert not folder.is_relative_to(sealed)
        files = [folder] if folder.is_file() else [file for file in folder.rglob("*") if file.is_file()]
        for file in files:
            if "toy/tasks" not in str(file) and "make" not in file.name:  # the generator itself makes them
                assert not holds(file.read_bytes()), file


def test_labels_are_joined_only_after_a_selection_is_written(toy: Path, tmp_path: Path) -> None:
    from bench.score import score

    (run,) = plan(["all=toy/waves"], access=Access.from_environment())
    with pytest.raises(UserError, match="no selection yet"):
        score(tmp_path, run.task, run.data, ["test"], 3, Access.from_environment())


def test_a_task_whose_val_rows_are_its_test_rows_is_refused(toy: Path, go: Go) -> None:
    _, rows = go("all=toy/waves", "task.splits.val=test")
    assert rows == []
    store, _ = go("all=toy/waves", "task.splits.val=test")
    assert list(store.keys()) == []


def test_equal_contents_are_counted(toy: Path, go: Go) -> None:
    make = toy / "tasks" / "toy" / "make.py"
    make.write_text(
        make.read_text()
        + "\n\ndef twice(rows):\n    made = waves(rows)\n    made['test'] = made['train']\n    return made\n"
    )
    (toy / "tasks" / "toy" / "same.yaml").write_text(
        'title: The test repeats the training rows\nsource: {generator: "make:twice", params: {rows: 96}}\n'
        "classes: [flat, slanted, steep]\nmetric: accuracy\n"
    )
    store, (row,) = go("all=toy/same", "task.budget.steps=2")
    record = store.record(row["key"])
    assert record is not None
    assert record["data"]["equal_contents"] == {"test~train": 72, "test~val": 24}


def _watch(project: Path, monkeypatch: pytest.MonkeyPatch, look: Any) -> None:
    from bench.core.loading import load

    load("spy:Spy", project / "methods" / "kinds")
    import sys

    (module,) = [
        m
        for name, m in sys.modules.items()
        if name.endswith("_methods.kinds.spy") and m.__file__ and m.__file__.startswith(str(project))
    ]
    monkeypatch.setattr(module, "LOOK", look)


def paths_from(roots: Any) -> set[Path]:
    """Existing absolute paths in the attributes of everything of this project reachable from `roots`."""
    seen: set[int] = set()
    waiting = list(roots)
    found: set[Path] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (str, Path)):
            text = str(value)
            if text.startswith("/") and len(text) < 400 and Path(text).exists() and len(Path(text).parts) > 3:
                found.add(Path(text))
        elif isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting += list(value)
        elif not isinstance(value, (type, torch.Tensor, np.ndarray, int, float)):
            waiting += list(getattr(value, "__dict__", {}).values())
            waiting += [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
            if hasattr(value, "__self__"):
                waiting.append(value.__self__)
    return {path for path in found if not str(path).startswith(("/usr", "/opt", "/proc", "/dev"))}


def test_a_method_is_not_told_where_its_data_come_from(toy: Path, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.execute import build

    seen: list[Any] = []
    monkeypatch.setattr(build, "Blueprint", lambda *given: seen.append(Blueprint(*given)) or seen[-1])
    _, (row,) = go("all=toy/angle", "task.budget.steps=1")
    assert row["state"] == "done"
    (blueprint,) = seen
    assert "source" not in blueprint.problem.task
    assert "task" not in blueprint.homes
