"""The declarations beside the baselines and adapters say what they should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from bench.execute.adapters import Adaptation, make_adaptation
from bench.execute.parts import Info

pytestmark = pytest.mark.filterwarnings("ignore")
METHODS = Path(__file__).parents[2] / "methods"


def declared(name: str) -> dict[str, Any]:
    return yaml.safe_load((METHODS / f"{name}.yaml").read_text())


def attached(name: str, network: nn.Module) -> Adaptation:
    torch.manual_seed(0)
    home = METHODS / Path(name).parent
    adaptation = make_adaptation(network, declared(name)["adaptation"], home=home, info=Info(steps=20))
    adaptation.attach()
    return adaptation


def total(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# A BERT of width d = 16, inner width 32, 2 layers; 40 tokens, 512 places, 2 types.
D, INNER, LAYERS = 16, 32, 2
COUNTS = {
    "baselines/full": None,
    "baselines/probe": 0,
    # biases of query, key, value, output, both dense layers and two norms in each layer, and of the embeddings' norm
    "baselines/bitfit": LAYERS * (5 * D + INNER + 2 * D) + D,
    "baselines/norm": (2 * LAYERS + 1) * 2 * D,
    "adapters/lora": LAYERS * 2 * 8 * (D + D),
    # and a magnitude for each output
    "adapters/dora": LAYERS * 2 * (8 * (D + D) + D),
    # at the initial rank 12, with a singular value for each
    "adapters/adalora": LAYERS * 2 * 12 * (D + D + 1),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str, bert: Callable[[], nn.Module]) -> None:
    network = bert()
    everything = total(network)
    adaptation = attached(name, network)
    count = sum(parameter.numel() for _, parameter in adaptation.named_trained())
    assert count == (everything if COUNTS[name] is None else COUNTS[name])


@pytest.mark.parametrize("name", [name for name in COUNTS if COUNTS[name] != 0])
def test_trains(name: str, bert: Callable[[], nn.Module], hidden: Callable[[nn.Module], Tensor]) -> None:
    network = bert()
    adaptation = attached(name, network)
    frozen = {key: one.clone() for key, one in network.named_parameters() if not one.requires_grad}
    optimizer = torch.optim.AdamW([one for _, one in adaptation.named_trained()], lr=declared(name)["optimizer"]["lr"])
    losses = []
    for step in range(6):
        optimizer.zero_grad()
        output = hidden(network)
        loss = (output - torch.linspace(0, 9, output.numel(), dtype=output.dtype).sin().view_as(output)).square().mean()
        loss.backward()
        losses.append(float(loss))
        adaptation.check_used()
        optimizer.step()
        adaptation.after_step(SimpleNamespace(number=step))  # type: ignore[arg-type]
    assert losses[-1] < losses[0]
    assert all(torch.equal(dict(network.named_parameters())[key], value) for key, value in frozen.items())


@pytest.mark.parametrize("name", COUNTS)
def test_search_spaces_hold_the_defaults(name: str) -> None:
    body = declared(name)
    assert body["citation"]
    assert body["link"].startswith("https://")
    for key, space in body["search"].items():
        value: Any = body
        for part in key.split("."):
            value = value[part]
        inside = space["low"] <= value <= space["high"] if "low" in space else value in space["choices"]
        assert inside, f"{key} is {value!r}, outside of {space}"
