"""The head slot: features to outputs."""

from __future__ import annotations

from torch import Tensor, nn


class LinearHead(nn.Module):
    """Dropout, then one linear layer: features (batch, dim) -> (batch, outputs); weights N(0, 0.02^2), biases 0.

    Of dense features (batch, dim, height, width) every place is mapped alike, to (batch, outputs, height, width).
    """

    def __init__(self, dim: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, outputs)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim > 2:
            features = features.movedim(1, -1)
        outputs: Tensor = self.linear(self.dropout(features))
        return outputs if outputs.ndim == 2 else outputs.movedim(-1, 1)
