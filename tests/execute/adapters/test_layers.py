"""The one view over layers computes what the layers compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.execute.adapters.layers import Layer, kind, why_not

CONVOLUTIONS: list[tuple[type[nn.Module], dict[str, Any]]] = [
    (nn.Conv1d, {"stride": 2, "padding": 1}),
    (nn.Conv1d, {"padding": 1, "padding_mode": "circular"}),
    (nn.Conv2d, {"dilation": 2, "padding": "same"}),
    (nn.Conv2d, {"groups": 2, "padding": (1, 0), "bias": False}),
    (nn.Conv2d, {"padding": 1, "padding_mode": "reflect"}),
    (nn.Conv3d, {"stride": (1, 2, 1), "groups": 4}),
]


@pytest.mark.parametrize(("cls", "settings"), CONVOLUTIONS)
def test_convolution(cls: type[nn.Module], settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = cls(4, 8, 3, **settings)
    layer = Layer(module)
    x = torch.randn(2, 4, *[6] * layer.spatial)
    assert torch.equal(layer.op(x, layer.weight(), layer.bias()), module(x))
    assert module(x).shape[layer.channel] == layer.out == 8
    doubled = layer.op(x, 2 * layer.weight(), None)
    assert torch.allclose(doubled, 2 * (module(x) - module(torch.zeros_like(x))), atol=1e-5)


def test_rows_of_an_output() -> None:
    module = nn.Linear(3, 6)
    layer = Layer(module)
    x = torch.randn(2, 5, 3)
    part = layer.op(x, layer.weight()[2:4], layer.bias()[2:4])
    assert torch.allclose(part, module(x)[..., 2:4])


def test_transposed_weight(libraries: Any) -> None:
    module = libraries.transformers.pytorch_utils.Conv1D(10, 4)
    layer = Layer(module)
    x = torch.randn(2, 3, 4)
    assert layer.weight().shape == (10, 4)
    assert torch.allclose(layer.op(x, layer.weight(), layer.bias()), module(x), atol=1e-6)
    layer.write(slice(0, 5), torch.ones(5, 4), None)
    assert torch.equal(module.weight[:, :5], torch.ones(4, 5))
    assert not torch.equal(module.weight[:, 5:], torch.ones(4, 5))


@pytest.mark.parametrize("settings", [{"stride": 2}, {"stride": 3, "dilation": 2}, {"stride": 1, "groups": 4}])
def test_timm_same_padding(libraries: Any, settings: dict[str, Any]) -> None:
    module = libraries.timm.layers.Conv2dSame(4, 8, 3, **settings)
    layer = Layer(module)
    for size in (7, 8):
        x = torch.randn(2, 4, size, 9)
        assert torch.equal(layer.op(x, layer.weight(), layer.bias()), module(x))


def test_what_overrides_forward_is_not_adaptable(libraries: Any) -> None:
    module = libraries.timm.layers.StdConv2d(4, 8, 3)
    assert kind(module) is None
    assert "forward is its own" in why_not(module)
    assert kind(nn.ConvTranspose2d(2, 2, 2)) is None
    assert kind(nn.Embedding(3, 2)) is None


def test_a_bias_is_made_where_there_is_none() -> None:
    module = nn.Linear(3, 4, bias=False)
    Layer(module).write(slice(1, 2), torch.zeros(1, 3), torch.ones(1))
    assert module.bias.tolist() == [0, 1, 0, 0]
