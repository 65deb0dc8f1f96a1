"""EVA: explained variance adaptation (Paischer et al., 2024, arXiv:2410.07170)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.execute.adapters import Adaptation, Site

from ._inputs import Spectrum, shared_ranks, vectors, watched
from .lora import LoRA

if TYPE_CHECKING:
    from bench.execute.batch import Batch


class EVA(Adaptation):
    """LoRA whose A starts at the first principal components of its layer's inputs and whose rank follows their shares.

    Of the first `batches` training batches as many are seen as it takes until, between one and the next, the cosine of
    each component that is to be used reaches `similarity`. The budget of `rank` times the number of sites goes to the
    components of the greatest shares of their layer's variance, at most `cap` times `rank` at a site; sites without any
    are left as they are. B is zero, and alpha / rank stays as declared. Inputs are centred and not whitened, as in the
    authors' implementation in peft; unlike there, their spectrum is exact and not cut between batches. The vectors of a
    convolution are its patches, of a grouped one those of every group. Padded words are left out.
    """

    def setup(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        cap: float = 2.0,
        similarity: float = 0.99,
        batches: int = 100,
    ) -> None:
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        self.most, self.similarity, self.calibration_batches = round(cap * rank), similarity, batches
        self.ranks: dict[str, int] | None = None  # by label, once they are known

    def build(self) -> None:
        for site in self.sites():
            self.add(LoRA(site, rank=self.rank, alpha=self.alpha, dropout=self.dropout))

    def calibrate(self, batches: Iterable[Batch], forward: Callable[[Batch], Tensor]) -> None:
        loras = self.loras()
        sites = {lora.site.path: lora.site for lora in loras.values()}
        spectra = {path: Spectrum(site, self.most, self.similarity) for path, site in sites.items()}
        settled, mask, ranks = set[str](), None, dict[str, int]()

        def see(site: Site, given: Tensor) -> None:
            if site.path not in settled:
                spectra[site.path].see(vectors(site, given, mask))

        with torch.no_grad(), watched(sites.values(), see):
            for batch in batches:
                mask = batch.inputs.get("attention_mask") if isinstance(batch.inputs, Mapping) else None
                forward(batch)
                ranks = shared_ranks({label: spectra[lora.site.path] for label, lora in loras.items()}, self.rank)
                settled = {
                    path
                    for path in sites
                    if all(
                        spectra[path].settled(ranks[label]) for label, lora in loras.items() if lora.site.path == path
                    )
                }
                if len(settled) == len(sites):
                    break
        self.reshape(ranks)
        for label, lora in self.loras().items():
            lora.A.data.copy_(spectra[lora.site.path].components[: ranks[label]].view_as(lora.A))

    def loras(self) -> dict[str, LoRA]:
        return {label: adapter for label, adapter in self.labelled().items() if isinstance(adapter, LoRA)}

    def shapes(self) -> dict[str, Any] | None:
        return self.ranks

    def reshape(self, shapes: Mapping[str, int]) -> None:
        self.ranks = dict(shapes)
        self.keep(label for label, rank in shapes.items() if rank)
        for label, lora in self.loras().items():
            lora.setup(rank=shapes[label], alpha=self.alpha * shapes[label] / self.rank, dropout=self.dropout)
