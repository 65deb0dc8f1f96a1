"""SALT: singular value adaptation with low-rank transformation (Elsayed et al., 2025, arXiv:2503.16055)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.execute.adapters import Adapter

from ._svd import svd


class SALT(Adapter):
    """W = U relu(S') V^T: the top singular values are scaled and shifted, a low-rank matrix joins the others.

    With W0 = U S V^T and n singular values, S' (n, n) holds diag(a S_top + b) for the top k = max(1, share n), and
    diag(S_rest) + X Y for the rest, X (n - k, rank), Y (rank, n - k); 2 k + 2 (n - k) rank numbers are trained. A
    `rank` above n - k would add parameters and no matrices, and is cut to it. The penalty is
    `penalty_weight` (‖a S_top + b - S_top‖ + ‖X Y‖_F); a weight of 0, as in the authors' code, leaves it out.

    X and Y are drawn from N(0, std^2), as in the paper: relu keeps the positive half of X Y's entries off the
    diagonal, so that the weight differs a little from W0 at the start. The authors' code draws X Kaiming-uniform and
    starts Y at 0.
    """

    exact_at_start = False
    left: Tensor  # (rows, n)
    values: Tensor  # (n,)
    right: Tensor  # (n, in*k)

    def setup(self, share: float = 0.1, rank: int = 256, std: float = 0.01, penalty_weight: float = 0.01) -> None:
        self.penalty_weight = penalty_weight
        for name, tensor in zip(("left", "values", "right"), svd(self.matrix0), strict=True):
            self.register_state(name, tensor, kept="no")  # attaching again computes them alike
        self.top = max(1, int(share * len(self.values)))
        rest = len(self.values) - self.top
        new, cut = self.weight0.new_empty, min(rank, rest)
        self.scale = nn.Parameter(torch.ones_like(self.values[: self.top]))
        self.shift = nn.Parameter(torch.zeros_like(self.values[: self.top]))
        self.X = nn.Parameter(new(rest, cut).normal_(std=std))
        self.Y = nn.Parameter(new(cut, rest).normal_(std=std))

    def core(self) -> Tensor:
        """relu(S') (n, n)."""
        top = torch.diag(self.scale * self.values[: self.top] + self.shift)
        rest = torch.diag(self.values[self.top :]) + self.X @ self.Y
        return torch.block_diag(top, rest).relu()  # type: ignore[no-untyped-call, no-any-return]

    def weight(self) -> Tensor:
        return (self.left @ self.core() @ self.right).view_as(self.weight0)

    def penalty(self) -> Tensor | None:
        if not self.penalty_weight:
            return None
        top = self.values[: self.top]
        moved: Tensor = (self.scale * top + self.shift - top).norm() + (self.X @ self.Y).norm()
        return self.penalty_weight * moved
