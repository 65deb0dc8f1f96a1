"""The contrastive losses of category discovery, and the network that they look through."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from bench.execute.batch import Batch
    from bench.execute.method import Method


class Projector(nn.Sequential):
    """DINO's projection: three linear layers with GELU between, (rows, dim) -> (rows, bottleneck), not normalised.

    Weights are drawn from N(0, 0.02^2), truncated; biases are 0 (Caron et al. 2021. arXiv:2104.14294).
    """

    def __init__(self, dim: int, hidden: int = 2048, bottleneck: int = 256) -> None:
        layers = [nn.Linear(dim, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, bottleneck)]
        for layer in layers:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        super().__init__(layers[0], nn.GELU(), layers[1], nn.GELU(), layers[2])


def two_views(method: Method, batch: Batch) -> Tensor:
    """Features of all rows in the first view, then in the second: (2 rows, dim).

    Images and tables go through the backbone together, as one batch; texts, whose views differ in length, do not.
    """
    first, second = batch.views
    together = isinstance(first, Tensor) and first.shape == second.shape
    found = []
    for inputs in [torch.cat([first, second])] if together else [first, second]:
        method.adaptation.context(replace(batch, inputs=inputs))
        found.append(method.backbone(inputs))
    return torch.cat(found)


def unsupervised(projected: Tensor, temperature: float) -> Tensor:
    """InfoNCE: each of 2n rows finds its other view among the 2n - 1 others, by cosine; the mean over all rows."""
    count = len(projected) // 2
    similar = _similar(projected, temperature)
    other = torch.arange(2 * count, device=projected.device).roll(count)
    return F.cross_entropy(similar, other)


def supervised(projected: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrast of 2n rows of known class (Khosla et al. 2020. arXiv:2004.11362); 0 where there is none.

    Of each row the mean of -log p over all others of its class, both views; then the mean over all rows.
    """
    if not len(projected):
        return projected.sum() * 0
    both = labels.repeat(2)
    alike = (both[:, None] == both[None, :]).fill_diagonal_(False)
    log_share = _similar(projected, temperature).log_softmax(dim=1)
    return -(log_share.masked_fill(~alike, 0).sum(dim=1) / alike.sum(dim=1)).mean()


def contrast(
    projected: Tensor, labels: Tensor, weight: float, temperature: float, labelled_temperature: float
) -> Tensor:
    """(1 - weight) unsupervised + weight supervised; `projected` holds both views, `labels` are -1 where unknown."""
    known = labels >= 0
    return (1 - weight) * unsupervised(projected, temperature) + weight * supervised(
        projected[known.repeat(2)], labels[known], labelled_temperature
    )


def _similar(projected: Tensor, temperature: float) -> Tensor:
    """Cosines over the temperature, -inf between a row and itself."""
    with torch.autocast(projected.device.type, enabled=False):  # a temperature of 0.07 needs more than 8 bits
        unit = F.normalize(projected.float(), dim=-1)
        similar: Tensor = (unit @ unit.T / temperature).fill_diagonal_(-torch.inf)
    return similar
