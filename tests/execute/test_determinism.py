"""Promise 3: randomness is a counter. The same run gives the same bits, whatever happens around it."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.access import Access
from bench.data.modalities import modality
from bench.execute.batch import Batch
from bench.execute.engine import prepared_data
from bench.execute.loaders import Order, training_loader
from bench.plan.grid import plan
from bench.predictions import load
from bench.problems import problem_of
from bench.store import Store

from .conftest import Go, Stopper

RUN = ("all=toy/waves", "task.budget.epochs=2")


def bits(store: Store, key: str, part: str = "test", candidate: str = "last") -> np.ndarray:
    folder = store.folder(key)
    assert folder is not None
    return load(folder, candidate, part)["logits"]


def test_twice_and_with_workers_gives_the_same_bits(toy: Path, go: Go) -> None:
    store, (row,) = go(*RUN)
    expected = bits(store, row["key"])
    assert np.ptp(expected) > 0
    for place, workers in enumerate((0, 1, 2)):
        other, (again,) = go(*RUN, store=f"again{place}", workers=workers)
        assert again["key"] == row["key"]
        np.testing.assert_array_equal(bits(other, again["key"]), expected)


def test_validation_does_not_shift_training(toy: Path, go: Go) -> None:
    """With validation often, once, and without any: the last checkpoint is the same."""
    store, (row,) = go(*RUN, "task.budget.validations=9")
    expected = bits(store, row["key"])
    for name, changes in (
        ("one", ["task.budget.validations=1"]),
        ("none", ["task.splits.val=null", "task.selection=last"]),
    ):
        other, (again,) = go(*RUN, *changes, store=name)
        assert again["key"] != row["key"]
        np.testing.assert_array_equal(bits(other, again["key"]), expected)


@pytest.mark.parametrize("step", [1, 5, 9, 13])
def test_a_stopped_run_goes_on_to_the_same_bits(toy: Path, go: Go, step: int) -> None:
    """Stopped in the middle of an epoch, at its end, and at a validation; 9 steps an epoch, 18 in all."""
    store, (row,) = go(*RUN)
    stop = threading.Event()
    other, (queued,) = go(*RUN, store="stopped", stop=stop, progress=Stopper(step, stop))
    assert queued["state"] == "queued"
    assert queued["outcome"].interrupted
    watcher = Stopper(-1, threading.Event())
    other, (done,) = go(*RUN, store="stopped", progress=watcher)
    assert watcher.begun == [step]
    assert done["state"] == "done"
    for candidate in ("last", "best"):
        if (store.folder(row["key"]) / "predictions" / f"{candidate}.test.safetensors").exists():  # type: ignore[operator]
            np.testing.assert_array_equal(
                bits(other, done["key"], "test", candidate), bits(store, row["key"], "test", candidate)
            )
    one, two = store.record(row["key"]), other.record(done["key"])
    assert one is not None
    assert two is not None
    assert one["history"] == two["history"]
    assert one["selection"] == two["selection"]


def batches(method: str, workers: int = 0, seed: int = 0) -> list[Batch]:
    (run,) = plan([f"{method}=toy/waves"], seeds=[seed], access=Access.from_environment())
    prepared = prepared_data(run, Access.from_environment())
    part = prepared.pool(seed)["train"]
    order = Order(part, run.task["name"], seed, 8, balanced=False)

    def encoder(raw: Any) -> Any:
        return torch.from_numpy(np.array(raw))

    problem = problem_of(run.task)
    return list(training_loader(part, modality("image"), encoder, run.task, seed, problem, order, 20, 0, workers))


DRAWING = """
import random

import numpy as np
import torch

from bench.execute.method import Method
from bench.execute.objective import Objective


class Drawing(Objective):
    def setup(self):
        self.scale = 1 + np.random.rand() + random.random()

    def forward(self, method, batch):
        return super().forward(method, batch) * self.scale * (1 + np.random.rand()) * (1 + torch.rand(()))


class Late(Method):
    def begin(self, phase):
        with torch.no_grad():
            self.head.linear.bias.copy_(torch.randn(3) + float(np.random.rand()))

    def predict(self, batch):
        return super().predict(batch) + 0.01 * torch.randn(())

    def finish(self):
        with torch.no_grad():
            self.head.linear.bias.add_(torch.randn(3))
"""


def test_what_a_method_draws_anywhere_is_its_own(toy: Path, go: Go) -> None:
    """In setup, at a phase, in a step, a prediction and finish; whatever the process drew before."""
    (toy / "methods/kinds/drawing.py").write_text(DRAWING)
    (toy / "methods/kinds/drawing.yaml").write_text(
        'title: Draws\nmethod: {method: "drawing:Late"}\nobjective: {objective: "drawing:Drawing"}\n'
        "adaptation: {train: all}\n"
    )
    found = []
    for number in (1, 2):
        torch.manual_seed(number)
        np.random.seed(number)
        random.seed(number)
        before = torch.get_rng_state()
        store, (row,) = go("drawing=toy/waves", "task.budget.steps=4", store=f"s{number}")
        assert torch.equal(before, torch.get_rng_state()), "the person's own generators are left alone"
        assert row["state"] == "done", store.error(row["key"])
        found.append(bits(store, row["key"]))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("first", "then"), [(None, 4), (4, None)])
def test_going_on_with_another_micro_batch_stays_on_the_steps(
    toy: Path, go: Go, first: int | None, then: int | None
) -> None:
    """As after running out of memory: no step is lost or done twice. Without dropout only rounding differs."""
    little = toy / "methods/backbones/little.py"
    little.write_text(little.read_text().replace("nn.Dropout(0.1)", "nn.Dropout(0.0)"))
    arguments = ("scaled=toy/waves", "task.budget.epochs=2", "optimizer.lr=0.1")
    store, (row,) = go(*arguments)
    stop = threading.Event()
    go(*arguments, store="cut", stop=stop, progress=Stopper(5, stop), micro_batch=first)
    other, (again,) = go(*arguments, store="cut", micro_batch=then)
    assert again["state"] == "done"
    np.testing.assert_allclose(bits(other, row["key"]), bits(store, row["key"]), atol=1e-5)
    steps = [[entry["step"] for entry in (one.record(row["key"]) or {})["history"]] for one in (store, other)]
    assert steps[0] == steps[1]
    assert steps[0][-1] == 18


def test_two_methods_see_identical_batches(toy: Path) -> None:
    for one, two in zip(batches("all"), batches("scaled"), strict=True):
        assert one.ids.tolist() == two.ids.tolist()
        np.testing.assert_array_equal(one.inputs, two.inputs)
    first, second = batches("all")[0], batches("all", seed=1)[0]
    assert first.ids.tolist() != second.ids.tolist()


def test_every_row_is_seen_once_an_epoch_in_even_batches(toy: Path) -> None:
    epoch = batches("all")[:9]
    ids = [int(one) for batch in epoch for one in batch.ids]
    assert len(ids) == len(set(ids)) == 72
    assert {len(batch) for batch in epoch} == {8}


def test_micro_batches_make_the_same_step(toy: Path, go: Go) -> None:
    """The key is the same, and so is the result but for dropout, which is drawn per forward pass."""
    arguments = ("scaled=toy/waves", "task.budget.epochs=2")
    store, (row,) = go(*arguments)
    other, (again,) = go(*arguments, store="micro", micro_batch=3)
    assert again["key"] == row["key"]
    whole, cut = bits(store, row["key"]), bits(other, again["key"])
    assert np.abs(whole - cut).max() < 0.2 * np.abs(whole).max()
