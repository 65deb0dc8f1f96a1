"""Fish against a plain transcription of DomainBed's update, and as runs on turned digits."""

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

TRAINING_DOMAINS = 5  # of the six of demo/rotated-digits
FOLD = ("0",)


def domainbed(
    network: nn.Module, batches: Sequence[Sequence[tuple[Tensor, Tensor]]], lr: float, meta_lr: float, decay: float
) -> None:
    """DomainBed's Fish.update: a clone per step, Adam's state handed on, whole state dicts interpolated."""
    kept = None
    for domains in batches:
        inner = copy.deepcopy(network)
        adam = torch.optim.Adam(inner.parameters(), lr=lr, weight_decay=decay)
        if kept is not None:
            adam.load_state_dict(kept)
        for x, y in domains:
            adam.zero_grad()
            F.cross_entropy(inner(x), y).backward()
            adam.step()
        kept = adam.state_dict()
        end = inner.state_dict()
        network.load_state_dict(
            {name: value + meta_lr * (end[name] - value) for name, value in network.state_dict().items()}
        )


def test_is_domainbeds_update() -> None:
    def faster(body: dict[str, Any]) -> None:
        body["optimizer"].update(lr=0.03, weight_decay=0.0)
        body["objective"]["params"]["meta_lr"] = 0.3

    training = in_hand("generalization/fish", small(), 5, steps=7, domains=DOMAINS, change=faster)
    method = training.method
    theirs = nn.Sequential(*small(), copy.deepcopy(method.head.linear)).double().train()  # type: ignore[arg-type]
    torch.manual_seed(2)
    batches = [
        [(torch.randn(ROWS, 7).double() + place, torch.randint(CLASSES, (ROWS,))) for place in range(DOMAINS)]
        for _ in range(7)
    ]
    shuffled = torch.randperm(DOMAINS * ROWS)  # a batch need not come in the order of the domains
    for domains in batches:
        x, y = (torch.cat(tensors) for tensors in zip(*domains, strict=True))
        numbers = torch.arange(DOMAINS).repeat_interleave(ROWS)
        # The order of rows changes sums in the last digits alone.
        step(training, x[shuffled], y[shuffled], numbers[shuffled])
    domainbed(theirs, batches, lr=0.03, meta_lr=0.3, decay=0.0)
    ours = {**method.backbone.network.state_dict(prefix="net."), **method.head.linear.state_dict(prefix="head.")}
    expected = {
        **{f"net.{name}": value for name, value in theirs[:-1].state_dict().items()},
        **{f"head.{name}": value for name, value in theirs[-1].state_dict().items()},
    }
    counter = "net.1.num_batches_tracked"  # it counts the inner passes here, and is cut to 0 by DomainBed's average
    assert int(ours.pop(counter)) == 7 * DOMAINS
    expected.pop(counter)
    start = {f"net.{name}": value for name, value in small().state_dict().items() if "num_" not in name}
    assert min(float((expected[name] - value).abs().max()) for name, value in start.items()) > 1e-3
    assert gap(ours, expected) < 1e-10
    assert training.counts()["updates"] == {"train": {"main": 7 * DOMAINS}}


def test_what_does_not_move_stays_also_where_it_is_infinite() -> None:
    network = small()
    network.register_buffer("mask", torch.tensor([0.0, -torch.inf]).double())
    training = in_hand("generalization/fish", network, 5, steps=1, domains=DOMAINS)
    step(training, torch.randn(12, 7).double(), torch.randint(CLASSES, (12,)), torch.arange(12) % DOMAINS)
    assert network.mask.tolist() == [0.0, -torch.inf]


def test_a_domain_without_rows_in_a_batch_is_passed_over() -> None:
    training = in_hand("generalization/fish", small(), 5, steps=2, domains=40)
    for places in ([3, 17, 3, 17, 38, 38], [0, 0, 39, 39, 39, 39]):
        step(training, torch.randn(6, 7).double(), torch.randint(CLASSES, (6,)), torch.tensor(places))
    assert training.counts()["updates"] == {"train": {"main": 3 + 2}}
    assert all(parameter.isfinite().all() for parameter in training.method.parameters())


def test_a_way_of_1_is_training_on_one_domain_after_the_other() -> None:
    def whole(body: dict[str, Any]) -> None:
        body["objective"]["params"]["meta_lr"] = 1.0

    network = small()
    training = in_hand("generalization/fish", network, 5, steps=2, domains=DOMAINS, change=whole)
    theirs = nn.Sequential(*small(), copy.deepcopy(training.method.head.linear)).double()  # type: ignore[arg-type]
    adam = torch.optim.Adam(theirs.parameters(), lr=5e-5)
    for _ in range(2):
        x, y = torch.randn(DOMAINS, ROWS, 7).double(), torch.randint(CLASSES, (DOMAINS, ROWS))
        step(training, x.flatten(0, 1), y.flatten(), torch.arange(DOMAINS).repeat_interleave(ROWS))
        for inputs, labels in zip(x, y, strict=True):
            adam.zero_grad()
            F.cross_entropy(theirs(inputs), labels).backward()
            adam.step()
    assert gap(dict(network.named_parameters()), dict(theirs[:-1].named_parameters())) < 1e-10


@pytest.mark.parametrize("expression", ["fish=demo/rotated-digits", "fish+lora=demo/rotated-digits"])
def test_stopped_at_every_step_it_goes_on_to_the_same_bits(go: Go, expression: str) -> None:
    record = same_bits_when_stopped_at_every_step(go, expression, folds=FOLD)
    assert record["cost"]["steps"] == STEPS
    assert record["cost"]["updates"] == {"train": {"main": STEPS * TRAINING_DOMAINS}}


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "fish+lora=demo/rotated-digits", folds=FOLD)
