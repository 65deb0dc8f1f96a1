"""DANN: features from which no discriminator tells the domain (Ganin et al. 2016. arXiv:1505.07818)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.execute.objective import Objective

if TYPE_CHECKING:
    from bench.execute.batch import Batch
    from bench.execute.method import Method
    from bench.execute.step import Step


class DANN(Objective):
    """Steps of the network, of loss task - weight * D, take turns with `critic_steps` steps of the discriminator.

    D = cross-entropy of the rows' domains, from the pooled features by a perceptron of `depth` layers, `width` wide,
    + grad_penalty * the mean squared length of that cross-entropy's gradient in the features. As in DomainBed the two
    are trained by two Adams in turn, and not, as in the paper, at once through a layer that reverses gradients; with
    one step of the discriminator the network's comes first.
    """

    micro_batches = True

    def setup(
        self,
        weight: float = 1.0,
        critic_steps: int = 1,
        grad_penalty: float = 0.0,
        width: int = 256,
        depth: int = 3,
        dropout: float = 0.0,
        critic_lr: float = 5e-5,
        critic_weight_decay: float = 0.0,
        betas: Sequence[float] = (0.5, 0.9),
    ) -> None:
        self.weight, self.critic_steps, self.grad_penalty = weight, critic_steps, grad_penalty
        self.width, self.depth, self.dropout = width, depth, dropout
        rates = {"optimizer": "adam", "lr": critic_lr, "weight_decay": critic_weight_decay}
        self.critic = {**rates, "options": {"betas": list(betas)}}

    def build(self) -> None:
        sizes = [self.info.width, *[self.width] * (self.depth - 1), self.info.domains]
        layers: list[nn.Module] = [nn.Linear(sizes[0], sizes[1])]
        for place in range(1, self.depth):
            layers += [nn.Dropout(self.dropout), nn.ReLU(), nn.Linear(sizes[place], sizes[place + 1])]
        self.discriminator = nn.Sequential(*layers)

    def optimizers(self, declared: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {"critic": {**self.critic, "params": list(self.discriminator.parameters())}}

    def forward(self, method: Method, batch: Batch) -> Tensor:
        """The network's loss."""
        features = method.features(batch.inputs)
        loss: Tensor = method.problem.loss(method.head(features), batch.labels)
        return loss - self.weight * self.discrimination(features, batch.domains)

    def discrimination(self, features: Any, domains: Tensor) -> Tensor:
        """The discriminator's loss, of features (rows, width) or `Features`; the mean over the rows."""
        pooled: Tensor = features if isinstance(features, Tensor) else features.pooled
        if not pooled.requires_grad:
            pooled = pooled.detach().requires_grad_()
        outputs = self.discriminator(pooled)
        loss = F.cross_entropy(outputs, domains)
        if not self.grad_penalty:
            return loss
        total = F.cross_entropy(outputs, domains, reduction="sum")  # so that a row's gradient is its own
        (slope,) = torch.autograd.grad(total, pooled, create_graph=True)
        return loss + self.grad_penalty * slope.square().sum(1).mean()

    def update(self, method: Method, batch: Batch, step: Step) -> None:
        # DomainBed counts a step before it looks whose turn it is.
        turn = "critic" if (step.number + 1) % (1 + self.critic_steps) < self.critic_steps else "main"
        for part in step.parts(batch):
            if turn == "critic":
                loss = self.discrimination(torch.no_grad()(method.features)(part.inputs), part.domains)
            else:
                loss = method.loss(part)
            step.backward(loss * part.share, into=turn)
        step.apply(turn)
