"""LoRA-Pro against a transcription with scipy's Sylvester solver, its two theorems, and as runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.parts import Info
from bench.execute.training import Training

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step
from .updates import CLASSES, METHODS, in_hand, step

RANK, ALPHA, LR, HEAD_LR, DECAY = 2, 3.0, 0.05, 0.02, 0.1
SCALE = ALPHA / RANK
Array = NDArray[np.float64]


class Small(nn.Module):
    """A convolution, a fused projection of which the rows of q and v are adapted, and a whole layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.qkv, self.proj = nn.Conv2d(2, 4, 3, stride=2), nn.Linear(16, 18), nn.Linear(6, 5)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.conv(x).tanh().flatten(1)).chunk(3, dim=-1)
        features: Tensor = self.proj(q.tanh() * k + v).tanh()
        return features


SITES = {"conv": slice(0, 4), "qkv[0:6]": slice(0, 6), "qkv[12:18]": slice(12, 18), "proj": slice(0, 5)}


def begun(network: nn.Module) -> Training:
    def declared(body: dict[str, Any]) -> None:
        body["adaptation"].update(targets=["conv", "qkv[q,v]", "proj"], params={"rank": RANK, "alpha": ALPHA})
        body["optimizer"].update(lr=LR, head_lr=HEAD_LR, weight_decay=DECAY, schedule="constant", warmup=0.0)

    return in_hand("adapters/lora-pro", network, 5, steps=8, change=declared)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(2)
    return [(torch.randn(6, 2, 5, 5).double(), torch.randint(CLASSES, (6,))) for _ in range(count)]


class Adam:
    """Adam's direction in numpy."""

    def __init__(self) -> None:
        self.time, self.first, self.second = 0, np.zeros(()), np.zeros(())

    def __call__(self, gradient: Array) -> Array:
        self.time += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        root = np.sqrt(self.second / (1 - 0.999**self.time))
        direction: Array = self.first / (1 - 0.9**self.time) / (root + 1e-8)
        return direction


def solved(a: Array, b: Array, grad_a: Array, grad_b: Array, first: bool, with_x: bool) -> tuple[Array, Array]:
    """The authors' closed form, with the paper's case of the first step and scipy's solver."""
    delta = 1e-8 * np.eye(RANK)
    aa, bb = np.linalg.inv(a @ a.T + delta), np.linalg.inv(b.T @ b + delta)
    if first:
        return grad_a, grad_b @ aa / SCALE**2
    x = np.zeros((RANK, RANK))
    if with_x:
        x = scipy.linalg.solve_sylvester(b.T @ b, a @ a.T, -bb @ grad_a @ a.T / SCALE**2)
    projected = np.eye(len(b)) - b @ bb @ b.T
    return bb @ grad_a / SCALE**2 + x @ a, projected @ grad_b @ aa / SCALE**2 - b @ x


