"""The conformance check passes what is right and catches each kind of lie."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.execute.adapters import Adapter
from bench.testing.adapters import check_adapter


class Honest(Adapter):
    """A trained full update."""

    def setup(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.delta = nn.Parameter(torch.zeros_like(self.weight0))

    def weight(self) -> Tensor:
        return self.weight0 + self.scale * self.delta


class Inexact(Honest):
    def setup(self) -> None:
        super().setup()
        self.delta.data.fill_(1e-3)


class WrongRank(Honest):
    def update_rank(self) -> int:
        return 2


class WrongForward(Honest):
    def forward(self, x: Tensor) -> Tensor:
        return self.op(x, self.weight0 + self.delta.abs(), self.bias0)


class WrongDtype(Honest):
    def setup(self) -> None:
        super().setup()
        self.delta = nn.Parameter(self.delta.data.float())


class Unused(Honest):
    def setup(self) -> None:
        super().setup()
        self.more = nn.Parameter(self.weight0.new_zeros(2))


class Dead(Honest):
    def weight(self) -> Tensor:
        return self.weight0 + 0 * self.delta


class OtherRandomness(Honest):
    def setup(self) -> None:
        super().setup()
        self.register_buffer("mask", self.weight0 * random.random())


class InfinitePenalty(Honest):
    def penalty(self) -> Tensor:
        return self.delta.norm().log()


class RoughPenalty(Honest):
    def penalty(self) -> Tensor:
        return self.delta.abs().sum().sqrt()


LIES = {
    Inexact: "exact_at_start", WrongRank: "rank", WrongForward: "forward differs", WrongDtype: "float", Dead: "move",
    OtherRandomness: "one seed", InfinitePenalty: "penalty is -inf", RoughPenalty: "not finite",
}  # fmt: skip


def test_honest() -> None:
    check_adapter(Honest)
    check_adapter(Honest, scale=0.5)


@pytest.mark.parametrize("cls", LIES)
def test_lies(cls: Any) -> None:
    with pytest.raises(AssertionError, match=LIES[cls]):
        check_adapter(cls)


def test_a_parameter_that_does_nothing() -> None:
    from bench.core.errors import UserError

    with pytest.raises(UserError, match="more"):
        check_adapter(Unused)
