"""GaLore: full-parameter learning with gradients in a low-rank subspace (Zhao et al. 2024. arXiv:2403.03507)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.execute.optimizer import Rule, adam


class GaLore(Rule):
    """Adam in the span of a gradient's `rank` leading singular vectors, for the backbone's matrices; AdamW elsewhere.

    Of a gradient G (out, in) the smaller side is projected: R = G P with P (in, rank) where out >= in, else R = P^T G
    with P (out, rank). P is taken anew from the gradient of the first of every `gap` updates; Adam's moments live in
    the subspace and are kept as they are when it changes. So that they do not depend on a library's choice of signs,
    each singular vector's largest entry is made positive. The weight moves by -lr * scale * (R' P^T, or P R'), where R'
    is Adam's direction (Algorithm 2; a square matrix's columns, as in the released code). A convolution's weight is the
    matrix (out, in*k); AdamW has what is no larger than `rank` in both sides, biases, norms, head and additions.
    """

    def setup(
        self,
        rank: int = 8,
        gap: int = 200,
        scale: float = 0.25,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.rank, self.gap, self.scale = rank, gap, scale
        self.betas, self.eps = (betas[0], betas[1]), eps

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        if not self.projects(parameter, group):
            parameter.sub_(group["lr"] * adam(gradient, state, self.betas, self.eps))
            return
        matrix = gradient.flatten(1)
        tall = matrix.shape[0] >= matrix.shape[1]
        if state.get("step", 0) % self.gap == 0:
            left, _, right = torch.linalg.svd(matrix, full_matrices=False)
            leading = right[: self.rank].T if tall else left[:, : self.rank]
            largest = leading.gather(0, leading.abs().argmax(0, keepdim=True))
            state["projector"] = (leading * largest.sign()).contiguous()
        projector: Tensor = state["projector"]
        low = matrix @ projector if tall else projector.T @ matrix
        direction = adam(low, state, self.betas, self.eps)
        direction = direction @ projector.T if tall else projector @ direction
        parameter.sub_(group["lr"] * self.scale * direction.view_as(parameter))

    def projects(self, parameter: Tensor, group: dict[str, Any]) -> bool:
        """Whether a parameter is a matrix of the backbone that is larger than the subspace."""
        matrix = group["role"] == "backbone" and group["kind"] == "weight" and parameter.ndim > 1
        return matrix and min(parameter.flatten(1).shape) > self.rank
