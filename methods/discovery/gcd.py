"""GCD: contrastive features, then semi-supervised k-means (Vaze, Han, Vedaldi, Zisserman. 2022. arXiv:2201.02609)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.execute.objective import Objective

from ._contrastive import Projector, contrast, two_views
from .kmeans import Centres, Clustered

if TYPE_CHECKING:
    from bench.execute.batch import Batch
    from bench.execute.data import Data
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
        return contrast(projected, batch.labels, self.weight, *self.temperatures)


class ProjectedCentres(Centres):
    """Centres of the backbone's features, and the projection that the losses look through.

    With `projection_outputs` a linear layer with rows of length 1 follows the normalised projection. The authors'
    code has one of 65,536; at random, as it starts, it leaves the cosines as they are but for noise.
    """

    def setup(  # type: ignore[override]
        self,
        hidden: int = 2048,
        bottleneck: int = 256,
        projection_outputs: int = 0,
        labelled: bool = True,
        inits: int = 10,
        iterations: int = 300,
        most: int = 1000,
        search_inits: int = 1,
    ) -> None:
        super().setup(labelled, inits, iterations, most, search_inits)
        self.sizes = hidden, bottleneck, projection_outputs

    def build(self) -> None:
        super().build()
        hidden, bottleneck, outputs = self.sizes
        self.projector = Projector(self.info.width, hidden, bottleneck)
        self.last = nn.Linear(bottleneck, outputs, bias=False) if outputs else None

    def project(self, found: Tensor) -> Tensor:
        projected: Tensor = self.projector(found)
        if self.last is not None:
            projected = F.linear(F.normalize(projected, dim=-1), F.normalize(self.last.weight, dim=-1))
        return projected


class GCDKMeans(Clustered):
    """Trains, then clusters; where the task has validation rows, each validation clusters anew."""

    def before_prediction(self, data: Data) -> None:
        self.cluster(data)

    def trained_state(self) -> dict[str, Tensor]:
        """Without the projection, which predicts nothing."""
        state = super().trained_state()
        return {name: tensor for name, tensor in state.items() if not name.startswith(_PROJECTION)}

    def load_trained_state(self, state: Any) -> None:
        own = {name: tensor for name, tensor in super().trained_state().items() if name.startswith(_PROJECTION)}
        super().load_trained_state({**own, **state})


_PROJECTION = ("head.projector.", "head.last.")
