"""The check of each slot passes what is right and says what is wrong."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import Adaptation, Head, Method, Objective, Phase, Rule
from bench.execute.head import LinearHead
from bench.execute.objective import Standard
from bench.testing.slots import check_adaptation, check_head, check_method, check_objective, check_optimizer


def test_what_the_harness_has_passes() -> None:
    check_objective(Standard)
    check_head(LinearHead)
    check_optimizer(torch.optim.SGD, momentum=0.9)
    check_method(Method)


class Comparing(Objective):
    """Its loss is no mean over rows, which it says it is."""

    micro_batches = True

    def forward(self, method: Any, batch: Any) -> Tensor:
        features = method.backbone(batch.inputs)
        return method.problem.loss(method.head(features), batch.labels) + features.std(0).mean()


class Elsewhere(Objective):
    """Draws from a generator that the harness does not seed."""

    def forward(self, method: Any, batch: Any) -> Tensor:
        return super().forward(method, batch) * (1 + OWN.random())


OWN = random.Random(3)


class Remembering(Objective):
    """Goes on from something that no checkpoint keeps."""

    def setup(self) -> None:
        self.mean = 0.0

    def forward(self, method: Any, batch: Any) -> Tensor:
        loss = super().forward(method, batch)
        self.mean = 0.5 * self.mean + float(loss)
        return loss * (1 + self.mean)


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Comparing, "Comparing: micro_batches is declared, and pieces of a batch change the outputs"),
        (Elsewhere, "Elsewhere: .* differs .twice under one seed"),
        (Remembering, "Remembering: .* differs .unbroken and resumed after step 1"),
    ],
)
def test_objectives_that_are_not_what_they_say(cls: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_objective(cls)


class Remembered(Remembering):
    """The same, kept."""

    def setup(self) -> None:
        pass

    def build(self) -> None:
        self.register_state("average", torch.zeros((), dtype=torch.float64), kept="checkpoint")

    def forward(self, method: Any, batch: Any) -> Tensor:
        loss = Objective.forward(self, method, batch)
        self.average.mul_(0.5).add_(loss.detach())
        return loss * (1 + self.average.clone())


def test_state_that_is_kept_for_checkpoints() -> None:
    check_objective(Remembered)


class Unkept(Head):
    """Predicts from something that no record keeps."""

    def build(self) -> None:
        self.linear = nn.Linear(self.info.width, self.info.outputs)
        self.register_state("shift", torch.zeros(self.info.outputs), kept="no")

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self.shift.add_(0.1)
        return self.linear(features) + self.shift


def test_a_head_that_predicts_from_what_is_not_kept() -> None:
    with pytest.raises(AssertionError, match="Unkept"):
        check_head(Unkept)


class Counting(Rule):
    """Steps whose size depends on a count outside the state."""

    def setup(self) -> None:
        self.count = 0

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        self.count += 1
        parameter.sub_(group["lr"] * gradient / self.count)


def test_an_optimizer_that_forgets() -> None:
    with pytest.raises(AssertionError, match="Counting: .* resumed after step 1"):
        check_optimizer(Counting)


class Mean(Adaptation):
    """With a `setup` of its own, which crashed the check of adapters."""

    def setup(self, share: float = 0.5) -> None:
        self.share, self.train_spec = share, "all"

    def after_backward(self, step: Any, name: str) -> None:
        for parameter in step.parameters(name):
            if parameter.grad is not None:
                parameter.grad.mul_(self.share)


class Leaking(Mean):
    """Moves a weight that it said was frozen."""

    def setup(self) -> None:
        self.train_spec = "norm"

    def after_backward(self, step: Any, name: str) -> None:
        with torch.no_grad():
            next(iter(self.backbone.parameters())).add_(0.1)


def test_plans_for_a_whole_network() -> None:
    check_adaptation(Mean, share=0.3)
    with pytest.raises(AssertionError, match="Leaking: backbone.network.cls_token is frozen and has moved"):
        check_adaptation(Leaking)


def test_phases_are_checked_like_the_rest() -> None:
    class Two(Method):
        def phases(self, steps: int) -> list[Phase]:
            return [Phase("head", train=("head",)), Phase("rest", train=("backbone",), rows={"most": 0.8, "few": 0.2})]

    check_method(Two)
