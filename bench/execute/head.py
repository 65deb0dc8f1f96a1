"""The head slot: features to outputs."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from bench.execute.parts import Part


class Head(Part):
    """Features -> outputs (rows, info.outputs). It is drawn from a stream of the task and the seed alone.

    `wants` names what it asks of the backbone beside what that gives by itself: `tokens`, `maps`. Its `forward` then
    takes `Features`, and `info.widths` says how wide they are; without it, a tensor (rows, info.width), or
    (rows, info.width, height, width) of a backbone that gives features at every pixel.
    """

    slot = "head"
    wants: ClassVar[tuple[str, ...]] = ()

    def forward(self, features: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not say how features become outputs")


class LinearHead(Head):
    """Dropout, then one linear layer: features (batch, width) -> (batch, outputs); weights N(0, 0.02^2), biases 0.

    Of dense features (batch, width, height, width) every place is mapped alike, to (batch, outputs, height, width).
    """

    def setup(self, dropout: float = 0.0) -> None:
        self.dropout = nn.Dropout(dropout)

    def build(self) -> None:
        self.linear = nn.Linear(self.info.width, self.info.outputs)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim > 2:
            features = features.movedim(1, -1)
        outputs: Tensor = self.linear(self.dropout(features))
        return outputs if outputs.ndim == 2 else outputs.movedim(-1, 1)
