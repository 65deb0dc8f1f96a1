"""The harness's own steps without a run around them: what tests of objectives and rules share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from bench.declarations.schema import METHOD, check
from bench.execute.backbones import Backbone, Features
from bench.execute.batch import Batch
from bench.execute.build import assemble
from bench.execute.method import Blueprint
from bench.execute.parts import Info
from bench.execute.training import Training, phases_of

METHODS = Path(__file__).parents[2] / "methods"
DOMAINS, ROWS, CLASSES = 3, 5, 4


class Plain(Backbone):
    """A network of a test; with `prefix` its output is tokens, of which the first is the pooled feature."""

    offers = ("tokens",)

    def __init__(self, network: nn.Module, dim: int) -> None:
        super().__init__(network, dim, None, {})  # type: ignore[arg-type]

    def forward(self, inputs: Any) -> Tensor:
        features: Tensor = self.network(inputs)
        return features

    def features(self, inputs: Any, wants: Sequence[str]) -> Features:
        tokens = self.network(inputs)
        return Features(tokens[:, 0], tokens[:, 1:])

    def widths(self, want: str) -> tuple[int, ...]:
        return (self.dim,)


def in_hand(
    name: str,
    network: nn.Module,
    dim: int,
    *,
    steps: int,
    domains: int = 1,
    outputs: int = CLASSES,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> Training:
    """A declared method (`generalization/fish`) around a network, in float64, at the beginning of its first phase."""
    body = check(yaml.safe_load((METHODS / f"{name}.yaml").read_text()), METHOD, name)
    if change is not None:
        change(body)
    home = (METHODS / name).parent
    homes = dict.fromkeys(("method", "objective", "adaptation", "head", "optimizer"), home)
    problem: Any = SimpleNamespace(loss=lambda logits, labels: F.cross_entropy(logits, labels))
    info = Info("toy", name, steps=steps, outputs=outputs, classes=outputs, domains=domains, width=dim)
    method = assemble(Blueprint(body, problem, homes, info), Plain(network, dim)).double()
    training = Training(method, phases_of(method, steps), None, None)  # type: ignore[arg-type]
    training.start(None)
    return training


def step(training: Training, inputs: Tensor, labels: Tensor, domains: Tensor | None = None) -> None:
    """The next step, by the harness."""
    rows, number = len(labels), training.done
    domains = torch.zeros(rows, dtype=torch.long) if domains is None else domains
    batch = Batch(inputs, torch.arange(rows), labels, domains, step=number)
    training.on_train_batch_start(batch, number)
    training.training_step(batch, number)


def gap(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """The largest difference between tensors of the same names."""
    assert set(ours) == set(theirs)
    return max(float((ours[name] - theirs[name]).detach().abs().max()) for name in ours)


def small() -> nn.Sequential:
    torch.manual_seed(1)  # no bias before the normalisation: its gradient would be rounding, which Adam enlarges
    layers = [nn.Linear(7, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh()]
    return nn.Sequential(*layers).double()
