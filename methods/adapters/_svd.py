"""Singular value decomposition with signs that do not depend on the library or the machine."""

from __future__ import annotations

import torch
from torch import Tensor


def svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(rows, columns) -> U (rows, n), S (n,) falling, V^T (n, columns), n = min(rows, columns).

    A pair of singular vectors is known but for its sign: here the entry of largest magnitude of each left vector is
    positive. It is computed in float64 and given in the matrix's own type.
    """
    left, values, right = torch.linalg.svd(precise(matrix), full_matrices=False)
    signs = signs_of(left)
    return (left * signs).to(matrix), values.to(matrix), (right * signs.mT).to(matrix)


def signs_of(vectors: Tensor) -> Tensor:
    """(size, count) -> (1, count): the sign of the entry of largest magnitude of each column, 1 or -1."""
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return torch.where(largest < 0, -1.0, 1.0).to(vectors)


def precise(tensor: Tensor) -> Tensor:
    """The same numbers in float64, without gradient; on the CPU where the device has no float64."""
    tensor = tensor.detach()
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()
