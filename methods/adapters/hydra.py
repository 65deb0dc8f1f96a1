"""Hydra: multi-head low-rank adaptation (Kim et al., 2023, arXiv:2309.06922)."""

from __future__ import annotations

from torch import Tensor, nn

from bench.execute.adapters import Adapter


class Hydra(Adapter):
    """f0(x) + s B_p A_p x + s B_s A_s f0(x): a branch beside the layer, and one behind it.

    It is one layer with W = W0 + s (B_p A_p + B_s A_s W0) and b = b0 + s B_s A_s b0. A_p (rank, in*k) and A_s
    (rank, rows) are drawn from N(0, 0.02^2), B_p and B_s (rows, rank) are zero: rank (in*k + 3 rows) numbers. A
    convolution's A_p is a convolution to `rank` channels; of a grouped one, where what stands behind the layer would
    mix the groups, the formula of W is the layer. The factors have no biases, as in the paper; in the authors' code for
    images they have, and merging the attention reads the MLP's weight.
    """

    def setup(self, rank: int = 2, scale: float = 1.0) -> None:
        self.rank, self.scale = rank, scale
        new, (rows, *rest) = self.weight0.new_zeros, self.weight0.shape
        ones = [1] * (len(rest) - 1)
        self.A_parallel = nn.Parameter(new(rank, *rest).normal_(std=0.02))
        self.B_parallel = nn.Parameter(new(rows, rank, *ones))
        self.A_sequential = nn.Parameter(new(rank, rows, *ones).normal_(std=0.02))
        self.B_sequential = nn.Parameter(new(rows, rank, *ones))

    def behind(self, columns: Tensor) -> Tensor:
        """s B_s A_s times a matrix (rows, any)."""
        return self.scale * self.B_sequential.flatten(1) @ (self.A_sequential.flatten(1) @ columns)

    def weight(self) -> Tensor:
        beside = self.scale * self.B_parallel.flatten(1) @ self.A_parallel.flatten(1)
        return self.weight0 + (beside + self.behind(self.matrix0)).view_as(self.weight0)

    def bias(self) -> Tensor | None:
        return None if self.bias0 is None else self.bias0 + self.behind(self.bias0[:, None]).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        if self.site.layer.groups > 1:
            return self.op(x, self.weight(), self.bias())
        mix, y = self.site.layer.pointwise, self.op(x, self.weight0, self.bias0)
        beside = mix(self.op(x, self.A_parallel), self.B_parallel)
        return y + self.scale * (beside + mix(mix(y, self.A_sequential), self.B_sequential))

    def update_rank(self) -> int:
        return 2 * self.rank
