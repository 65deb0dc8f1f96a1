"""HAG: its two passes written out, and its gates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.adapters import Adaptation
from bench.execute.backbones import Backbone
from bench.execute.batch import Batch
from bench.execute.build import assemble
from bench.execute.method import Blueprint, Method
from bench.execute.parts import Info
from bench.execute.phases import Phase, Span
from bench.execute.step import Step
from bench.execute.updates import Updates
from bench.testing.adapters import check_adapter

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step

HOME = Path(__file__).parents[2] / "methods" / "adapters"
TARGETS = yaml.safe_load((HOME / "hag.yaml").read_text())["adaptation"]["targets"]
CLIPS = {"gates": 0.001, "main": 0.4}  # small enough to act
OPTIMIZER = {
    "optimizer": "adam", "lr": 0.02, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0, "clip": CLIPS["main"],
}  # fmt: skip


class Block(nn.Module):
    """x + proj(x), then x + fc2(gelu(fc1(x))): the two branches of a transformer, without attention."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.ModuleDict({"proj": nn.Linear(4, 4)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(4, 8), "fc2": nn.Linear(8, 4)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn["proj"](x)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](x)))


class Tiny(Backbone):
    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.network(inputs)
        return features


def method() -> Method:
    torch.manual_seed(0)
    backbone = Tiny(nn.Sequential(Block(), Block()), 4, lambda raw: raw, {})
    slot = {"adaptation": "hag:HAG", "params": {"gate_clip": CLIPS["gates"]}, "targets": TARGETS}
    problem: Any = SimpleNamespace(loss=F.cross_entropy)
    info = Info(task="t", method="hag", steps=4, outputs=3, classes=3, width=4)
    declared = {"name": "hag", "adaptation": slot, "optimizer": OPTIMIZER}
    return assemble(Blueprint(declared, problem, {"adaptation": HOME}, info), backbone).double()


def data() -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(6, 4, dtype=torch.float64), torch.randint(0, 3, (6,))) for _ in range(4)]


