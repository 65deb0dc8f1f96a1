"""The weights that ship with the package fit their declaration, and their recipe still runs and repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from bench.core.loading import load, source_path
from bench.execute.adapters.targets import resolve

HOME = Path(__file__).parents[3] / "methods" / "backbones"


@pytest.fixture(scope="module")
def recipe() -> Any:
    """The module `make_shapes.py`."""
    import sys

    return sys.modules[load("make_shapes:train", HOME).__module__]


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HOME / "shapes.yaml").read_text())
    return found


def architecture(declared: dict[str, Any], **changes: Any) -> Any:
    import timm

    args = {name: value for name, value in declared["args"].items() if name not in ("mean", "std")}
    return timm.create_model(declared["name"], pretrained=False, **{**args, **changes})


def test_the_weights_fit_the_declared_architecture_and_the_size_limit(declared: dict[str, Any]) -> None:
    file = HOME / declared["weights"]
    state = load_file(file)
    network = architecture(declared)
    network.load_state_dict(state, strict=True)
    assert file.stat().st_size <= 1_500_000
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert sum(parameter.numel() for parameter in network.parameters()) == declared["parameters"]
    assert network.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 96)


def test_the_recipe_trains_what_is_declared(recipe: Any, declared: dict[str, Any]) -> None:
    args = {**declared["args"]}
    assert (args.pop("mean"), args.pop("std")) == ([0.5], [0.5])  # as `pixels` scales them
    assert (declared["name"], args) == (recipe.ARCHITECTURE, recipe.ARGS)
    assert source_path("make_shapes:train", HOME).name == "make_shapes.py"


def test_the_target_groups_name_layers_of_the_network_and_of_its_twin(declared: dict[str, Any]) -> None:
    for network, blocks in ((architecture(declared), 6), (architecture(declared, **declared["twin"]), 2)):
        counts = {group: len(resolve(network, group, declared["targets"])) for group in declared["targets"]}
        assert counts == {"attention": 2 * blocks, "attention-output": blocks, "mlp": 2 * blocks}


def test_images_are_a_function_of_their_coordinates(recipe: Any) -> None:
    one, two, other = (recipe.invent(10, name) for name in ("a", "a", "b"))
    assert np.array_equal(one.strokes, two.strokes)
    assert np.array_equal(one.radii, two.radii)
    assert not np.array_equal(one.strokes, other.strokes)
    labels = np.arange(10)
    first = recipe.images(one, labels, "x", 3)
    recipe.images(one, labels, "x", 4)
    assert np.array_equal(first, recipe.images(two, labels, "x", 3))
    assert not np.array_equal(first, recipe.images(one, labels, "x", 4))
    assert first.shape == (10, 32, 32)
    assert first.dtype == np.uint8
    assert first.std(axis=(1, 2)).min() > 1  # something is drawn on each


def test_the_shipped_features_tell_new_classes_apart(recipe: Any, declared: dict[str, Any]) -> None:
    trained, untrained = architecture(declared), architecture(declared)
    trained.load_state_dict(load_file(HOME / declared["weights"]))
    assert recipe.probe(trained, shots=5, tests=5) > 3 * recipe.probe(untrained, shots=5, tests=5)


def test_two_steps_of_the_recipe_train_and_repeat(recipe: Any) -> None:
    (one, accuracy), (two, _) = (recipe.train(steps=2, classes=8) for _ in range(2))
    assert 0 <= accuracy <= 1
    for name, tensor in one.state_dict().items():
        assert torch.isfinite(tensor).all()
        assert torch.equal(tensor, two.state_dict()[name]), name
