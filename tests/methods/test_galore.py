"""GaLore against a transcription of its algorithm in numpy, step by step, and as runs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from bench.core.loading import load

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step
from .updates import CLASSES, METHODS, in_hand, step

RANK, GAP, SCALE, LR, DECAY = 2, 3, 0.4, 0.02, 0.1
Array = NDArray[np.float64]


def small() -> nn.Sequential:
    """A convolution (6, 2*3*3), a wide and a tall matrix, one that is too thin, a norm."""
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Conv2d(2, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(24, 5), nn.LayerNorm(5)]
    layers += [nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 2), nn.Linear(2, 7)]
    return nn.Sequential(*layers).double()


PROJECTED = {"0.0.weight", "0.3.weight", "0.5.weight"}


class Transcribed:
    """Algorithm 2 of the paper for one matrix, with AdamW's weight decay."""

    def __init__(self) -> None:
        self.time = 0
        self.first: Any = 0.0
        self.second: Any = 0.0
        self.projector: Array = np.zeros((0, 0))

    def moved(self, weight: Array, gradient: Array, projected: bool, decay: float) -> Array:
        shape, (rows, columns) = weight.shape, (len(weight), weight[0].size)
        gradient = gradient.reshape(rows, columns) if projected else gradient
        if projected and self.time % GAP == 0:
            left, _, right = np.linalg.svd(gradient, full_matrices=False)
            self.projector = right[:RANK].T if rows >= columns else left[:, :RANK]
            for vector in self.projector.T:  # no sign is the right one; the largest entry's is made positive
                vector *= np.sign(vector[np.abs(vector).argmax()])
        low = gradient
        if projected:
            low = gradient @ self.projector if rows >= columns else self.projector.T @ gradient
        self.time += 1
        self.first = 0.9 * self.first + 0.1 * low
        self.second = 0.999 * self.second + 0.001 * low**2
        corrected = self.first / (1 - 0.9**self.time), self.second / (1 - 0.999**self.time)
        direction: Array = corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        if projected:
            direction = direction @ self.projector.T if rows >= columns else self.projector @ direction
            direction = SCALE * direction.reshape(shape)
        return weight - LR * decay * weight - LR * direction


def declared(body: dict[str, Any]) -> None:
    body["optimizer"].update(lr=LR, weight_decay=DECAY)
    body["optimizer"]["params"].update(rank=RANK, gap=GAP, scale=SCALE)


def test_is_the_papers_algorithm_over_refreshes_of_the_subspace() -> None:
    network = small()
    training = in_hand("optimizers/galore", network, 7, steps=8, change=declared)
    theirs = nn.Sequential(small(), copy.deepcopy(training.method.head.linear)).double()  # type: ignore[arg-type]
    rules = {name: Transcribed() for name, _ in theirs.named_parameters()}
    torch.manual_seed(2)
    for _ in range(8):
        x, y = torch.randn(6, 2, 4, 4).double(), torch.randint(CLASSES, (6,))
        step(training, x, y)
        theirs.zero_grad()
        F.cross_entropy(theirs(x), y).backward()
        for name, parameter in theirs.named_parameters():
            decay = DECAY if parameter.ndim > 1 else 0.0
            assert parameter.grad is not None
            moved = rules[name].moved(parameter.detach().numpy(), parameter.grad.numpy(), name in PROJECTED, decay)
            parameter.data = torch.from_numpy(moved)
    start = small().state_dict()
    for name, parameter in network.named_parameters():
        expected = theirs[0].get_parameter(name)  # type: ignore[union-attr]
        assert (start[name] - expected).abs().max() > 1e-2
        assert (parameter - expected).abs().max() < 1e-10, name
    assert (training.method.head.linear.weight - theirs[1].weight).abs().max() < 1e-10  # type: ignore[operator]


def test_moments_lie_in_the_subspace_and_the_first_step_in_the_gradients_span() -> None:
    rule_class = load("galore:GaLore", METHODS / "optimizers")
    for shape in ((30, 12), (12, 30), (12, 6, 3, 3)):
        torch.manual_seed(3)
        weight = nn.Parameter(torch.randn(shape).double())
        rule = rule_class([{"params": [weight], "role": "backbone", "kind": "weight"}], lr=1.0, rank=4, scale=1.0)
        weight.grad = torch.randn_like(weight)
        before = weight.detach().clone()
        rule.step()
        state = rule.state[weight]
        long, short = max(shape[0], before[0].numel()), min(shape[0], before[0].numel())
        assert sorted(state["first"].shape) == sorted(state["second"].shape) == [4, long]
        assert state["projector"].shape == (short, 4)
        assert (state["projector"].T @ state["projector"] - torch.eye(4)).abs().max() < 1e-12
        change, gradient = (before - weight.detach()).flatten(1), weight.grad.flatten(1)
        assert torch.linalg.matrix_rank(change) == 4
        # The singular vectors of the short side that lead, and no other, are in the change.
        left, _, right = torch.linalg.svd(gradient, full_matrices=False)
        others = change @ right[4:].T if len(before) >= before[0].numel() else left[:, 4:].T @ change
        assert others.abs().max() < 1e-10
        # The first step of Adam in the subspace is a sign.
        assert float(change.square().sum()) == pytest.approx(4 * long, rel=1e-6)


@pytest.mark.parametrize(
    ("kept", "role", "kind", "shape"),
    [("added", "added", "weight", (9, 9)), ("norm", "backbone", "norm", (9,)), ("thin", "backbone", "weight", (8, 40))],
)
def test_all_else_is_adamw(kept: str, role: str, kind: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(4)
    ours = nn.Parameter(torch.randn(shape).double())
    theirs = nn.Parameter(ours.detach().clone())
    group = {"params": [ours], "role": role, "kind": kind}
    rule = load("galore:GaLore", METHODS / "optimizers")([group], lr=0.1, weight_decay=0.3)
    adamw = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.3)
    for _ in range(5):
        ours.grad = torch.randn_like(ours)
        theirs.grad = ours.grad.clone()
        rule.step()
        adamw.step()
    assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("expression", ["galore=demo/digits", "galore+lora=demo/digits"])
def test_stopped_at_every_step_it_goes_on_to_the_same_bits(go: Go, expression: str) -> None:
    record = same_bits_when_stopped_at_every_step(
        go, expression, "optimizer.params.gap=3", "optimizer.params.rank=4", "optimizer.lr=1e-2"
    )
    assert record["cost"]["steps"] == STEPS
    assert record["cost"]["updates"] == {"train": {"main": STEPS}}


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "galore=demo/digits")
