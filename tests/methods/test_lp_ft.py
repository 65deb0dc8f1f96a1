"""LP-FT against two runs of AdamW by hand, the second of which starts where the first ended, and as runs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.execute.training import Training

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step
from .updates import CLASSES, gap, in_hand, step

PROBE, ALL = 4, 6  # steps of the phases


def small() -> nn.Sequential:
    torch.manual_seed(1)
    layers = [nn.Linear(7, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh()]
    return nn.Sequential(*layers).double()


def declared(body: dict[str, Any]) -> None:
    body["method"]["params"].update(share=0.4, probe_lr=0.1)
    body["optimizer"].update(lr=0.01, weight_decay=0.1)


def begun(network: nn.Module) -> Training:
    return in_hand("baselines/lp-ft", network, 5, steps=PROBE + ALL, change=declared)


def batches() -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(2)
    return [(torch.randn(8, 7).double(), torch.randint(CLASSES, (8,))) for _ in range(PROBE + ALL)]


def adamw(modules: list[nn.Module], lr: float) -> torch.optim.AdamW:
    """AdamW, which decays matrices alone."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr)


def test_is_a_probe_and_then_training_from_there() -> None:
    network = small()
    training = begun(network)
    features, head = small(), copy.deepcopy(training.method.head.linear)
    assert isinstance(head, nn.Linear)
    for phase, count in ((1, PROBE), (2, ALL)):
        features.train(phase == 2)  # where nothing of it moves, a backbone computes as in prediction
        optimizer = adamw([head], 0.1) if phase == 1 else adamw([head, features], 0.01)
        for x, y in batches()[:PROBE] if phase == 1 else batches()[PROBE:]:
            step(training, x, y)
            optimizer.zero_grad()
            F.cross_entropy(head(features(x)), y).backward()
            optimizer.step()
        assert optimizer.state[head.weight]["step"] == count
        ours = {**network.state_dict(prefix="net."), **training.method.head.linear.state_dict()}  # type: ignore[operator, union-attr]
        assert gap(ours, {**features.state_dict(prefix="net."), **head.state_dict()}) < 1e-10
    assert training.counts()["updates"] == {"probe": {"main": PROBE}, "fine-tune": {"main": ALL}}


def test_the_probe_moves_the_head_alone_and_hands_it_on() -> None:
    network = small()
    training = begun(network)
    start = copy.deepcopy(training.method.state_dict())
    for x, y in batches()[:PROBE]:
        step(training, x, y)
    probed = copy.deepcopy(training.method.state_dict())
    moved = {name for name in start if not torch.equal(start[name], probed[name])}
    assert moved == {"head.linear.weight", "head.linear.bias"}
    x, y = batches()[PROBE]
    step(training, x, y)
    ended = training.method.state_dict()
    # Adam's first step from where the probe ended: no further than the rate, and a new optimizer takes it in full.
    way = (ended["head.linear.bias"] - probed["head.linear.bias"]).abs()
    assert float((way - 0.01).abs().max()) < 1e-5
    assert not torch.equal(ended["backbone.network.0.weight"], probed["backbone.network.0.weight"])
    assert not torch.equal(ended["backbone.network.1.running_mean"], probed["backbone.network.1.running_mean"])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_each_phase_has_steps(share: float) -> None:
    def whole(body: dict[str, Any]) -> None:
        body["method"]["params"]["share"] = share

    with pytest.raises(UserError, match="expected more than 0"):
        in_hand("baselines/lp-ft", small(), 5, steps=4, change=whole)


@pytest.mark.parametrize("expression", ["lp-ft=demo/digits", "lp-ft+lora=demo/digits"])
def test_stopped_at_every_step_it_goes_on_to_the_same_bits(go: Go, expression: str) -> None:
    record = same_bits_when_stopped_at_every_step(go, expression, "method.params.share=0.4")
    assert record["cost"]["steps"] == STEPS
    assert record["cost"]["updates"] == {"probe": {"main": 3}, "fine-tune": {"main": STEPS - 3}}


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "lp-ft+lora=demo/digits")
