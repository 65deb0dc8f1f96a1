"""A backbone written in a Python file beside its declaration: a module with `dim` and features from images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.backbones import Backbone, Features, ImageEncoder, Origin, load_weights


class FileBackbone(Backbone):
    """The class takes the declared `args`; its `forward` takes pixels in 0..1 (batch, channels, height, width).

    Where it has `offers`, it has `features(pixels, wants)` and `widths(want)` too, as `Backbone` has them.
    """

    def __init__(self, network: nn.Module, groups: dict[str, list[str]]) -> None:
        dim = getattr(network, "dim", None)
        if not isinstance(dim, int):
            raise UserError(f"{type(network).__name__} has no whole number `dim`, the width of the features it gives.")
        super().__init__(network, dim, ImageEncoder(), groups)
        self.offers = tuple(getattr(network, "offers", ()))

    def features(self, inputs: Tensor, wants: Sequence[str]) -> Features:
        self.refuse(wants)
        network: Any = self.network
        found: Features = network.features(inputs.float() / 255, wants)
        return found

    def widths(self, want: str) -> tuple[int, ...]:
        self.refuse([want])
        network: Any = self.network
        return tuple(network.widths(want))

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.network(inputs.float() / 255)
        return features


def make(origin: Origin) -> Backbone:
    """Build the class and load its weights, when it declares any."""
    args: dict[str, Any] = {**(origin.declared.get("args") or {})}
    if origin.twin:
        args.update(origin.declared.get("twin") or {})
    network = load(str(origin.declared["class"]), origin.home)(**args)
    if origin.declared.get("weights") and not origin.twin:
        load_weights(network, origin.home / str(origin.declared["weights"]))
    return FileBackbone(network, dict(origin.declared.get("targets") or {}))
