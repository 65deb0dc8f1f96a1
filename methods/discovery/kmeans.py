"""k-means on the backbone's features: centres as a head, fitted in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.core.streams import generator, seed
from bench.execute.head import Head
from bench.execute.method import Method
from bench.execute.phases import Phase

from ._clustering import plain, semi_supervised
from ._features import features
from ._number import estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.execute.data import Data


class Centres(Head):
    """Minus the squared distance of a feature, scaled to length 1, to each centre: (rows, dim) -> (rows, clusters).

    `labelled` says whether labelled rows stay in their class's cluster. Where the number of classes is to be
    estimated, it is sought up to `most`, with `search_inits` starts of k-means for each number that is tried.
    """

    centres: Tensor

    def setup(
        self,
        labelled: bool = False,
        inits: int = 10,
        iterations: int = 300,
        most: int = 1000,
        search_inits: int = 1,
    ) -> None:
        self.labelled, self.inits, self.iterations = labelled, inits, iterations
        self.most, self.search_inits = most, search_inits

    def build(self) -> None:
        self.register_state("centres", torch.zeros(self.info.outputs, self.info.width))

    def forward(self, found: Tensor) -> Tensor:
        with torch.autocast(found.device.type, enabled=False):
            unit = F.normalize(found.float(), dim=-1)
            sizes = unit.square().sum(1, keepdim=True) + self.centres.square().sum(1)
            distances: Tensor = sizes - 2 * unit @ self.centres.T
        return -distances.clamp_min(0)

    def fit(self, rows: NDArray[Any], labels: NDArray[Any], count: int, drawn: np.random.Generator) -> None:
        """Set `count` centres from all training rows; `labels` are -1 where unknown."""
        if self.labelled:
            found = semi_supervised(rows, labels, count, drawn, self.inits, self.iterations)
        else:
            found = plain(rows, count, drawn, self.inits, self.iterations)
        self.centres = torch.from_numpy(found.centres).to(self.centres)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """An estimated number of centres is known by what was kept."""
        kept = state_dict.get(f"{prefix}centres")
        if kept is not None:
            self.centres = self.centres.new_zeros(kept.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Clustered(Method):
    """Clusters the features of all training rows when its backbone has its final weights."""

    def cluster(self, data: Data) -> None:
        """Fit the centres to the backbone as it is."""
        if not isinstance(self.head, Centres):
            raise UserError(f"{self.info.method} needs a head with centres, such as kmeans:Centres.")
        rows = features(self, data.train).numpy()
        labels = np.full(len(rows), -1) if data.train.labels is None else np.asarray(data.train.labels)
        self.head.fit(rows, labels, self._count(rows, labels), generator("method", *self.info.own, "clusters"))

    def _count(self, rows: NDArray[Any], labels: NDArray[Any]) -> int:
        """The number of classes where the task tells it, else an estimate."""
        problem: Any = self.problem
        head: Any = self.head
        if problem.number == "known":
            return int(problem.classes())
        drawn = seed("method", *self.info.own, "number")
        return estimate(rows, labels, int(problem.known()), head.most, drawn, head.search_inits, head.iterations)


class KMeans(Clustered):
    """No training: the features of the backbone as it comes are clustered."""

    def phases(self, steps: int) -> list[Phase]:
        return [Phase("cluster", closed_form=True)]

    def solve(self, phase: str, data: Data) -> None:
        self.cluster(data)
