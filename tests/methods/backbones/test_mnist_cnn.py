"""DomainBed's network for digits: its size, the order of its layers, its two or three channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn.functional import conv2d, group_norm

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.adapters.targets import resolve

HOME = Path(__file__).parents[3] / "methods" / "backbones"
NAMES = ["mnist-cnn", "mnist-cnn-colour"]


def declared(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HOME / f"{name}.yaml").read_text())
    return found


def network(name: str, **changes: Any) -> Any:
    body = declared(name)
    torch.manual_seed(0)
    return load(body["class"], HOME)(**{**body["args"], **changes})


@pytest.mark.parametrize("name", NAMES)
def test_the_declared_parameters_and_targets_are_there(name: str) -> None:
    body, made = declared(name), network(name)
    assert sum(parameter.numel() for parameter in made.parameters()) == body["parameters"]
    assert len(resolve(made, body["targets"]["conv"], body["targets"])) == 4
    assert network(name, **body["twin"]).dim == 16


def test_layers_stand_in_domain_beds_order() -> None:
    """Convolution, ReLU, group normalisation, four times; then the mean over the image."""
    made, pixels = network("mnist-cnn"), torch.rand(3, 1, 28, 28)
    hidden = pixels
    for place, (convolution, norm) in enumerate(zip(made.convolutions, made.norms, strict=True)):
        weight = convolution.weight
        hidden = conv2d(hidden, weight, convolution.bias, stride=2 if place == 1 else 1, padding=1).clamp(min=0)
        hidden = group_norm(hidden, 8, norm.weight, norm.bias)
        assert hidden.shape[2:] == ((28, 28) if place == 0 else (14, 14))
    found = made(pixels)
    assert found.shape == (3, made.dim) == (3, 128)
    assert torch.allclose(found, hidden.flatten(2).mean(2), atol=1e-5)


def test_the_third_channel_is_left_out() -> None:
    made, pixels = network("mnist-cnn-colour"), torch.rand(2, 3, 28, 28)
    empty = pixels.clone()
    empty[:, 2] = 0
    assert torch.equal(made(pixels), made(empty))
    assert torch.equal(made(pixels), made(pixels[:, :2]))
    assert not torch.equal(made(pixels), made(pixels.flip(1)))


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(UserError, match="1 channels; these have 3"):
        network("mnist-cnn")(torch.rand(1, 3, 28, 28))
    with pytest.raises(UserError, match="2 channels; these have 1"):
        network("mnist-cnn-colour")(torch.rand(1, 1, 28, 28))