def test_is_the_papers_algorithm() -> None:
    network = Small()
    training = begun(network)
    adapters: Any = training.method.adaptation.labelled()
    assert set(adapters) == set(SITES)
    factors = {name: [one.A.detach().flatten(1).numpy().copy(), one.B.detach().flatten(1).numpy().copy()]
               for name, one in adapters.items()}  # fmt: skip
    head: Any = training.method.head.linear
    outer = [head.weight.detach().numpy().copy(), head.bias.detach().numpy().copy()]
    plain, frozen = Small(), {name: value.clone() for name, value in network.state_dict().items()}
    rules = {name: Adam() for name in (*SITES, "weight", "bias")}
    for number, (x, y) in enumerate(batches(8)):
        step(training, x, y)
        weights = {name: plain.get_submodule(name).weight.detach().clone() for name in ("conv", "qkv", "proj")}
        for label, (a, b) in factors.items():
            path = label.partition("[")[0]
            weights[path].flatten(1)[SITES[label]] += torch.from_numpy(SCALE * b @ a)
        for weight in weights.values():
            weight.requires_grad_()
        w, bias = (torch.from_numpy(value).requires_grad_() for value in outer)
        features = torch.func.functional_call(plain, {f"{path}.weight": value for path, value in weights.items()}, x)
        F.cross_entropy(F.linear(features, w, bias), y).backward()
        for label, (a, b) in factors.items():
            full: Any = weights[label.partition("[")[0]].grad
            full = full.flatten(1)[SITES[label]].numpy()
            # The chain rule: what the factors' gradients are.
            grad_a, grad_b = SCALE * b.T @ full, SCALE * full @ a.T
            new_a, new_b = solved(a, b, grad_a, grad_b, number == 0, with_x=False)
            u = rules[label](SCALE * (b @ new_a + new_b @ a))
            new_a, new_b = solved(a, b, SCALE * b.T @ u, SCALE * u @ a.T, number == 0, with_x=True)
            factors[label] = [(1 - LR * DECAY) * a - LR * new_a, (1 - LR * DECAY) * b - LR * new_b]
        assert w.grad is not None
        assert bias.grad is not None
        outer[0] = (1 - HEAD_LR * DECAY) * outer[0] - HEAD_LR * rules["weight"](w.grad.numpy())
        outer[1] = outer[1] - HEAD_LR * rules["bias"](bias.grad.numpy())
        for label, pair in factors.items():
            for mine, other in zip((adapters[label].A, adapters[label].B), pair, strict=True):
                error = np.abs(mine.detach().flatten(1).numpy() - other).max()
                assert error < 1e-10 * max(1.0, np.abs(other).max()), (number, label, error)
        assert np.abs(head.weight.detach().numpy() - outer[0]).max() < 1e-10
        assert np.abs(head.bias.detach().numpy() - outer[1]).max() < 1e-10
    assert all(np.abs(b).max() > 1e-2 for _, b in factors.values())
    assert all(torch.equal(value, frozen[name]) for name, value in network.state_dict().items())


def gradients() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A (3, 8), B (6, 3), a full gradient (6, 8), and what of it reaches A and B."""
    torch.manual_seed(3)
    a, b, full = torch.randn(3, 8).double(), torch.randn(6, 3).double(), torch.randn(6, 8).double()
    return a, b, full, SCALE * b.T @ full, SCALE * full @ a.T


def test_no_gradient_of_its_form_is_closer_to_the_full_one() -> None:
    adjusted: Any = load("lora_pro:adjusted", METHODS / "adapters")
    a, b, full, grad_a, grad_b = gradients()
    eye = torch.eye(24).double()
    columns = [(SCALE * b @ unit.view(3, 8)).flatten() for unit in eye]
    columns += [(SCALE * unit.view(6, 3) @ a).flatten() for unit in eye[:18, :18]]
    span = torch.stack(columns, dim=1)
    closest = (span @ torch.linalg.lstsq(span, full.flatten(), driver="gelsd").solution).view(6, 8)
    assert (closest - full).norm() > 0.1
    for nearest in (False, True):
        new_a, new_b = adjusted(a, b, grad_a, grad_b, SCALE, 0.0, nearest)
        assert (SCALE * (b @ new_a + new_b @ a) - closest).abs().max() < 1e-10


def test_of_those_as_close_it_takes_the_ones_nearest_to_the_factors_own() -> None:
    adjusted: Any = load("lora_pro:adjusted", METHODS / "adapters")
    a, b, _, grad_a, grad_b = gradients()
    new_a, new_b = adjusted(a, b, grad_a, grad_b, SCALE, 0.0, True)

    def distance(x: Tensor) -> Tensor:
        return (new_a + x @ a - grad_a).square().sum() + (new_b - b @ x - grad_b).square().sum()

    x = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(distance(x), [x])
    assert slope.abs().max() < 1e-10
    assert distance(torch.randn(3, 3).double()) > distance(x)


def test_an_adapter_of_another_form_is_refused() -> None:
    weight = nn.Parameter(torch.randn(3, 3))
    group = {"params": [weight], "role": "added", "kind": "weight", "adapter": "dense"}
    rule = load("lora_pro:LoRAPro", METHODS / "adapters")([group], lr=0.1)
    rule.bind(Info(), {"dense": SimpleNamespace(gate=weight)})
    weight.grad = torch.ones_like(weight)
    with pytest.raises(UserError, match="SimpleNamespace has another form"):
        rule.step()


def test_stopped_at_every_step_it_goes_on_to_the_same_bits(go: Go) -> None:
    record = same_bits_when_stopped_at_every_step(go, "lora-pro=demo/digits", "optimizer.lr=1e-3")
    assert record["cost"]["steps"] == STEPS
    assert record["cost"]["updates"] == {"train": {"main": STEPS}}


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "lora-pro=demo/digits")
