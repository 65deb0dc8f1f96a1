"""What layers see: their inputs as vectors, and the principal components of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.execute.adapters import Site

from ._svd import precise, signs_of


class Spectrum:
    """The principal components of all vectors seen so far: the right-singular vectors of the centred rows.

    The scatter matrix is kept whole, so that nothing is lost between batches as in an SVD that is cut after each.
    """

    def __init__(self, site: Site, most: int, similarity: float) -> None:
        self.count, self.similarity = min(most, site.weight()[0].numel()), similarity
        self.rows = 0
        self.mean, self.scatter = torch.zeros(()), torch.zeros(())  # (d,) and (d, d), float64
        self.components = torch.zeros(0)  # (count, d), by falling share
        self.shares = torch.zeros(0)  # (count,) of the variance
        self.converged = torch.zeros(self.count, dtype=torch.bool)

    def see(self, vectors: Tensor) -> None:
        """Take in vectors (rows, d); a component has converged when its cosine with the one before is high enough."""
        vectors, new = precise(vectors), len(vectors)
        mean, before = vectors.mean(0), self.components
        shift, centred = mean - self.mean.to(mean), vectors - mean
        between = self.rows * new / (self.rows + new) * torch.outer(shift, shift)
        self.scatter = self.scatter.to(mean) + centred.T @ centred + between
        self.rows += new
        self.mean = self.mean.to(mean) + shift * new / self.rows
        values, directions = torch.linalg.eigh(self.scatter)
        top = directions.flip(1)[:, : self.count]
        self.components = (top * signs_of(top)).T
        self.shares = (values.flip(0)[: self.count] / values.sum().clamp_min(torch.finfo(values.dtype).tiny)).cpu()
        if len(before):
            self.converged = (self.components * before).sum(1).abs().cpu() >= self.similarity

    def settled(self, rank: int) -> bool:
        """Whether the first `rank` components have converged."""
        return bool(self.converged[:rank].all())


def shared_ranks(spectra: Mapping[str, Spectrum], mean: int) -> dict[str, int]:
    """The rank of each site by its label: how many of its layer's components are among the `mean` * sites greatest."""
    shares = []
    for label, spectrum in spectra.items():
        if not spectrum.rows:
            raise UserError(f"{label} is never called, so that no input of it is seen; leave it out of the targets.")
        shares += [(share, label) for share in spectrum.shares.tolist()]
    shares.sort(key=lambda pair: -pair[0])  # of equal ones the earlier first
    ranks = Counter(label for _, label in shares[: mean * len(spectra)])
    return {label: ranks[label] for label in spectra}


def vectors(site: Site, given: Tensor, mask: Tensor | None = None) -> Tensor:
    """A layer's input as rows (any, in*k); `mask` (rows, words) is true where a word is no padding.

    Those of a convolution are its patches; of a grouped one the patches of every group.
    """
    layer, size = site.layer, site.weight()[0].numel()
    if not layer.spatial:
        seen = mask is not None and given.shape[:-1] == mask.shape
        return given[mask.bool()] if seen and mask is not None else given.reshape(-1, size)
    picks = torch.eye(size, dtype=given.dtype, device=given.device).view(size, *site.weight().shape[1:])
    patches = layer.op(given, picks.repeat(layer.groups, *[1] * (picks.dim() - 1)), None)
    return patches.reshape(len(given), layer.groups, size, -1).transpose(2, 3).reshape(-1, size)


@contextmanager
def watched(sites: Iterable[Site], see: Callable[[Site, Tensor], None]) -> Iterator[None]:
    """Call `see` with what each layer is given, while inside."""

    def hook(site: Site) -> Callable[[nn.Module, Any], None]:
        return lambda module, given: see(site, given[0].detach())

    hooks = [site.layer.module.register_forward_pre_hook(hook(site)) for site in sites]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()
