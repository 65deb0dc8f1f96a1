"""The small U-Net that ships with the package: its features, its weights, and the recipe that made them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.adapters.targets import resolve

HOME = Path(__file__).parents[3] / "methods" / "backbones"


@pytest.fixture(scope="module")
def recipe() -> Any:
    """The module `make_contours.py`."""
    return sys.modules[load("make_contours:train", HOME).__module__]


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HOME / "contours.yaml").read_text())
    return found


def made(declared: dict[str, Any], weights: bool = False, **changes: Any) -> Any:
    torch.manual_seed(0)
    network = load(declared["class"], HOME)(**{**declared["args"], **changes})
    if weights:
        network.load_state_dict(load_file(HOME / declared["weights"]), strict=True)
    return network.eval()


def test_the_weights_fit_the_declared_network_and_the_size_limit(declared: dict[str, Any]) -> None:
    network, file = made(declared, weights=True), HOME / declared["weights"]
    assert file.stat().st_size <= 1_000_000
    tensors = list(network.state_dict().values())
    assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in tensors)
    assert sum(tensor.numel() for tensor in tensors) == declared["parameters"] <= 250_000


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (24, 40)])
def test_features_are_dense_at_every_size_divisible_by_eight(declared: dict[str, Any], size: tuple[int, int]) -> None:
    network = made(declared, weights=True)
    with torch.inference_mode():
        found = network(torch.rand(2, 1, *size))
        assert found.shape == (2, network.dim, *size) == (2, 16, *size)
        assert torch.isfinite(found).all()
        assert made(declared, **declared["twin"])(torch.rand(2, 1, *size)).shape == (2, 4, *size)


def test_three_channels_are_averaged_to_grey(declared: dict[str, Any]) -> None:
    network, pixels = made(declared), torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(network(pixels), network(pixels.mean(1, keepdim=True)), atol=1e-5)
        assert not torch.allclose(network(pixels), network(pixels[:, :1]), atol=1e-2)


def test_other_sizes_are_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="divisible by 8; these are 16 x 20"):
        made(declared)(torch.rand(1, 1, 16, 20))


def test_every_convolution_is_a_target_and_has_a_bias_and_every_norm_a_gain(declared: dict[str, Any]) -> None:
    for network, blocks in ((made(declared), 7), (made(declared, **declared["twin"]), 3)):
        sites = resolve(network, "conv", declared["targets"])
        assert len(sites) == 2 * blocks == sum(isinstance(layer, torch.nn.Conv2d) for layer in network.modules())
        assert all(site.bias() is not None for site in sites)
        norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.GroupNorm)]
        assert len(norms) == 2 * blocks
        assert all(norm.weight is not None for norm in norms)


def test_drawings_are_a_function_of_their_coordinates(recipe: Any) -> None:
    images, targets = recipe.drawings(6, "x", 3)
    recipe.drawings(6, "x", 4)
    again, same = recipe.drawings(6, "x", 3)
    assert np.array_equal(images, again)
    assert np.array_equal(targets, same)
    assert not np.array_equal(images, recipe.drawings(6, "x", 4)[0])
    assert images.shape == (6, 64, 64)
    assert images.dtype == np.uint8
    assert targets.shape == (6, 5, 64, 64)


def test_targets_say_what_is_seen(recipe: Any) -> None:
    """One polygon, number 1, under a stroke, of the first number beyond the polygons."""
    top, depth = (np.zeros((1, 16, 16), dtype=np.int64) for _ in range(2))
    top[0, 4:12, 4:12] = depth[0, 4:12, 4:12] = 1
    top[0, 7:9, :] = recipe.FILLED + 1
    edge, fill, stroke, distance, covered = recipe._targets(top, depth)[0]
    assert fill.sum() == 8 * 8 - 2 * 8
    assert stroke.sum() == 2 * 16
    assert covered.sum() == 64
    assert edge[5, 4] == edge[5, 3] == 1
    assert edge[5, 5] == edge[5, 2] == 0
    assert distance[5, 4] == 0
    assert distance[5, 2] == 1 / recipe.FAR


def test_the_shipped_features_find_edges_in_new_drawings(recipe: Any, declared: dict[str, Any]) -> None:
    """A least-squares fit of edges, fills and distances by pixel: shipped weights explain more than random ones."""
    explained = [_explained(recipe, made(declared, weights)) for weights in (True, False)]
    assert explained[0] > 1.3 * explained[1]


def _explained(recipe: Any, network: Any) -> float:
    """Share of the variance of the tasks on 8 drawings that a linear probe fitted on 8 others explains."""
    parts = []
    for name in ("probe", "test"):
        images, targets = recipe.drawings(8, name)
        with torch.inference_mode():
            features = network(recipe.pixels(images)).movedim(1, -1).reshape(-1, network.dim).double().numpy()
        parts.append((np.c_[features, np.ones(len(features))], np.moveaxis(targets, 1, -1).reshape(len(features), -1)))
    (left, wanted), (right, true) = parts
    solution = np.linalg.lstsq(left, wanted, rcond=None)[0]
    return float(1 - ((right @ solution - true) ** 2).sum() / ((true - true.mean(0)) ** 2).sum())


def test_lighter_convolutions_give_the_same_features(recipe: Any, declared: dict[str, Any]) -> None:
    network, pixels = made(declared), torch.from_numpy(recipe.drawings(2, "light")[0]).unsqueeze(1) / 255
    with torch.inference_mode():
        before = network(pixels)
        recipe.lighten(network)
        assert (network(pixels) - before).norm() < 0.05 * before.norm()
    shipped = made(declared, weights=True)
    for layer in [*network.modules(), *shipped.modules()]:
        if isinstance(layer, torch.nn.Conv2d):
            assert layer.weight.square().mean().sqrt().item() == pytest.approx(recipe.LIGHT, rel=1e-4)


def test_two_steps_of_the_recipe_train_and_repeat(recipe: Any) -> None:
    (one, loss), (two, _) = (recipe.train(steps=2, batch=4) for _ in range(2))
    assert 0 < loss < 10
    untrained = made(yaml.safe_load((HOME / "contours.yaml").read_text())).state_dict()
    for name, tensor in one.state_dict().items():
        assert torch.isfinite(tensor).all()
        assert torch.equal(tensor, two.state_dict()[name]), name
        assert tensor.shape == untrained[name].shape
