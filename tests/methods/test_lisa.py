"""LISA: a plain loop of AdamW over drawn blocks, and which blocks are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.parts import Info

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, record_of, same_bits_when_stopped_at_every_step, trained

HOME = Path(__file__).parents[2] / "methods" / "adapters"
OVERRIDES = ("adaptation.params.every=2", "adaptation.params.blocks=1")


@pytest.fixture
def lisa() -> Any:
    return load("lisa:LISA", HOME)


class Stack(nn.Module):
    """An embedding, numbered blocks, a head."""

    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Linear(3, 5)
        self.blocks = nn.ModuleList(nn.Linear(5, 5) for _ in range(depth))
        self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embedding(x)
        for block in self.blocks:
            x = x + block(x).tanh()
        return self.head(x)


def made(lisa: Any, network: nn.Module, **params: Any) -> Any:
    adaptation = lisa(network, params=params)
    adaptation.bind(Info(task="t", method="lisa", seed=3, steps=12))
    adaptation.attach()
    return adaptation


def pretend_step(number: int, optimizer: torch.optim.Optimizer) -> Any:
    """What the hooks use of a step."""

    def reset(parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            optimizer.state.pop(parameter, None)

    return SimpleNamespace(number=number, reset=reset)


def test_moves_as_adamw_written_out(lisa: Any) -> None:
    torch.manual_seed(0)
    network, other = Stack().double(), Stack().double()
    other.load_state_dict(network.state_dict())
    adaptation = made(lisa, network, every=3, blocks=2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.01)
    data = torch.randn(12, 6, 3, dtype=torch.float64)

    weights = dict(other.named_parameters())
    memory: dict[str, tuple[torch.Tensor, torch.Tensor, int]] = {}
    seen = Counter[str]()
    for number in range(12):
        step = pretend_step(number, optimizer)
        adaptation.before_step(step)
        optimizer.zero_grad(set_to_none=True)
        network(data[number]).square().sum().backward()
        optimizer.step()
        adaptation.after_step(step)

        moving = adaptation.drawn(number)
        assert moving == adaptation.drawn(number - number % 3)
        assert len(set(moving)) == 2
        seen.update(moving)
        other.zero_grad()
        other(data[number]).square().sum().backward()
        for name, weight in weights.items():
            if name.startswith("blocks.") and name[: len("blocks.0")] not in moving:
                memory.pop(name, None)
                continue
            first, second, count = memory.get(name, (torch.zeros_like(weight), torch.zeros_like(weight), 0))
            first, second, count = 0.9 * first + 0.1 * weight.grad, 0.999 * second + 0.001 * weight.grad**2, count + 1
            memory[name] = first, second, count
            direction = (first / (1 - 0.9**count)) / ((second / (1 - 0.999**count)).sqrt() + 1e-8)
            with torch.no_grad():
                weight.copy_(weight * (1 - 0.1 * 0.01) - 0.1 * direction)
    assert len(seen) > 2
    error = max(float((weights[name] - mine).detach().abs().max()) for name, mine in network.named_parameters())
    assert error < 1e-10
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_what_a_phase_holds_still_is_left_so(lisa: Any) -> None:
    network = Stack()
    adaptation = made(lisa, network, every=1, blocks=1)
    network.blocks[0].requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters())
    for number in range(6):
        adaptation.before_step(pretend_step(number, optimizer))
        assert not network.blocks[0].weight.requires_grad
        adaptation.after_step(pretend_step(number, optimizer))
        assert not network.blocks[0].weight.requires_grad
        assert network.blocks[1].weight.requires_grad


def test_draws_uniformly(lisa: Any) -> None:
    adaptation = made(lisa, Stack(), every=1, blocks=2)
    counts = Counter(path for number in range(400) for path in adaptation.drawn(number))
    assert set(counts) == {f"blocks.{place}" for place in range(4)}
    assert all(160 < count < 240 for count in counts.values())


def test_which_blocks_are_numbered(bert: Callable[[], nn.Module], convnet: Callable[[], nn.Module], lisa: Any) -> None:
    blocks = load("_blocks:numbered_blocks", HOME)
    assert list(blocks(bert())) == ["encoder.layer.0", "encoder.layer.1"]
    assert list(blocks(convnet())) == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    stages = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(2, 2)] * 1)})])})
    assert list(blocks(stages)) == ["layers.0.blocks.0"]
    with pytest.raises(UserError, match="draws 2 numbered blocks, and this backbone has none"):
        made(lisa, nn.Sequential(nn.Linear(2, 2)))


def test_runs(go: Go) -> None:
    record = same_bits_when_stopped_at_every_step(go, "lisa=demo/digits", *OVERRIDES)
    assert record["cost"]["updates"] == {"train": {"main": STEPS}}
    assert record["cost"]["steps"] == STEPS
    store, rows = go("full=demo/digits", twin=True)
    full = record_of(store, rows)
    assert record["cost"]["trainable_parameters"] == full["cost"]["trainable_parameters"]


def test_a_block_that_is_never_drawn_stays(go: Go) -> None:
    """Within one interval of 20 steps one of the two blocks moves."""
    start, rows = go("lisa=demo/digits", "adaptation.params.blocks=1", "optimizer.lr=0", twin=True, store="start")
    begun = trained(start, record_of(start, rows))
    store, rows = go("lisa=demo/digits", "adaptation.params.blocks=1", twin=True)
    ended = trained(store, record_of(store, rows))
    moved = {name for name in begun if not torch.equal(begun[name], ended[name])}
    blocks = {name.split("blocks.")[1][0] for name in moved if "blocks." in name}
    assert len(blocks) == 1
    assert {name for name in begun if "blocks." not in name} <= moved


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "lisa=demo/digits", *OVERRIDES)
