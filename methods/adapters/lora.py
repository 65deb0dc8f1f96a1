"""LoRA: Low-Rank Adaptation of Large Language Models (Hu et al., 2021, arXiv:2106.09685)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from bench.execute.adapters import Adapter


class LoRA(Adapter):
    """W = W0 + (alpha / rank) B A, with A drawn Kaiming-uniform and B zero.

    A convolution's A is a convolution to `rank` channels, its B one of kernel 1, as in the authors' loralib
    and in peft, with which outputs and gradients agree exactly. `dropout` acts on what A sees, in training.
    """

    def setup(self, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0) -> None:
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        out, *rest = self.weight0.shape
        self.A = nn.Parameter(nn.init.kaiming_uniform_(self.weight0.new_empty(rank, *rest), a=math.sqrt(5)))
        self.B = nn.Parameter(self.weight0.new_zeros(out, rank, *[1] * (len(rest) - 1)))

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def delta(self) -> Tensor:
        return (self.scale * self.B.flatten(1) @ self.A.flatten(1)).view_as(self.weight0)

    def weight(self) -> Tensor:
        return self.weight0 + self.delta()

    def forward(self, x: Tensor) -> Tensor:
        y = self.op(x, self.weight0, self.bias0)
        x = F.dropout(x, self.dropout, self.training)
        if self.site.layer.groups > 1:  # A is shared by the groups, so the product is the thinner path
            return y + self.op(x, self.delta())
        return y + self.site.layer.pointwise(self.op(x, self.A), self.B) * self.scale

    def update_rank(self) -> int:
        return self.rank

    def acts_by_weight(self) -> bool:
        return self.dropout == 0

    def peft_form(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config = {"peft_type": "LORA", "r": self.rank, "lora_alpha": self.alpha, "lora_dropout": self.dropout}
        return config, {"lora_A": self.A, "lora_B": self.B}
