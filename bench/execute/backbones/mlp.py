"""A multi-layer perceptron for tables, random at the start: there is no pretrained network for columns of one's own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu, relu

from bench.core.errors import UserError, nearest
from bench.execute.backbones import Backbone, Origin, load_weights

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": gelu, "relu": relu}
_DEFAULTS: dict[str, Any] = {"widths": [256, 256], "dim": 128, "activation": "gelu", "residual": False}


class TabularEncoder:
    """float32 (rows, columns) -> tensor of the same shape."""

    def __call__(self, raw: NDArray[Any]) -> Tensor:
        return torch.from_numpy(raw).float()


class Perceptron(nn.Module):
    """Columns -> `widths`, each with an activation -> `dim` features, linear.

    With `residual`, what enters a hidden layer of equal width is added to what leaves it.
    """

    def __init__(self, columns: int, widths: list[int], dim: int, activation: str, residual: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise([columns, *widths]))
        self.features = nn.Linear(widths[-1] if widths else columns, dim)
        self._activation, self._residual = _ACTIVATIONS[activation], residual

    def forward(self, rows: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = self._activation(layer(rows))
            rows = rows + hidden if self._residual and hidden.shape == rows.shape else hidden
        features: Tensor = self.features(rows)
        return features


class MlpBackbone(Backbone):
    """Takes tables scaled to -1..1."""

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.network(inputs)
        return features


def make(origin: Origin) -> Backbone:
    """Build the network for the task's input columns; weights beside the declaration are loaded where it names any."""
    declared = dict(origin.declared.get("args") or {})
    if origin.twin:
        declared.update(origin.declared.get("twin") or {})
    args = _checked({**_DEFAULTS, **declared})
    network = Perceptron(len(origin.task["inputs"]), **args)
    if origin.declared.get("weights") and not origin.twin:
        load_weights(network, origin.home / str(origin.declared["weights"]))
    return MlpBackbone(network, args["dim"], TabularEncoder(), dict(origin.declared.get("targets") or {}))


def _checked(args: dict[str, Any]) -> dict[str, Any]:
    for name in args:
        if name not in _DEFAULTS:
            raise UserError(f"args of an mlp are {', '.join(_DEFAULTS)}, not {name!r}.{nearest(name, _DEFAULTS)}")
    widths = args["widths"]
    if not isinstance(widths, list) or not all(_is_width(width) for width in widths):
        raise UserError(f"args.widths of an mlp must be a list of whole numbers above 0, found {widths!r}.")
    if not _is_width(args["dim"]):
        raise UserError(f"args.dim of an mlp must be a whole number above 0, found {args['dim']!r}.")
    if args["activation"] not in _ACTIVATIONS:
        raise UserError(f"args.activation of an mlp must be {' or '.join(_ACTIVATIONS)}, found {args['activation']!r}.")
    if not isinstance(args["residual"], bool):
        raise UserError(f"args.residual of an mlp must be true or false, found {args['residual']!r}.")
    return args


def _is_width(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
