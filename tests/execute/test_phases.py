"""A run divided into phases: which steps are whose, and what trains in them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.core.errors import UserError
from bench.execute.method import Method
from bench.execute.objective import Objective
from bench.execute.phases import Phase, spans
from bench.execute.training import phases_of
from bench.testing.little import assembled, drive


@pytest.mark.parametrize(
    ("shares", "steps", "stops"),
    [
        ([1], 8, [8]),
        ([1, 1], 8, [4, 8]),
        ([0.25, 0.75], 10, [2, 10]),
        ([0.001, 1], 8, [1, 8]),
        ([1, 0.001, 0.001], 8, [6, 7, 8]),
        ([1, 1, 1], 3, [1, 2, 3]),
    ],
)
def test_every_step_is_of_one_phase_and_every_phase_has_a_step(
    shares: list[float], steps: int, stops: list[int]
) -> None:
    phases = [Phase(f"phase {place}", share) for place, share in enumerate(shares)]
    found = spans(phases, steps, "mine")
    assert [span.stop for span in found] == stops
    assert [span.start for span in found] == [0, *stops[:-1]]


def test_closed_form_phases_take_no_step() -> None:
    phases = [Phase("first", closed_form=True), Phase("train"), Phase("last", closed_form=True)]
    assert [(span.start, span.stop) for span in spans(phases, 8, "mine")] == [(0, 0), (0, 8), (8, 8)]


@pytest.mark.parametrize(
    ("phases", "steps", "said"),
    [
        ([Phase("a"), Phase("b")], 1, "2 phases of training, more than the budget has steps"),
        ([Phase("a"), Phase("a")], 8, "different names"),
        ([Phase("a", 0.0)], 8, "more than 0"),
        ([Phase("a", rows={"x": 1, "y": 0})], 8, "not above 0"),
        ([Phase("a", rows={"x": 0.8, "y": 0.3})], 8, "add up to over 1"),
    ],
)
def test_phases_without_sense_are_sentences(phases: list[Phase], steps: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        spans(phases, steps, "mine")


class Halves(Method):
    """The head, then everything; what moved in each phase is noted."""

    def phases(self, steps: int) -> list[Phase]:
        return [Phase("head", train=("head",)), Phase("all")]

    def begin(self, phase: str) -> None:
        self.__dict__.setdefault("begun", []).append(phase)

    def after_step(self, step: Any) -> None:
        moving = {name.partition(".")[0] for name, one in self.named_parameters() if one.requires_grad}
        self.__dict__.setdefault("seen", []).append((step.phase, step.local, sorted(moving), self.backbone.training))


class Divided(Objective):
    def phases(self, steps: int) -> list[Phase]:
        return [Phase("train")]


def test_what_trains_is_decided_when_a_phase_begins() -> None:
    method = assembled({"method": {"method": Halves}}, 4)
    drive(method, 4)
    assert method.begun == ["head", "all"]
    assert method.seen == [  # a backbone in which nothing moves is as in prediction
        ("head", 0, ["head"], False),
        ("head", 1, ["head"], False),
        ("all", 0, ["backbone", "head"], True),
        ("all", 1, ["backbone", "head"], True),
    ]


def test_one_part_divides_a_run() -> None:
    method = assembled({"method": {"method": Halves}, "objective": {"objective": Divided}}, 4)
    with pytest.raises(UserError, match="Halves and Divided both divide the run"):
        phases_of(method, 4)


def test_a_phase_that_trains_nothing_is_a_sentence() -> None:
    class Nothing(Method):
        def phases(self, steps: int) -> list[Phase]:
            return [Phase("gates", train=("*.gate",))]

    with pytest.raises(UserError, match=r"trains '\*\.gate', which names nothing that moves"):
        drive(assembled({"method": {"method": Nothing}}, 4), 4)


def test_closed_form_phases_run_where_they_stand() -> None:
    class Solved(Method):
        def phases(self, steps: int) -> list[Phase]:
            return [Phase("before", closed_form=True), Phase("train"), Phase("after", closed_form=True)]

        def solve(self, phase: str, data: Any) -> None:
            with torch.no_grad():
                self.head.linear.bias.copy_(torch.full_like(self.head.linear.bias, 3.0))

    method = assembled({"method": {"method": Solved}}, 4)
    training = drive(method, 4)
    training.check()
    assert training.counts()["closed_form"] == ["before", "after"]
    assert torch.equal(method.head.linear.bias, torch.full_like(method.head.linear.bias, 3.0))
    assert training.counts()["updates"] == {"train": {"main": 4}}
