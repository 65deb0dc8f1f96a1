"""Fish: gradient matching by an inner pass over the domains (Shi et al. 2021. arXiv:2104.09937)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.execute.objective import Objective

if TYPE_CHECKING:
    from bench.execute.batch import Batch
    from bench.execute.method import Method
    from bench.execute.step import Step


class Fish(Objective):
    """theta <- theta + meta_lr (theta~ - theta), where theta~ is theta after one update on each domain in turn.

    Algorithm 1 of the paper (Fish), as DomainBed has it: the domains come in the order of their numbers, and the inner
    optimizer, `main`, goes on with its moments from step to step. theta is what `main` trains and, since DomainBed
    interpolates whole state dicts, the statistics that the backbone and the head keep (batch normalisation).
    """

    micro_batches = True

    def setup(self, meta_lr: float = 0.5) -> None:
        self.meta_lr = meta_lr

    def update(self, method: Method, batch: Batch, step: Step) -> None:
        statistics = [*method.backbone.buffers(), *method.head.buffers()]
        theta = [*step.parameters("main"), *(buffer for buffer in statistics if buffer.is_floating_point())]
        before = [tensor.detach().clone() for tensor in theta]
        for domain in sorted(set(batch.domains.tolist())):  # in their order; batches drawn at random may lack some
            for part in step.parts(batch.of_domain(domain)):
                step.backward(method.loss(part) * part.share)
            step.apply("main")
        with torch.no_grad():
            for tensor, start in zip(theta, before, strict=True):
                moved = start + self.meta_lr * (tensor - start)
                tensor.copy_(torch.where(tensor == start, start, moved))  # a mask's infinities stay
