"""Hydra: its two branches as modules beside and behind a layer, and what they merge to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from bench.core.loading import load
from bench.execute.adapters import Adaptation
from bench.testing.adapters import check_adapter

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step

HOME = Path(__file__).parents[2] / "methods" / "adapters"
TARGETS = yaml.safe_load((HOME / "hydra.yaml").read_text())["adaptation"]["targets"]


@pytest.fixture
def hydra() -> Any:
    return load("hydra:Hydra", HOME)


def displaced(network: nn.Module, hydra: Any, targets: Any, **params: Any) -> Adaptation:
    torch.manual_seed(4)
    adaptation = Adaptation(network, adapter=hydra, params=params, targets=targets)
    adaptation.attach()
    with torch.no_grad():
        for _, parameter in adaptation.named_trained():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return adaptation


CASES: dict[str, tuple[Callable[[], nn.Module], Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(7, 5), lambda size, out: nn.Linear(size, out, bias=False), (3, 7)),
    "conv": (
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
        lambda size, out: nn.Conv2d(size, out, 1, bias=False),
        (2, 4, 8, 8),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_is_a_branch_beside_and_one_behind(case: str, hydra: Any) -> None:
    """Modules in float64, as in the paper's figure; outputs and gradients, then the merged layer."""
    layer, pointwise, shape = CASES[case]
    torch.manual_seed(1)
    network = nn.Sequential(layer()).double()
    plain = nn.Sequential(layer()).double()
    plain.load_state_dict(network.state_dict())
    adaptation = displaced(network, hydra, ["0"], rank=3, scale=0.7)
    adapter: Any = adaptation.adapters[0]
    rows, ins = adapter.weight0.shape[:2]
    if case == "linear":
        down: nn.Module = nn.Linear(ins, 3, bias=False)
    else:
        down = nn.Conv2d(ins, 3, 3, stride=2, padding=1, bias=False)
    modules = [down, pointwise(3, rows), pointwise(rows, 3), pointwise(3, rows)]
    names = ["A_parallel", "B_parallel", "A_sequential", "B_sequential"]
    for name, module in zip(names, modules, strict=True):
        module.weight = nn.Parameter(getattr(adapter, name).detach().clone())
    x = torch.randn(*shape, dtype=torch.float64)
    first = plain(x)
    want = first + 0.7 * modules[1](modules[0](x)) + 0.7 * modules[3](modules[2](first))
    found = network(x)
    assert (found - want).abs().max() < 1e-10
    want.square().sum().backward()
    found.square().sum().backward()
    for name, module in zip(names, modules, strict=True):
        assert getattr(adapter, name).grad.abs().max() > 0
        assert (getattr(adapter, name).grad - module.weight.grad).abs().max() < 1e-9
    adaptation.merge()
    assert (network(x) - want).abs().max() < 1e-10


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_convolutions_merge(groups: int, hydra: Any) -> None:
    network = nn.Sequential(nn.Conv2d(8, 4, 3, padding=1, groups=groups)).double()
    adaptation = displaced(network, hydra, ["0"], rank=3)
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    want = network(x).detach()
    adaptation.merge()
    assert (network(x) - want).abs().max() < 1e-10


def test_count_and_start(hydra: Any) -> None:
    """rank (in k + 3 rows); A from N(0, 0.02^2), B zero."""
    torch.manual_seed(0)
    adaptation = Adaptation(nn.Sequential(nn.Conv2d(100, 50, 3)), adapter=hydra, targets=["0"])
    adaptation.attach()
    adapter: Any = adaptation.adapters[0]
    assert sum(parameter.numel() for parameter in adapter.parameters()) == 2 * (100 * 9 + 3 * 50)
    assert adapter.A_parallel.detach().std() == pytest.approx(0.02, rel=0.1)
    assert adapter.A_sequential.detach().std() == pytest.approx(0.02, rel=0.2)
    assert adapter.B_parallel.abs().max() == adapter.B_sequential.abs().max() == 0


def test_its_targets(
    vit: Callable[[], nn.Module], bert: Callable[[], nn.Module], convnet: Callable[[], nn.Module], hydra: Any
) -> None:
    paths = [adapter.site.path for adapter in displaced(vit(), hydra, TARGETS).adapters]
    assert paths == [f"blocks.{place}.{end}" for place in (0, 1) for end in ("attn.proj", "mlp.fc2")]
    paths = [adapter.site.path for adapter in displaced(bert(), hydra, TARGETS).adapters]
    ends = ("attention.output.dense", "output.dense")
    assert paths == [f"encoder.layer.{place}.{end}" for place in (0, 1) for end in ends]
    network = convnet()
    convolutions = [path for path, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    assert [adapter.site.path for adapter in displaced(network, hydra, TARGETS).adapters] == convolutions


def test_conforms(hydra: Any) -> None:
    check_adapter(hydra)
    check_adapter(hydra, rank=4, scale=0.5)


def test_gradients(hydra: Any) -> None:
    network = nn.Sequential(nn.Linear(4, 3)).double()
    adaptation = displaced(network, hydra, ["0"])
    x = torch.randn(2, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *_: network(x), tuple(adaptation.parameters()))


def test_runs(go: Go) -> None:
    record = same_bits_when_stopped_at_every_step(go, "hydra=demo/digits")
    assert record["cost"]["updates"] == {"train": {"main": STEPS}}
    assert record["cost"]["steps"] == STEPS
    # 2 blocks: proj of 32 x 32, fc2 of 32 x 128; and the head.
    assert record["cost"]["trainable_parameters"] == 2 * 2 * (32 + 128 + 2 * 3 * 32) + 33 * 10


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "hydra=demo/digits")
