"""Optimizers, what their groups say, and the schedules of the learning rate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.declarations.schema import LIBRARY_SCHEDULES
from bench.execute.groups import parameter_groups
from bench.execute.optimizer import Rule, adam, factor, make_schedule
from bench.testing.little import assembled, drive


class Looking(Rule):
    """Adam that notes what its groups hold."""

    def setup(self, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.betas = betas

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        parameter.sub_(group["lr"] * adam(gradient, state, self.betas))


def lora() -> Any:
    from pathlib import Path

    from bench.core.loading import load

    return load("lora:LoRA", Path(__file__).parents[2] / "methods" / "adapters")


def test_groups_say_what_they_hold() -> None:
    declared = {
        "adaptation": {"adapter": lora(), "targets": ["attn.qkv[q,v]"]},
        "optimizer": {"optimizer": Looking, "weight_decay": 0.1},
    }
    method = assembled(declared, 3)
    training = drive(method, 3)
    rule: Any = training._updates.entries["main"].optimizer  # type: ignore[union-attr]
    added = [group for group in rule.param_groups if group["role"] == "added"]
    assert {group["adapter"] for group in added} == {
        f"blocks.{n}.attn.qkv[{s}]" for n in (0, 1) for s in ("0:12", "24:36")
    }
    for group in added:
        adapter = rule.adapters[group["adapter"]]
        assert [id(one) for one in group["params"]] == [id(adapter.A), id(adapter.B)]
        assert [name.rpartition(".")[2] for name in group["names"]] == ["A", "B"]
    head = {group["kind"]: group["weight_decay"] for group in rule.param_groups if group["role"] == "head"}
    assert head == {"weight": 0.1, "bias": 0.0}
    assert rule.info.steps == 3


def test_roles_and_kinds_where_everything_moves() -> None:
    method = assembled({}, 3)
    groups = parameter_groups(method, method.blueprint.slot("optimizer"), None, apart=True)
    assert {(group["role"], group["kind"]) for group in groups} == {
        ("head", "weight"), ("head", "bias"), ("backbone", "weight"), ("backbone", "bias"), ("backbone", "norm"),
    }  # fmt: skip
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, _ in method.named_parameters())


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_adams_direction_is_torchs(betas: tuple[float, float]) -> None:
    ours = torch.zeros(5, dtype=torch.float64)
    theirs = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer, state = torch.optim.Adam([theirs], lr=0.1, betas=betas), dict[str, Any]()
    for step in range(6):
        gradient = torch.linspace(-1, 2, 5, dtype=torch.float64).sin() * (step + 1)
        theirs.grad = gradient.clone()
        optimizer.step()
        ours -= 0.1 * adam(gradient, state, betas)
    torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-14)


def declared(**settings: Any) -> dict[str, Any]:
    return {"lr": 0.1, "warmup": 0.2, "schedule": "constant", **settings}


@pytest.mark.parametrize("name", LIBRARY_SCHEDULES)
def test_schedules_by_name_are_transformers(name: str) -> None:
    from transformers import get_scheduler
    from transformers.trainer_utils import SchedulerType

    assert name in {kind.value for kind in SchedulerType}
    own: dict[str, Any] = {"num_decay_steps": 4} if name == "warmup_stable_decay" else {}
    own |= {"min_lr_rate": 0.1} if "min_lr" in name else {}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = get_scheduler(name, optimizer, 4, 20, scheduler_specific_kwargs=own)
    ours = make_schedule(declared(schedule=name, schedule_params=own), 20)
    for step in range(20):
        assert 0.1 * ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_schedules_refuse_what_they_do_not_take() -> None:
    with pytest.raises(UserError, match="the schedule cosine takes none"):
        make_schedule(declared(schedule="cosine", schedule_params={"power": 2}), 9)
    with pytest.raises(UserError, match="schedule_params do not fit the schedule polynomial"):
        make_schedule(declared(schedule="polynomial", schedule_params={"powr": 2}), 9)


def test_our_own_schedules() -> None:
    assert [factor("constant", 0.4, 5)(step) for step in range(5)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])
    assert factor("linear", 0.0, 4)(2) == pytest.approx(0.5)
    assert factor("cosine", 0.0, 4)(2) == pytest.approx(0.5)
