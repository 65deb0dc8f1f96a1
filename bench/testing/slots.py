"""Conformance of whatever fills a slot: an objective, an adaptation, a head, an optimizer, a method.

`check_objective(Mine, weight=0.5)` in a test of any project. Each assembles a little method around the part, trains it
by the harness's own steps and raises AssertionError with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from bench.execute.adapters import Adaptation
from bench.execute.head import Head
from bench.execute.method import Method
from bench.execute.objective import Objective
from bench.testing.little import CLASSES, ROWS, assembled, drive, outputs, saved

STEPS = 5
TOLERANCE = 1e-7  # relative, float64: between a whole batch and its pieces


def check_objective(cls: type[Objective], *, kind: str = "classification", **params: Any) -> None:
    """An objective, on images of four classes; `kind="domain-generalization"` gives it three domains."""
    _check(cls.__name__, {"objective": {"objective": cls, "params": params}}, kind)


def check_adaptation(
    cls: type[Adaptation], *, targets: Any = None, optimizer: Mapping[str, Any] | None = None, **params: Any
) -> None:
    """A plan for a whole network, on a vision transformer of two blocks."""
    slot = {"adaptation": cls, "params": params, **({} if targets is None else {"targets": targets})}
    _check(cls.__name__, {"adaptation": slot, "optimizer": dict(optimizer or {})})


def check_head(cls: type[Head], **params: Any) -> None:
    """A head under a frozen backbone."""
    _check(cls.__name__, {"head": {"head": cls, "params": params}, "adaptation": {"train": "none"}})


def check_optimizer(cls: type[Optimizer], *, adaptation: Mapping[str, Any] | None = None, **params: Any) -> None:
    """An optimizer, with everything moving or under an adaptation that is declared here."""
    slots = {"optimizer": {"optimizer": cls, "params": params, "lr": 1e-3}, "adaptation": dict(adaptation or {})}
    _check(cls.__name__, slots)


def check_method(cls: type[Method], **params: Any) -> None:
    """A method with phases, predictions or an end of its own."""
    _check(cls.__name__, {"method": {"method": cls, "params": params}})


def _check(name: str, declared: Mapping[str, Any], kind: str = "classification") -> None:
    try:
        _check_steps(declared, kind)
        _check_repeats(declared, kind)
        _check_resumes(declared, kind)
        _check_pieces(declared, kind)
        _check_restores(declared, kind)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from None


def _check_steps(declared: Mapping[str, Any], kind: str) -> None:
    """Every step updates something, losses and outputs are finite, what is frozen stays."""
    method = assembled(declared, STEPS, kind)
    assert outputs(method).shape == (ROWS, CLASSES), f"outputs are {tuple(outputs(method).shape)}"
    before = {name: tensor.clone() for name, tensor in method.state_dict().items() if name in method.frozen}
    start = {name: tensor.clone() for name, tensor in method.named_parameters()}
    training = drive(method, STEPS)
    training.check()
    assert training.over(), f"{training.done} of {training.total} steps were made"
    assert torch.isfinite(outputs(method)).all(), "the outputs are not finite after training"
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, method.state_dict()[name])]
    assert not moved, f"{moved[0]} is frozen and has moved"
    if training.total:
        now = dict(method.named_parameters())
        same = all(name in now and torch.equal(tensor, now[name]) for name, tensor in start.items())
        assert not same, "training moved nothing"


def _check_repeats(declared: Mapping[str, Any], kind: str) -> None:
    """The same seed gives the same bits: nothing is drawn but from the harness's streams."""
    found = []
    for number in (1, 2):
        torch.manual_seed(number)
        method = assembled(declared, STEPS, kind)
        drive(method, STEPS)
        found.append(method.trained_state())
    _same(found[0], found[1], "twice under one seed")


def _check_resumes(declared: Mapping[str, Any], kind: str) -> None:
    """Stopped after any step and resumed in a method that is built anew, it ends with the same bits."""
    whole = assembled(declared, STEPS, kind)
    total = drive(whole, STEPS).total
    for step in range(1, total):
        first = assembled(declared, STEPS, kind)
        state = saved(drive(first, STEPS, until=step))
        second = assembled(declared, STEPS, kind)
        drive(second, STEPS, state=state)
        _same(whole.trained_state(), second.trained_state(), f"unbroken and resumed after step {step}")


def _check_pieces(declared: Mapping[str, Any], kind: str) -> None:
    """Where micro-batches are allowed, they change nothing beyond rounding."""
    whole = assembled(declared, STEPS, kind)
    if not whole.objective.micro_batches:
        return
    drive(whole, STEPS)
    cut = assembled(declared, STEPS, kind)
    drive(cut, STEPS, micro_batch=5)
    want, got = outputs(whole), outputs(cut)
    gap = float((want - got).abs().max() / want.abs().max())
    assert gap < TOLERANCE, f"micro_batches is declared, and pieces of a batch change the outputs by {gap:.1e}"


def _check_restores(declared: Mapping[str, Any], kind: str) -> None:
    """What a record keeps is enough to predict the same."""
    trained = assembled(declared, STEPS, kind)
    drive(trained, STEPS)
    fresh = assembled(declared, STEPS, kind)
    fresh.reshape(trained.shapes())
    fresh.load_trained_state(trained.trained_state())
    assert torch.equal(outputs(trained), outputs(fresh)), "the kept state, in a fresh method, predicts otherwise"


def _same(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor], when: str) -> None:
    assert set(left) == set(right), f"{sorted(set(left) ^ set(right))[0]} is there once only ({when})"
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different, f"{different[0]} differs ({when})"
