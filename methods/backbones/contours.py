"""A small U-Net with dense features, for grey images of any size divisible by 8.

After Ronneberger, Fischer, Brox. U-Net: Convolutional Networks for Biomedical Image Segmentation. 2015.
arXiv:1505.04597
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from bench.core.errors import UserError

WIDTHS = (8, 16, 32, 64)
DIM = 16


class Block(nn.Module):
    """Twice a 3 x 3 convolution, group normalisation (four channels a group) and ReLU."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(given, width, 3, padding=1), nn.GroupNorm(max(1, width // 4), width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(max(1, width // 4), width)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.norm1(self.conv1(hidden)).relu()
        found: Tensor = self.norm2(self.conv2(hidden)).relu()
        return found


class Contours(nn.Module):
    """Pixels (batch, channels, H, W) in 0..1 -> features (batch, dim, H, W).

    Several channels are averaged to one grey. H and W must be divisible by 2 for each level but the first: by 8.
    The features are multiplied by `gain`.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, dim: int = DIM, gain: float = 1.0) -> None:
        super().__init__()
        self.dim, self.gain, self.factor = dim, gain, 2 ** (len(widths) - 1)
        self.down = nn.ModuleList(Block(given, width) for given, width in pairwise([1, *widths]))
        outs = [dim, *widths[1:]]
        self.up = nn.ModuleList(
            Block(outs[level + 1] + widths[level], outs[level]) for level in reversed(range(len(widths) - 1))
        )

    def forward(self, pixels: Tensor) -> Tensor:
        if pixels.shape[-1] % self.factor or pixels.shape[-2] % self.factor:
            height, width = pixels.shape[-2:]
            raise UserError(
                f"This network is for images whose sides are divisible by {self.factor}; these are {height} x {width}."
            )
        hidden = 4 * pixels.mean(1, keepdim=True) - 2
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            hidden = block(max_pool2d(hidden, 2) if level else hidden)
            kept.append(hidden)
        for block, skipped in zip(self.up, reversed(kept[:-1]), strict=True):
            hidden = block(torch.cat([interpolate(hidden, scale_factor=2, mode="nearest"), skipped], 1))
        return self.gain * hidden
