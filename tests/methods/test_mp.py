"""Moment probing against a transcription in plain loops, and as runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.backbones import Features
from bench.execute.head import Head
from bench.execute.parts import Info, ready

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step
from .updates import METHODS

Matrix = list[list[float]]


def made(width: int = 6, outputs: int = 3, **params: int) -> Any:
    torch.manual_seed(1)
    head_class: type[Head] = load("mp:MomentProbing", METHODS / "heads")
    head = ready(head_class(**params), Info(outputs=outputs, width=5, widths={"tokens": (width,)})).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return head


def features(rows: int = 3, count: int = 9, width: int = 6) -> Features:
    torch.manual_seed(2)
    mask = torch.arange(count) < torch.tensor([count, 4, 7])[:rows, None]
    return Features(torch.randn(rows, 5).double(), torch.randn(rows, count, width).double(), mask)


def applied(weight: Tensor, bias: Tensor, x: list[float]) -> list[float]:
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b
            for row, b in zip(weight.tolist(), bias.tolist(), strict=True)]  # fmt: skip


def layer_norm(x: list[float], weight: list[float], bias: list[float]) -> list[float]:
    mean = sum(x) / len(x)
    root = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    return [(v - mean) / root * w + b for v, w, b in zip(x, weight, bias, strict=True)]


def covariance(one: Matrix, other: Matrix) -> Matrix:
    """(d, d) of two heads (tokens, d), centred by channel; each column of length 1."""
    count, size = len(one), len(one[0])
    means = [[sum(row[place] for row in head) / count for place in range(size)] for head in (one, other)]
    found = [
        [
            sum((a[i] - means[0][i]) * (b[j] - means[1][j]) for a, b in zip(one, other, strict=True)) / count
            for j in range(size)
        ]
        for i in range(size)
    ]
    lengths = [math.sqrt(sum(found[i][j] ** 2 for i in range(size))) for j in range(size)]
    return [[found[i][j] / lengths[j] for j in range(size)] for i in range(size)]


def convolved(maps: list[Matrix], weight: Any) -> list[Matrix]:
    """3 x 3, stride 2, neither padding nor bias."""
    size = (len(maps[0]) - 3) // 2 + 1
    return [
        [
            [
                sum(
                    kernel[c][u][v] * maps[c][2 * i + u][2 * j + v]
                    for c in range(len(maps)) for u in range(3) for v in range(3)
                )
                for j in range(size)
            ]
            for i in range(size)
        ]
        for kernel in weight.tolist()
    ]  # fmt: skip


def transcribed(head: Any, tokens: Matrix, pooled: list[float], heads: int) -> list[float]:
    projected = [applied(head.project.weight, head.project.bias, token) for token in tokens]
    size = len(projected[0]) // heads
    norm = head.norm.weight.tolist(), head.norm.bias.tolist()
    parts = [[layer_norm(x[place * size : (place + 1) * size], *norm) for x in projected] for place in range(heads)]
    maps = [covariance(parts[place], parts[place + 1]) for place in range(heads - 1)]
    maps = convolved(maps, head.reduce[0].weight)
    maps = [[[v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in one] for one in maps]
    flat = [v for one in convolved(maps, head.reduce[2].weight) for row in one for v in row]
    first = applied(head.linear.weight, head.linear.bias, pooled)
    second = applied(head.moment_linear.weight, head.moment_linear.bias, flat)
    return [(a + b) / 2 for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize(("hidden", "heads"), [(32, 4), (33, 3), (18, 2)])
@pytest.mark.parametrize("masked", [True, False])
def test_is_the_papers_head(hidden: int, heads: int, masked: bool) -> None:
    head, found = made(hidden=hidden, heads=heads), features()
    assert found.tokens is not None
    assert found.mask is not None
    outputs = head(found if masked else Features(found.pooled, found.tokens))
    for row in range(3):
        real = int(found.mask[row].sum()) if masked else found.tokens.shape[1]
        expected = transcribed(head, found.tokens[row, :real].tolist(), found.pooled[row].tolist(), heads)
        assert max(abs(a - b) for a, b in zip(outputs[row].tolist(), expected, strict=True)) < 1e-10


def test_padding_changes_neither_outputs_nor_gradients() -> None:
    head, found = made(hidden=32, heads=4), features()
    assert found.tokens is not None
    assert found.mask is not None
    other = torch.where(found.mask[..., None], found.tokens, 7.0).requires_grad_()
    outputs = head(Features(found.pooled, other, found.mask))
    assert torch.equal(outputs, head(found))
    outputs.sum().backward()
    assert other.grad is not None
    assert (other.grad[~found.mask] == 0).all()
    assert other.grad[found.mask].abs().min() > 0


def test_sizes_and_count_are_the_papers() -> None:
    width, classes = 768, 100
    head = made(width=width, outputs=classes)
    assert head.moment_linear.in_features == 2883
    linear = 5 * classes + classes + 2883 * classes + classes  # of the pooled feature, 5 wide, and of the moments
    assert sum(part.numel() for part in head.parameters()) == width * 512 + 512 + 2 * 128 + 2 * 3 * 3 * 9 + linear


def test_gradients() -> None:
    head, found = made(hidden=14, heads=2), features(rows=2, count=7)

    def outputs(tokens: Tensor, pooled: Tensor) -> Tensor:
        return head(Features(pooled, tokens, found.mask))  # type: ignore[no-any-return]

    assert found.tokens is not None
    assert torch.autograd.gradcheck(outputs, (found.tokens.requires_grad_(), found.pooled.requires_grad_()))


@pytest.mark.parametrize(("hidden", "heads"), [(30, 4), (24, 4), (8, 1)])
def test_sizes_that_do_not_divide_are_refused(hidden: int, heads: int) -> None:
    with pytest.raises(UserError, match="heads of equal size"):
        made(hidden=hidden, heads=heads)


@pytest.mark.parametrize("task", ["demo/digits", "demo/grammar"])
def test_stopped_at_every_step_it_goes_on_to_the_same_bits(go: Go, task: str) -> None:
    record = same_bits_when_stopped_at_every_step(go, f"mp={task}")
    assert record["cost"]["steps"] == STEPS
    assert record["cost"]["updates"] == {"train": {"main": STEPS}}


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "mp=demo/grammar")