def transcribed(start: dict[str, Tensor]) -> dict[str, Tensor]:
    """The paper's two passes, with Adam and clipping written out; weights by the names of the method's state."""
    weights = {name: value.clone() for name, value in start.items()}
    gates = [name for name in weights if name.endswith(".a")]
    moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in weights.items()}

    def loss(given: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
        for place in range(2):
            at, gate = f"backbone.network.{place}.", [given[f"adaptation.adapters.{2 * place + k}.a"] for k in (0, 1)]
            branch = x @ given[f"{at}attn.proj.weight"].T + given[f"{at}attn.proj.bias"]
            x = x + branch / (1 + torch.exp(-gate[0]))
            hidden = F.gelu(x @ given[f"{at}mlp.fc1.weight"].T + given[f"{at}mlp.fc1.bias"])
            branch = hidden @ given[f"{at}mlp.fc2.weight"].T + given[f"{at}mlp.fc2.bias"]
            x = x + branch / (1 + torch.exp(-gate[1]))
        outputs = x @ given["head.linear.weight"].T + given["head.linear.bias"]
        return -outputs.log_softmax(1)[torch.arange(len(labels)), labels].mean()

    for number, (x, labels) in enumerate(data(), start=1):
        rest = [name for name in weights if name not in gates]
        for names, rate, clip in ((gates, 0.01, CLIPS["gates"]), (rest, OPTIMIZER["lr"], CLIPS["main"])):
            given = {name: value.clone().requires_grad_(name in names) for name, value in weights.items()}
            slopes = torch.autograd.grad(loss(given, x, labels), [given[name] for name in names])
            size = sum(float(slope.square().sum()) for slope in slopes) ** 0.5
            assert size > clip
            for name, slope in zip(names, slopes, strict=True):
                cut = slope * clip / (size + 1e-6)
                first, second = moments[name]
                first, second = 0.9 * first + 0.1 * cut, 0.999 * second + 0.001 * cut**2
                moments[name] = first, second
                direction = (first / (1 - 0.9**number)) / ((second / (1 - 0.999**number)).sqrt() + 1e-8)
                weights[name] = weights[name] - rate * direction
    return weights


@pytest.mark.parametrize("most", [None, 4])
def test_is_two_passes(most: int | None) -> None:
    """Four steps; pieces of 3 + 3 rows make the same ones."""
    made = method()
    want = transcribed({name: value.clone() for name, value in made.state_dict().items()})
    updates = Updates(made, OPTIMIZER, Span(Phase("train"), 0, 4), None)
    for number, (x, labels) in enumerate(data()):
        zeros = torch.zeros(6, dtype=torch.long)
        batch = Batch(x, torch.arange(6), labels, zeros, step=number)
        step = Step(made, updates, batch, 4, "train", number, most)
        step.open()
        made.adaptation.before_step(step)
        made.objective.update(made, batch, step)
        assert updates.applied == ["gates", "main"]
        step.close()
    assert updates.counts() == {"main": [4, 0], "gates": [4, 0]}
    found = made.state_dict()
    assert len([name for name in found if name.endswith(".a")]) == 4
    assert max(float((found[name] - want[name]).abs().max()) for name in want) < 1e-10


def test_one_gate_for_each_channel_of_each_branch(vit: Callable[[], nn.Module], bert: Callable[[], nn.Module]) -> None:
    hag = load("hag:HAG", HOME)
    for network, ends in ((vit(), ("attn.proj", "mlp.fc2")), (bert(), ("attention.output.dense", "output.dense"))):
        adaptation = hag(network, targets=TARGETS)
        adaptation.attach()
        assert len(adaptation.adapters) == 2 * 2
        assert all(adapter.site.path.endswith(ends) for adapter in adaptation.adapters)
        assert all(len(adapter.a) == len(adapter.bias0) for adapter in adaptation.adapters)
        assert all(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(UserError, match="attention-output' matches no layer"):
        hag(nn.Sequential(nn.Conv2d(3, 4, 3)), targets=TARGETS).attach()


def test_stages_of_a_resnet(convnet: Callable[[], nn.Module], hidden: Callable[[nn.Module], Tensor]) -> None:
    """Against the network's parts called one after the other."""
    network, plain = convnet(), convnet()
    adaptation = load("hag:HAG", HOME)(network, targets=TARGETS)
    adaptation.attach()
    assert [(name, part.numel()) for name, part in adaptation.named_added()] == [
        (f"adaptation.behind.{place}.a", size) for place, size in enumerate((4, 8, 8, 8, 8))
    ]
    assert adaptation.behind[0].a.dtype == torch.float64
    gates = [1 / (1 + torch.exp(-gate.a)) for gate in adaptation.behind]

    class Written(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = plain.maxpool(plain.act1(plain.bn1(plain.conv1(x))))
            for gate, stage in zip(gates, (plain.layer1, plain.layer2, plain.layer3, plain.layer4), strict=False):
                x = stage(x) * gate[:, None, None]
            return x.mean((2, 3)) * gates[-1]

    assert (hidden(network) - hidden(Written())).abs().max() < 1e-10
    assert (hidden(network) - hidden(plain)).abs().max() > 1e-3
    hidden(network).square().sum().backward()
    assert all(gate.a.grad.abs().max() > 0 for gate in adaptation.behind)
    adaptation.check_used()
    fresh_network = convnet()
    fresh = load("hag:HAG", HOME)(fresh_network, targets=TARGETS)
    fresh.attach()
    fresh.load_trained_state(adaptation.trained_state())
    assert (hidden(fresh_network) - hidden(network)).abs().max() < 1e-12
    copied, _ = copy.deepcopy((network, adaptation))
    with torch.no_grad():
        adaptation.behind[0].a.zero_()
    assert (hidden(copied) - hidden(fresh_network)).abs().max() < 1e-12
    assert not adaptation.mergeable
    with pytest.raises(UserError, match="cannot be merged"):
        adaptation.merge()


def test_gates_start_at_one_half() -> None:
    torch.manual_seed(0)
    adaptation = Adaptation(nn.Sequential(nn.Linear(3, 5000)), adapter=load("hag:Gate", HOME), targets=["0"])
    adaptation.attach()
    a = adaptation.adapters[0].a.detach()
    assert a.mean().abs() < 1e-3
    assert a.std() == pytest.approx((2 / 5001) ** 0.5, rel=0.05)


def test_conforms() -> None:
    check_adapter(load("hag:Gate", HOME))


def test_gradients() -> None:
    network = nn.Sequential(nn.Linear(4, 3)).double()
    adaptation = Adaptation(network, adapter=load("hag:Gate", HOME), targets=["0"], train="all")
    adaptation.attach()
    adapter, x = adaptation.adapters[0], torch.randn(2, 4, dtype=torch.float64)
    given = (adapter.a, *network.parameters())
    assert len(given) == 3
    assert torch.autograd.gradcheck(lambda *_: network(x), given)


def test_runs(go: Go) -> None:
    record = same_bits_when_stopped_at_every_step(go, "hag=demo/digits")
    assert record["cost"]["updates"] == {"train": {"gates": STEPS, "main": STEPS}}
    assert record["cost"]["steps"] == STEPS


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "hag=demo/digits")
