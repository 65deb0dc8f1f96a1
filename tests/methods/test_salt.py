"""SALT: the paper's formula entry by entry, its start and its counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.core.loading import load
from bench.execute.adapters import Adaptation
from bench.testing.adapters import check_adapter

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step

HOME = Path(__file__).parents[2] / "methods" / "adapters"


@pytest.fixture
def salt() -> Any:
    return load("salt:SALT", HOME)


def attached(layer: nn.Module, salt: Any, **params: Any) -> tuple[nn.Module, Any]:
    torch.manual_seed(3)
    network = nn.Sequential(layer).double()
    adaptation = Adaptation(network, adapter=salt, params=params, targets=["0"])
    adaptation.attach()
    return network, adaptation.adapters[0]


def transcribed(adapter: Any) -> tuple[np.ndarray, float]:
    """W' and the penalty without its weight, by the paper, one singular pair after the other."""
    weight0 = adapter.matrix0.numpy()
    left, values, right = np.linalg.svd(weight0, full_matrices=False)
    count, top = len(values), adapter.top
    signs = [1.0 if left[np.abs(left[:, i]).argmax(), i] > 0 else -1.0 for i in range(count)]
    scale, shift = adapter.scale.detach().numpy(), adapter.shift.detach().numpy()
    added = adapter.X.detach().numpy() @ adapter.Y.detach().numpy()
    weight = np.zeros_like(weight0)
    for i in range(count):
        for j in range(count):
            if i < top:
                entry = scale[i] * values[i] + shift[i] if i == j else 0.0
            elif j < top:
                entry = 0.0
            else:
                entry = added[i - top, j - top] + (values[i] if i == j else 0.0)
            weight += max(entry, 0.0) * signs[i] * signs[j] * np.outer(left[:, i], right[j])
    moved = sum((scale[i] * values[i] + shift[i] - values[i]) ** 2 for i in range(top)) ** 0.5
    return weight, moved + (added**2).sum() ** 0.5


def test_is_the_papers_formula(salt: Any) -> None:
    for layer in (nn.Linear(12, 10), nn.Linear(9, 14), nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3, groups=2)):
        _, adapter = attached(layer, salt, share=0.3, rank=4, penalty_weight=0.5)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(torch.randn_like(parameter))
        weight, moved = transcribed(adapter)
        assert np.abs(adapter.weight().detach().flatten(1).numpy() - weight).max() < 1e-10
        assert abs(float(adapter.penalty().detach()) - 0.5 * moved) < 1e-10


def test_starts_near_the_weight_and_exactly_at_it_without_noise(salt: Any) -> None:
    _, adapter = attached(nn.Linear(40, 30), salt)
    away = (adapter.weight() - adapter.weight0).norm() / adapter.weight0.norm()
    assert 0 < away < 0.01
    _, adapter = attached(nn.Linear(40, 30), salt, std=0.0)
    assert (adapter.weight() - adapter.weight0).abs().max() < 1e-12
    assert float(adapter.penalty().detach()) < 1e-12
    assert attached(nn.Linear(4, 3), salt, penalty_weight=0.0)[1].penalty() is None


@pytest.mark.parametrize(("rank", "cut"), [(4, 4), (256, 27)])
def test_counts(salt: Any, rank: int, cut: int) -> None:
    """2 k + 2 (n - k) rank numbers; n = 30, k = 3, and a rank above n - k is cut to it."""
    _, adapter = attached(nn.Linear(40, 30), salt, rank=rank)
    assert sum(parameter.numel() for parameter in adapter.parameters()) == 2 * 3 + 2 * 27 * cut
    assert adapter.X.detach().std() == pytest.approx(0.01, rel=0.2)
    assert not any(name in adapter.state_dict() for name in ("left", "values", "right"))


def test_gradients(salt: Any) -> None:
    network, adapter = attached(nn.Linear(6, 5), salt, share=0.4, rank=2, std=0.5)
    x = torch.randn(3, 6, dtype=torch.float64)

    def loss(*given: torch.Tensor) -> torch.Tensor:
        return network(x).square().sum() + adapter.penalty()

    assert torch.autograd.gradcheck(loss, tuple(adapter.parameters()))


def test_conforms(salt: Any) -> None:
    check_adapter(salt, share=0.3, rank=3)
    check_adapter(salt)


def test_signs_do_not_depend_on_the_library() -> None:
    svd = load("_svd:svd", HOME)
    torch.manual_seed(0)
    matrix = torch.randn(7, 5)
    left, values, right = svd(matrix)
    assert left.dtype == torch.float32
    assert (left @ torch.diag(values) @ right - matrix).abs().max() < 1e-5
    for vector in left.T:
        assert vector[vector.abs().argmax()] > 0
    flipped = svd(-matrix)
    assert torch.equal(flipped[0], left)
    assert torch.equal(flipped[2], -right)


def test_runs(go: Go) -> None:
    record = same_bits_when_stopped_at_every_step(go, "salt=demo/digits")
    assert record["cost"]["updates"] == {"train": {"main": STEPS}}
    assert record["cost"]["steps"] == STEPS
    # q and v of 2 blocks, 32 x 32 each (k = 3), and the head.
    assert record["cost"]["trainable_parameters"] == 4 * (2 * 3 + 2 * 29 * 29) + 33 * 10


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "salt=demo/digits")
