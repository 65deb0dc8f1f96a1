"""DiffoRA: its two levels written out, its selection, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.backbones import Backbone
from bench.execute.batch import Batch
from bench.execute.build import assemble
from bench.execute.method import Blueprint, Method
from bench.execute.parts import Info
from bench.execute.step import Step
from bench.execute.training import phases_of
from bench.execute.updates import Updates
from bench.testing.adapters import check_adapter

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step

HOME = Path(__file__).parents[2] / "methods" / "adapters"
OPTIMIZER = {
    "optimizer": "adam", "lr": 0.02, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0, "clip": None,
}  # fmt: skip
RANK, GATE_LR = 2, 0.05


class Tiny(Backbone):
    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.network(inputs)
        return features


def method(keep: float = 0.5) -> Method:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 4))
    params = {"rank": RANK, "alpha": 3.0, "keep": keep, "search": 0.5, "gate_lr": GATE_LR}
    slot = {"adaptation": "diffora:DiffoRA", "params": params, "targets": "linear|conv"}
    problem: Any = SimpleNamespace(loss=F.cross_entropy)
    info = Info(task="t", method="diffora", steps=8, outputs=3, classes=3, width=4)
    declared = {"name": "diffora", "adaptation": slot, "optimizer": OPTIMIZER}
    blueprint = Blueprint(declared, problem, {"adaptation": HOME}, info)
    return assemble(blueprint, Tiny(network, 4, lambda raw: raw, {})).double()


def data(portion: int) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(portion)
    return [(torch.randn(6, 5, dtype=torch.float64), torch.randint(0, 3, (6,))) for _ in range(4)]


def batches() -> list[Batch]:
    zeros = torch.zeros(6, dtype=torch.long)
    found = []
    for number, ((x, labels), (others, theirs)) in enumerate(zip(data(1), data(2), strict=True)):
        gates = Batch(others, torch.arange(6, 12), theirs, zeros, step=number)
        found.append(replace(Batch(x, torch.arange(6), labels, zeros, step=number), others={"gates": gates}))
    return found


def searched(made: Method, most: int | None = None) -> Updates:
    """The steps of the search phase."""
    span = phases_of(made, 8)[0]
    assert (span.phase.name, span.start, span.stop) == ("search", 0, 4)
    made.enter(span.phase)
    updates = Updates(made, OPTIMIZER, span, None)
    for batch in batches():
        step = Step(made, updates, batch, 8, "search", batch.step, most)
        step.open()
        made.adaptation.before_step(step)
        made.objective.update(made, batch, step)
        assert updates.applied == ["gates", "main"]
        step.close()
    return updates


def transcribed(start: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gates by their rows, then weights by theirs, each by Adam written out; by the names of the method's state."""
    weights = {name: value.clone() for name, value in start.items()}
    gates = [name for name in weights if name.endswith(".gate")]
    moving = [name for name in weights if name.endswith((".A", ".B")) or name.startswith("head.")]
    moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in weights.items()}

    def loss(given: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
        for number, place in enumerate((0, 2, 4, 5)):
            own = {name: given[f"adaptation.adapters.{number}.{name}"] for name in ("A", "B", "gate")}
            weight = given[f"backbone.network.{place}.weight"]
            weight = weight + 3.0 / RANK / (1 + torch.exp(-own["gate"])) * own["B"] @ own["A"]
            x = x @ weight.T + given[f"backbone.network.{place}.bias"]
            x = x.tanh() if place < 4 else x
        outputs = x @ given["head.linear.weight"].T + given["head.linear.bias"]
        return -outputs.log_softmax(1)[torch.arange(len(labels)), labels].mean()

    for number in range(1, 5):
        for names, rate, portion in ((gates, GATE_LR, 2), (moving, 0.02, 1)):
            given = {name: value.clone().requires_grad_(name in names) for name, value in weights.items()}
            slopes = torch.autograd.grad(loss(given, *data(portion)[number - 1]), [given[name] for name in names])
            for name, slope in zip(names, slopes, strict=True):
                first, second = moments[name]
                first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
                moments[name] = first, second
                direction = (first / (1 - 0.9**number)) / ((second / (1 - 0.999**number)).sqrt() + 1e-8)
                weights[name] = weights[name] - rate * direction
    return weights


@pytest.mark.parametrize("most", [None, 4])
def test_the_search_is_two_levels(most: int | None) -> None:
    """Four steps; pieces of 3 + 3 rows make the same ones."""
    made = method()
    want = transcribed({name: value.clone() for name, value in made.state_dict().items()})
    updates = searched(made, most)
    assert updates.counts() == {"main": [4, 0], "gates": [4, 0]}
    found = made.state_dict()
    assert sum(name.endswith(".gate") for name in found) == 4
    assert all(float(value) != 0 for name, value in found.items() if name.endswith(".gate"))
    assert max(float((found[name] - want[name]).abs().max()) for name in want) < 1e-10


@pytest.mark.parametrize(("keep", "count"), [(0.5, 2), (0.01, 1), (1.0, 4)])
def test_the_greatest_gates_are_kept_and_start_afresh(keep: float, count: int) -> None:
    made = method(keep)
    adaptation: Any = made.adaptation
    x = data(1)[0][0]
    pretrained = made.backbone.network(x).detach()  # B is 0
    searched(made)
    gates = {label: float(gate.detach()) for label, gate in adaptation.gates().items()}
    assert len(set(gates.values())) == 4
    assert adaptation.shapes() is None
    made.release()
    adaptation.begin("retrain")
    made.settle()
    best = sorted(gates.values(), reverse=True)[:count]
    assert adaptation.shapes() == {"kept": [label for label, gate in gates.items() if gate in best]}
    assert adaptation.gates() == {}
    assert (made.backbone.network(x) - pretrained).abs().max() < 1e-12
    names = {name for name in made.trainable if name.startswith("adaptation.")}
    assert names == {f"adaptation.adapters.{place}.{name}" for place in range(count) for name in ("A", "B")}
    updates = Updates(made, OPTIMIZER, phases_of(made, 8)[1], None)
    assert set(updates.entries) == {"main"}
    for place in adaptation.labelled():
        assert "forward" in vars(made.backbone.network[int(place)])
    assert sum("forward" in vars(module) for module in made.backbone.network) == count


def test_what_is_kept_is_loaded_into_a_fresh_method() -> None:
    made, x = method(), data(1)[0][0]
    searched(made)
    made.release()
    made.adaptation.begin("retrain")
    made.settle()
    with torch.no_grad():
        for parameter in made.trainable.values():
            parameter.add_(torch.randn_like(parameter))
    fresh = method()
    fresh.reshape(made.shapes())
    fresh.load_trained_state(made.trained_state())
    assert not any(name.endswith(".gate") for name in made.trained_state())
    assert (fresh(x) - made(x)).abs().max() < 1e-12
    made.adaptation.merge()
    assert (fresh(x) - made(x)).abs().max() < 1e-10


def test_after_the_search_it_is_lora() -> None:
    """The form that peft opens is there once the gates are gone."""
    made = method()
    assert all(adapter.peft_form() is None for adapter in made.adaptation.adapters)
    made.adaptation.begin("retrain")
    assert all(adapter.peft_form()[0]["lora_alpha"] == 3.0 for adapter in made.adaptation.adapters)


def test_conforms() -> None:
    gated = load("diffora:Gated", HOME)
    check_adapter(gated, rank=3, alpha=5.0)
    check_adapter(gated, rank=3, gated=False)


def test_gradients() -> None:
    made = method()
    with torch.no_grad():
        for parameter in made.adaptation.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = data(1)[0][0]
    assert torch.autograd.gradcheck(lambda *_: made.backbone.network(x), tuple(made.adaptation.parameters()))


def test_nonsense_is_refused() -> None:
    with pytest.raises(UserError, match="keep in"):
        load("diffora:DiffoRA", HOME)(nn.Linear(2, 2), params={"keep": 0.0})


def test_runs(go: Go) -> None:
    record = same_bits_when_stopped_at_every_step(go, "diffora=demo/digits")
    assert record["cost"]["updates"] == {"search": {"main": 2, "gates": 2}, "retrain": {"main": STEPS - 2}}
    assert record["cost"]["steps"] == STEPS


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "diffora=demo/digits")
