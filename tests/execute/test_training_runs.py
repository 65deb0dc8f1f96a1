"""Whole runs of methods that do what they may not, or what only a whole run shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.execute.method import Method
from bench.testing.little import assembled, drive

from .conftest import Go

KINDS = """
import torch

from bench import Adaptation, Adapter, Method, Objective, Phase


class LateSolve(Method):
    def phases(self, steps):
        return [Phase("train"), Phase("head", closed_form=True)]

    @torch.no_grad()
    def solve(self, phase, data):
        self.head.linear.weight.fill_(7.0)


class Scaling(Method):
    def phases(self, steps):
        return [Phase("train"), Phase("scale", closed_form=True)]

    @torch.no_grad()
    def solve(self, phase, data):
        for parameter in self.backbone.parameters():
            parameter.data.mul_(1.5)


class Merging(Method):
    @torch.no_grad()
    def finish(self):
        next(iter(self.backbone.parameters())).data.add_(1.0)


class HeadFirst(Method):
    def phases(self, steps):
        return [Phase("head", train="head"), Phase("more", train=("head", "backbone.network.second.*"))]


class Tried(Method):
    def phases(self, steps):
        return [Phase(f"phase {place}") for place in range(4)]


class Lightnings(Method):
    def training_step(self, batch, index):
        raise AssertionError


class Pulled(Method):
    def loss(self, batch):
        return super().loss(batch) + self.backbone(batch.inputs).var(0).sum()


class Noted(Adapter):
    def setup(self):
        self.shift = torch.nn.Parameter(torch.zeros_like(self.weight0))

    def weight(self):
        return self.weight0 + self.shift


class Looking(Adaptation):
    calibration_batches = 2

    def build(self):
        for site in self.sites():
            self.add(Noted(site))

    def calibrate(self, batches, forward):
        assert [batch.step for batch in batches] == [0, 1]


class OnlySolved(Method):
    def phases(self, steps):
        return [Phase("head", closed_form=True)]

    def solve(self, phase, data):
        pass
"""


@pytest.fixture
def kinds(toy: Path) -> Path:
    """A project with methods of every kind of mischief."""
    folder = toy / "methods" / "kinds"
    (folder / "wild.py").write_text(KINDS)
    for name in ("LateSolve", "Scaling", "Merging", "HeadFirst", "Tried", "Lightnings", "Pulled", "OnlySolved"):
        (folder / f"{name.lower()}.yaml").write_text(f'title: {name}\nmethod: {{method: "wild:{name}"}}\n')
    (folder / "looking.yaml").write_text('title: Looks\nadaptation: {adaptation: "wild:Looking", targets: dense}\n')
    return toy


def test_what_follows_training_in_closed_form_is_in_what_is_selected(kinds: Path, go: Go) -> None:
    from safetensors.torch import load_file

    store, (row,) = go("latesolve+all=toy/waves", "task.budget.steps=6", "task.budget.validations=6")
    assert row["state"] == "done", store.error(row["key"])
    record = store.record(row["key"])
    assert record is not None
    assert record["selection"]["step"] == 6, "no state before the last phase is a candidate"
    kept = load_file(store.folder(row["key"]) / "trained.safetensors")
    assert kept["head.linear.weight"].unique().tolist() == [7.0]


@pytest.mark.parametrize("name", ["scaling", "merging"])
def test_writing_into_frozen_weights_is_a_failure(kinds: Path, go: Go, name: str) -> None:
    """No record would hold it, so that a restored model predicted otherwise; `.data` shows in no version count."""
    store, (row,) = go(f"{name}+scaled=toy/waves", "task.budget.steps=2")
    assert row["state"] == "failed"
    assert "was changed, which no record keeps" in (store.error(row["key"]) or "")
    store, (row,) = go("scaling+all=toy/waves", "task.budget.steps=2")
    assert row["state"] == "done", "weights that may move are kept"


def test_what_no_phase_trains_is_neither_counted_nor_kept(kinds: Path, go: Go) -> None:
    from safetensors.torch import load_file

    from bench.data.access import Access
    from bench.execute.build import restore
    from bench.execute.engine import prepared_data
    from bench.execute.evaluate import predict_part
    from bench.plan.grid import plan
    from bench.predictions import load

    arguments = ("headfirst+all=toy/waves", "task.budget.steps=4")
    store, (row,) = go(*arguments)
    assert row["state"] == "done", store.error(row["key"])
    record = store.record(row["key"])
    assert record is not None
    assert record["cost"]["trainable_parameters"] == 16 * 3 + 3 + 16 * 16 + 16
    folder = store.folder(row["key"])
    assert folder is not None
    names = {name.partition(".")[0] + "." + name.split(".")[-2] for name in load_file(folder / "trained.safetensors")}
    assert {"head.linear", "backbone.second"} <= names
    assert not any("first" in name or "stem" in name for name in names)
    (run,) = plan(arguments, access=Access.from_environment())
    (part,) = prepared_data(run, Access.from_environment()).tests()
    again = predict_part(restore(run, folder, Access.from_environment()), part)["logits"]
    assert (again == load(folder, record["selection"]["candidate"], "test")["logits"]).all()


def test_a_trial_of_many_phases_has_a_step_for_each(kinds: Path) -> None:
    import bench

    assert list(bench.run("tried+all=toy/waves", debug=True)) == []


def test_hooks_that_nothing_calls_are_refused(kinds: Path, go: Go) -> None:
    _, rows = go("lightnings+all=toy/waves", "task.budget.steps=2")
    assert rows == []
    method: Any = type("Old", (Method,), {"configure_optimizers": lambda self: None})
    with pytest.raises(UserError, match="Old defines configure_optimizers, which nothing calls"):
        assembled({"method": {"method": method}}, 2)


def test_a_loss_of_the_methods_own_is_cut_where_it_says_so(kinds: Path, go: Go) -> None:
    _, rows = go("pulled+all=toy/waves", "task.budget.steps=2", micro_batch=3)
    assert rows == []
    with pytest.raises(UserError, match="Mine does not say micro_batches = True"):
        drive(
            assembled({"method": {"method": type("Mine", (Method,), {"loss": lambda s, b: Method.loss(s, b)})}}, 2),
            2,
            3,
        )
    rowwise: Any = type("Mine", (Method,), {"loss": lambda s, b: Method.loss(s, b), "micro_batches": True})
    drive(assembled({"method": {"method": rowwise}}, 2), 2, 3)


def test_a_method_without_training_is_calibrated_too(kinds: Path, go: Go) -> None:
    store, (row,) = go("onlysolved+looking=toy/waves", "task.budget.steps=3")
    assert row["state"] == "done", store.error(row["key"])


def test_half_precision_is_for_gpus(toy: Path, go: Go) -> None:
    """Lightning would train in bf16 there, and say nothing."""
    _, rows = go("all=toy/waves", "task.budget.steps=2", precision="16", device="cpu")
    assert rows == []
