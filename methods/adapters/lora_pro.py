"""LoRA-Pro: LoRA's factors moved as full fine-tuning would move the weight (Wang et al. 2024. arXiv:2407.18242)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.execute.optimizer import Rule, adam


class LoRAPro(Rule):
    """Of the factors' gradients the low-rank gradient closest to that of the weight; Adam on it, in the weight's size.

    A step: the gradient s (B gA' + gB' A) of `adjusted` (any X gives the same); Adam's direction u of it, a matrix
    (out, in*k); `adjusted` again for the factors' parts s B^T u and s u A^T of u, with its X; then A and B go -lr
    times that. Biases, norms and the head are left to AdamW, whose weight decay the factors have as well. At the start
    B = 0 and with it gA, so that the paper's case of the first step needs no formula of its own.
    """

    def setup(self, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8, delta: float = 1e-8) -> None:
        self.betas, self.eps, self.delta = (betas[0], betas[1]), eps, delta

    def update_group(self, group: dict[str, Any]) -> None:
        if group["adapter"] is None:
            super().update_group(group)
            return
        adapter: Any = self.adapters[group["adapter"]]
        pair: list[Any] = [getattr(adapter, name, None) for name in ("A", "B")]
        if {id(parameter) for parameter in group["params"]} != {id(parameter) for parameter in pair}:
            raise UserError(f"lora-pro moves A and B of LoRA together, and {type(adapter).__name__} has another form.")
        if pair[0].grad is None:
            return
        a, b, scale = pair[0].flatten(1), pair[1].flatten(1), float(adapter.scale)
        first = adjusted(a, b, pair[0].grad.flatten(1), pair[1].grad.flatten(1), scale, self.delta)
        equivalent = scale * (b @ first[0] + first[1] @ a)
        direction = adam(equivalent, self.state[pair[0]], self.betas, self.eps)
        moves = adjusted(a, b, scale * b.T @ direction, scale * direction @ a.T, scale, self.delta, nearest=True)
        for parameter, move in zip(pair, moves, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.sub_(group["lr"] * move.view_as(parameter))

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(group["lr"] * adam(gradient, state, self.betas, self.eps))


def adjusted(
    a: Tensor, b: Tensor, grad_a: Tensor, grad_b: Tensor, scale: float, delta: float, nearest: bool = False
) -> tuple[Tensor, Tensor]:
    """Gradients of A (r, n) and B (m, r) for which s (B gA' + gB' A) is closest to the full gradient.

    gA' = (B^T B)^-1 gA / s^2 + X A and gB' = (I - B (B^T B)^-1 B^T) gB (A A^T)^-1 / s^2 - B X. X is 0 or, with
    `nearest`, what leaves them closest to gA and gB: B^T B X + X A A^T = -(B^T B)^-1 gA A^T / s^2.
    """
    inner_a, inner_b, eye = a @ a.T, b.T @ b, torch.eye(len(a), dtype=a.dtype, device=a.device)
    inverse_a, inverse_b = (torch.linalg.pinv(inner + delta * eye, hermitian=True) for inner in (inner_a, inner_b))
    new_a = inverse_b @ grad_a / scale**2
    new_b = (grad_b - b @ (inverse_b @ (b.T @ grad_b))) @ inverse_a / scale**2
    if not nearest:
        return new_a, new_b
    x = sylvester(inner_b, inner_a, -new_a @ a.T)
    return new_a + x @ a, new_b - b @ x


def sylvester(left: Tensor, right: Tensor, target: Tensor) -> Tensor:
    """X with left X + X right = target, where left and right are symmetric and not negative; in their eigenvectors."""
    values, u = torch.linalg.eigh(left)
    others, v = torch.linalg.eigh(right)
    sums = (values[:, None] + others).clamp_min(torch.finfo(target.dtype).tiny)
    solution: Tensor = u @ (u.T @ target @ v / sums) @ v.T
    return solution
