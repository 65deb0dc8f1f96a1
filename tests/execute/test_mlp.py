"""The perceptron for tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from bench.data.access import Access
from bench.declarations.catalog import Catalog
from bench.execute.adapters.targets import resolve
from bench.execute.backbones import Backbone, Origin, make_backbone


def made(args: dict[str, Any], columns: int = 3, twin: dict[str, Any] | None = None) -> Backbone:
    torch.manual_seed(0)
    body = {"library": "mlp", "name": "mlp", "args": args, "twin": twin}
    inputs = [f"c{place}" for place in range(columns)]
    return make_backbone(Origin(body, {"inputs": inputs}, Path("/nowhere"), Access(Path("/nowhere")), twin is not None))


def test_features_of_a_table_are_what_the_layers_say() -> None:
    backbone = made({"widths": [5, 5], "dim": 4, "activation": "relu", "residual": True})
    rows = np.random.default_rng(0).uniform(-1, 1, (7, 3)).astype(np.float32)
    found = backbone(backbone.encoder(rows))
    assert found.shape == (7, backbone.dim) == (7, 4)
    weights = {name: value.detach().numpy() for name, value in backbone.network.named_parameters()}

    def layer(name: str, given: Any) -> Any:
        return given @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    first = np.maximum(layer("layers.0", rows), 0)
    second = first + np.maximum(layer("layers.1", first), 0)
    np.testing.assert_allclose(found.detach().numpy(), layer("features", second), atol=1e-6)


def test_its_columns_are_the_task_s_and_its_twin_is_small() -> None:
    assert made({}, columns=16).network.get_submodule("layers.0").in_features == 16
    assert made({}).dim == 128
    twin = made({"widths": [64], "dim": 32}, twin={"widths": [], "dim": 2})
    assert [tuple(value.shape) for value in twin.parameters()] == [(2, 3), (2,)]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"width": [3]}, r"not 'width'. Did you mean \"widths\""),
        ({"widths": 3}, "a list of whole numbers above 0, found 3"),
        ({"widths": [0]}, "a list of whole numbers above 0"),
        ({"dim": True}, "args.dim of an mlp must be a whole number above 0, found True"),
        ({"activation": "tanh"}, "must be gelu or relu, found 'tanh'"),
        ({"residual": 1}, "must be true or false"),
    ],
)
def test_wrong_args_are_sentences(args: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        made(args)


def test_the_declared_one_names_layers_that_exist() -> None:
    declared = Catalog.find().backbone("mlp").body
    for twin in (False, True):
        origin = Origin(declared, {"inputs": ["a"] * 16}, Path(), Access(Path("/nowhere")), twin)
        backbone = make_backbone(origin)
        sites = {group: resolve(backbone.network, group, backbone.groups) for group in declared["targets"]}
        assert all(sites.values())
        assert len(sites["layers"]) == len((declared["twin"] if twin else declared["args"])["widths"])
