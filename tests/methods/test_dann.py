"""DANN against a plain transcription of DomainBed's update, and as runs on turned digits."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step
from .updates import CLASSES, DOMAINS, ROWS, gap, in_hand, small, step

FOLD = ("0",)
SETTINGS = {
    "as declared": {},
    "penalised": {"weight": 0.7, "critic_steps": 2, "grad_penalty": 0.4},
    "deep": {"weight": 3.0, "critic_steps": 3, "grad_penalty": 0.1, "depth": 5, "width": 11},
}


class Perceptron(nn.Module):
    """DomainBed's networks.MLP without dropout, with the weights of another."""

    def __init__(self, theirs: nn.Sequential) -> None:
        super().__init__()
        linear = [copy.deepcopy(layer) for layer in theirs if isinstance(layer, nn.Linear)]
        self.first, self.hidden, self.last = linear[0], nn.ModuleList(linear[1:-1]), linear[-1]

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        for layer in self.hidden:
            x = layer(x).relu()
        return self.last(x)  # type: ignore[no-any-return]


class DomainBed:
    """Its AbstractDANN, neither conditional nor balanced."""

    def __init__(self, net: nn.Module, head: nn.Module, critic: nn.Module, lr: float, given: dict[str, Any]) -> None:
        self.net, self.head, self.critic, self.count = net, head, critic, 0
        self.weight, self.turns = given["weight"], given["critic_steps"]
        self.penalty = given["grad_penalty"]
        network = [*net.parameters(), *head.parameters()]
        self.gen_opt = torch.optim.Adam(network, lr=lr, betas=(0.5, 0.9))
        self.disc_opt = torch.optim.Adam(critic.parameters(), lr=given["critic_lr"], betas=(0.5, 0.9))

    def update(self, batches: Sequence[tuple[Tensor, Tensor]]) -> str:
        self.count += 1
        x, y = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
        z = self.net(x)
        domains = torch.cat([torch.full((len(rows),), place) for place, (rows, _) in enumerate(batches)])
        output = self.critic(z)
        loss = F.cross_entropy(output, domains)
        (slope,) = torch.autograd.grad(F.cross_entropy(output, domains, reduction="sum"), [z], create_graph=True)
        loss = loss + self.penalty * (slope**2).sum(dim=1).mean(dim=0)
        if self.count % (1 + self.turns) < self.turns:
            self.disc_opt.zero_grad()
            loss.backward()
            self.disc_opt.step()
            return "critic"
        self.disc_opt.zero_grad()
        self.gen_opt.zero_grad()
        (F.cross_entropy(self.head(z), y) + self.weight * -loss).backward()
        self.gen_opt.step()
        return "main"


@pytest.mark.parametrize("settings", SETTINGS)
def test_is_domainbeds_update(settings: str) -> None:
    def faster(body: dict[str, Any]) -> None:
        body["optimizer"]["lr"] = 0.02
        body["objective"]["params"].update({"critic_lr": 0.05, **SETTINGS[settings]})

    training = in_hand("generalization/dann", small(), 5, steps=8, domains=DOMAINS, change=faster)
    method: Any = training.method
    given = training.method.blueprint.slot("objective")["params"]
    critic = method.objective.discriminator
    assert len([layer for layer in critic if isinstance(layer, nn.Linear)]) == given["depth"]
    theirs = DomainBed(small(), copy.deepcopy(method.head.linear), Perceptron(critic), 0.02, given)
    torch.manual_seed(2)
    turns = []
    for _ in range(8):
        batches = [(torch.randn(ROWS, 7).double() + place, torch.randint(CLASSES, (ROWS,))) for place in range(DOMAINS)]
        x, y = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
        before = {name: value.detach().clone() for name, value in method.named_parameters()}
        step(training, x, y, torch.arange(DOMAINS).repeat_interleave(ROWS))
        turns.append(theirs.update(batches))
        moved = {name.partition(".")[0] for name, value in method.named_parameters() if (value != before[name]).any()}
        assert moved == ({"objective"} if turns[-1] == "critic" else {"backbone", "head"})
    assert turns[0] == ("main" if given["critic_steps"] == 1 else "critic")
    assert gap(method.backbone.network.state_dict(), theirs.net.state_dict()) < 1e-10
    assert gap(method.head.linear.state_dict(), theirs.head.state_dict()) < 1e-10
    ours, expected = list(critic.parameters()), list(theirs.critic.parameters())
    assert max(float((one - other).detach().abs().max()) for one, other in zip(ours, expected, strict=True)) < 1e-10
    counts = {name: turns.count(name) for name in ("main", "critic")}
    assert training.counts()["updates"] == {"train": counts}


def test_a_backbone_that_does_not_move_is_told_apart_too() -> None:
    def frozen(body: dict[str, Any]) -> None:
        body["adaptation"]["train"] = "none"
        body["objective"]["params"].update(grad_penalty=0.4, critic_lr=0.05)

    training = in_hand("generalization/dann", small(), 5, steps=2, domains=DOMAINS, change=frozen)
    method: Any = training.method
    x, y = torch.randn(DOMAINS * ROWS, 7).double(), torch.randint(CLASSES, (DOMAINS * ROWS,))
    for moving in ({"head"}, {"objective"}):
        before = {name: value.detach().clone() for name, value in method.named_parameters()}
        step(training, x, y, torch.arange(DOMAINS).repeat_interleave(ROWS))
        assert {n.partition(".")[0] for n, value in method.named_parameters() if (value != before[n]).any()} == moving


@pytest.mark.parametrize("expression", ["dann=demo/rotated-digits", "dann+lora=demo/rotated-digits"])
def test_stopped_at_every_step_it_goes_on_to_the_same_bits(go: Go, expression: str) -> None:
    record = same_bits_when_stopped_at_every_step(go, expression, folds=FOLD)
    assert record["cost"]["steps"] == STEPS
    assert record["cost"]["updates"] == {"train": {"main": STEPS // 2, "critic": STEPS // 2}}


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "dann+lora=demo/rotated-digits", "objective.params.grad_penalty=0.5", folds=FOLD)
