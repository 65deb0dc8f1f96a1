"""Moment probing: a head on the second moments of tokens (Gao, Wang, Lin, Zhu, Hu, Zhou. 2023. arXiv:2307.11342)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.execute.backbones import Features
from bench.execute.head import Head


class MomentProbing(Head):
    """The mean of a linear map of the pooled feature and one of the tokens' cross-covariances.

    Tokens (rows, N, width) are projected to `hidden` and split into `heads`, each normalised by one LayerNorm for all.
    Of each two adjacent heads the centred cross-covariance (d, d), d = hidden / heads, is X^T Y / N over the tokens
    that are no padding, its columns made of length 1; the heads - 1 matrices go through conv 3 x 3 - GELU - conv 3 x 3,
    both of stride 2 without bias and padding, and are flattened: with the default sizes 3 * 31 * 31 = 2883 numbers.
    """

    wants = ("tokens",)

    def setup(self, hidden: int = 512, heads: int = 4) -> None:
        if hidden % heads or heads < 2 or hidden // heads < 7:
            raise UserError(
                f"head.params: {hidden} over {heads} heads; expected 2 or more heads of equal size from 7 on."
            )
        self.hidden, self.heads = hidden, heads

    def build(self) -> None:
        size, channels = self.hidden // self.heads, self.heads - 1
        self.project = nn.Linear(self.info.widths["tokens"][0], self.hidden)
        self.norm = nn.LayerNorm(size)
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=2, bias=False),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, stride=2, bias=False),
        )
        left = ((size - 3) // 2 + 1 - 3) // 2 + 1
        self.linear = nn.Linear(self.info.width, self.info.outputs)
        self.moment_linear = nn.Linear(channels * left**2, self.info.outputs)
        for layer in (self.project, self.linear, self.moment_linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Features) -> Tensor:
        moments = self.reduce(self.moments(features)).flatten(1)
        outputs: Tensor = (self.linear(features.pooled) + self.moment_linear(moments)) / 2
        return outputs

    def moments(self, features: Features) -> Tensor:
        """Normalised cross-covariances (rows, heads - 1, d, d)."""
        assert features.tokens is not None
        found = self.norm(self.project(features.tokens).unflatten(-1, (self.heads, -1)))  # (rows, N, heads, d)
        mask = features.tokens.new_ones(found.shape[:2]) if features.mask is None else features.mask.to(found.dtype)
        mask = mask[:, :, None, None]
        count = mask.sum(1, keepdim=True).clamp_min(1)
        centred = mask * (found - (mask * found).sum(1, keepdim=True) / count)
        crossed = torch.einsum("rnhd,rnhe->rhde", centred[:, :, :-1], centred[:, :, 1:]) / count
        return F.normalize(crossed, dim=2)
