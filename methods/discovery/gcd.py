"""GCD: contrastive features, then semi-supervised k-means (Vaze, Han, Vedaldi, Zisserman. 2022. arXiv:2201.02609)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning import Trainer
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.execute.objective import Objective

from ._contrastive import Projector, contrast, two_views
from .kmeans import Centres, Clustered

if TYPE_CHECKING:
    from bench.execute.data import Data
    from bench.execute.loaders import Batch
    from bench.execute.method import Method


class GCD(Objective):
    """(1 - weight) InfoNCE over all rows + weight supervised contrast over the labelled ones, both of two views.

    Temperatures are those of the authors' code: 1 without labels, 0.07 with them.
    """

    def setup(self, weight: float = 0.35, temperature: float = 1.0, labelled_temperature: float = 0.07) -> None:
        self.weight = weight
        self.temperatures = temperature, labelled_temperature

    def forward(self, method: Method, batch: Batch) -> Tensor:
        head: Any = method.head
        if not hasattr(head, "project"):
            raise UserError(f"The objective of gcd-kmeans needs a head that projects, not {type(head).__name__}.")
        projected = head.project(two_views(method, batch))
        return contrast(projected, batch["labels"], self.weight, *self.temperatures)


class ProjectedCentres(Centres):
    """Centres of the backbone's features, and the projection that the losses look through.

    With `projection_outputs` a linear layer with rows of length 1 follows the normalised projection. The authors'
    code has one of 65,536; at random, as it starts, it leaves the cosines as they are but for noise.
    """

    def __init__(
        self,
        dim: int,
        outputs: int,
        hidden: int = 2048,
        bottleneck: int = 256,
        projection_outputs: int = 0,
        **centres: Any,
    ) -> None:
        super().__init__(dim, outputs, **{"labelled": True, **centres})
        self.projector = Projector(dim, hidden, bottleneck)
        self.last = nn.Linear(bottleneck, projection_outputs, bias=False) if projection_outputs else None

    def project(self, found: Tensor) -> Tensor:
        projected: Tensor = self.projector(found)
        if self.last is not None:
            projected = F.linear(F.normalize(projected, dim=-1), F.normalize(self.last.weight, dim=-1))
        return projected


class GCDKMeans(Clustered):
    """Trains, then clusters; where the task has validation rows, each validation clusters anew."""

    _clustering: tuple[Data, Trainer] | None = None  # while it trains
    _clustered_at = -1  # the step whose weights the centres belong to

    def fit(self, data: Data, trainer: Trainer) -> None:
        device, self._clustering = self.device, (data, trainer)
        super().fit(data, trainer)
        self._clustering = None
        self.to(device)  # Lightning leaves it on the CPU
        self.cluster(data, trainer)

    def predict(self, batch: Batch) -> Tensor:
        if self._clustering is not None and self._clustered_at != self.trainer.global_step:
            self.cluster(*self._clustering)
            self._clustered_at = self.trainer.global_step
            self.adaptation.context(batch)
        return super().predict(batch)

    def trained_state(self) -> dict[str, Tensor]:
        """Without the projection, which predicts nothing."""
        state = super().trained_state()
        return {name: tensor for name, tensor in state.items() if not name.startswith(_PROJECTION)}

    def load_trained_state(self, state: Any) -> None:
        own = {name: tensor for name, tensor in super().trained_state().items() if name.startswith(_PROJECTION)}
        super().load_trained_state({**own, **state})


_PROJECTION = ("head.projector.", "head.last.")
