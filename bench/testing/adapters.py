"""Conformance of an adapter: call `check_adapter(MyAdapter, rank=4)` in a test of any project.

Each check is a plain function that raises AssertionError with a sentence; all run in float64, on a linear
layer, on a convolution and on the rows of a fused layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.execute.adapters.adaptation import Adaptation
from bench.execute.adapters.adapter import Adapter
from bench.execute.batch import Rows
from bench.execute.parts import Info, ready

TOLERANCE = 1e-9  # relative, float64


def _linear() -> tuple[nn.Module, Tensor, str]:
    return nn.Sequential(nn.Linear(12, 10), nn.Tanh()), torch.randn(5, 3, 12), "0"


def _conv() -> tuple[nn.Module, Tensor, str]:
    return nn.Sequential(nn.Conv2d(8, 6, 3, stride=2, padding=1), nn.Tanh()), torch.randn(4, 8, 7, 9), "0"


def _rows() -> tuple[nn.Module, Tensor, str]:
    return nn.ModuleDict({"qkv": nn.Linear(12, 30)}), torch.randn(5, 12), "qkv[q,v]"


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor, str]]] = {
    "linear": _linear,
    "conv": _conv,
    "rows": _rows,
}


class Subject:
    """One small network with the adapter attached, in float64 and in evaluation mode."""

    def __init__(self, cls: type[Adapter], params: dict[str, Any], case: str, plan: type[Adaptation]) -> None:
        torch.manual_seed(20)
        network, self.x, target = CASES[case]()
        self.network, self.x = network.double(), self.x.double()
        self.before = self.output()
        self.adaptation = plan(self.network, adapter=cls, params=params, targets=[target])
        self.adaptation.attach()
        self.train(False)

    def train(self, mode: bool) -> None:
        self.network.train(mode)
        self.adaptation.train(mode)

    def output(self) -> Tensor:
        y = self.x
        for module in self.network.children():
            y = module(y)
        return y

    @property
    def adapters(self) -> list[Adapter]:
        return list(self.adaptation.adapters)  # type: ignore[arg-type]

    def move(self) -> None:
        """A few random steps: every trained parameter is displaced."""
        torch.manual_seed(21)
        with torch.no_grad():
            for _, parameter in self.adaptation.named_trained():
                parameter.add_(0.1 * torch.randn_like(parameter))

    def backward(self) -> None:
        self.adaptation.context(Rows(self.x, torch.arange(len(self.x))))
        loss = self.output().square().sum()
        penalty = self.adaptation.penalty()
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]


def check_adapter(cls: type[Adapter], *, adaptation: type[Adaptation] = Adaptation, **params: Any) -> None:
    """Every check on every case; `adaptation` is the plan that goes with the adapter, where it needs one."""
    for case in CASES:
        for check in CHECKS:
            try:
                check(Subject(cls, params, case, adaptation))
            except AssertionError as error:
                raise AssertionError(f"{cls.__name__}, {case}: {error}") from None


def check_start(subject: Subject) -> None:
    """The start is exact where it is declared so, and always of the weight's shape and dtype."""
    for adapter in subject.adapters:
        weight = adapter.weight()
        assert weight.shape == adapter.weight0.shape, f"weight() is {tuple(weight.shape)}"
        assert weight.dtype == torch.float64, f"weight() is {weight.dtype} on a float64 layer"
        if adapter.exact_at_start:
            assert _near(weight, adapter.weight0), "exact_at_start is declared, but weight() differs from weight0"
    if all(adapter.exact_at_start for adapter in subject.adapters):
        assert _near(subject.output(), subject.before), "exact_at_start is declared, but the output changes"


def check_seeded(subject: Subject) -> None:
    """The same seed starts the same adapter: nothing is drawn but from torch's global generator."""
    cls = type(subject.adapters[0])
    states = []
    for _ in range(2):
        torch.manual_seed(22)
        states.append(ready(cls(subject.adapters[0].site, **subject.adaptation.params), Info()).state_dict())
    assert states[0].keys() == states[1].keys(), "the parameters' names change from one time to the next"
    different = [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]
    assert not different, f"{', '.join(different)} differ under one seed"


def check_dtypes(subject: Subject) -> None:
    """Floating-point parameters follow the layer's dtype."""
    for name, parameter in subject.adaptation.named_added():
        assert parameter.dtype == torch.float64, f"{name} is {parameter.dtype} on a float64 layer"


def check_formula(subject: Subject) -> None:
    """forward(x) is the layer's operation with weight() and bias(), in evaluation mode."""
    subject.move()
    for adapter in subject.adapters:
        if adapter.mergeable:
            want = adapter.op(subject.x, adapter.weight(), adapter.bias())
            assert _near(adapter(subject.x), want), "forward differs from the operation with weight() and bias()"


def check_moves(subject: Subject) -> None:
    """A displaced adapter changes the output."""
    subject.move()
    assert not _near(subject.output(), subject.before), "moving every parameter does not move the output"


def check_rank(subject: Subject) -> None:
    """The update has no higher rank than declared."""
    subject.move()
    for adapter in subject.adapters:
        bound = adapter.update_rank()
        if bound is not None:
            update = (adapter.weight() - adapter.weight0).flatten(1)
            values = torch.linalg.svdvals(update)
            rank = int((values > 1e-9 * values.max()).sum())
            assert rank <= bound, f"the update has rank {rank}, declared is at most {bound}"


def check_gradients(subject: Subject) -> None:
    """Every parameter has a gradient at the start, a non-zero one after random steps; W0 has none."""
    subject.train(True)
    subject.backward()
    subject.adaptation.check_used()
    subject.move()
    subject.backward()
    for name, parameter in subject.adaptation.named_trained():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert torch.isfinite(parameter.grad).all(), f"{name} has a gradient that is not finite"
        assert parameter.grad.abs().max() > 0, f"{name} has a zero gradient everywhere"
    assert all(part.grad is None for part in subject.network.parameters()), "a frozen parameter received a gradient"


def check_penalty(subject: Subject) -> None:
    """A penalty is one finite number, also at the start, where norms have no gradient."""
    for _ in range(2):
        penalty = subject.adaptation.penalty()
        if penalty is not None:
            assert penalty.dim() == 0, f"the penalty has shape {tuple(penalty.shape)}"
            assert torch.isfinite(penalty), f"the penalty is {penalty}"
            if penalty.requires_grad:
                trained = [parameter for _, parameter in subject.adaptation.named_trained()]
                slopes = torch.autograd.grad(penalty, trained, allow_unused=True)
                finite = all(slope is None or bool(torch.isfinite(slope).all()) for slope in slopes)
                assert finite, "the penalty has a gradient that is not finite"
        subject.move()


def check_state(subject: Subject) -> None:
    """What was trained, loaded into a fresh adapter, gives the same output; names are unique."""
    fresh_network, fresh = copy.deepcopy((subject.network, subject.adaptation))
    subject.move()
    want = subject.output()
    fresh.load_trained_state({name: tensor.clone() for name, tensor in subject.adaptation.trained_state().items()})
    subject.network = fresh_network
    assert _near(subject.output(), want), "trained_state, loaded into an untrained copy, gives another output"


def check_copy(subject: Subject) -> None:
    """A deep copy computes with its own adapter, and the original is left alone."""
    subject.move()
    want = subject.output()
    network, adaptation = copy.deepcopy((subject.network, subject.adaptation))
    with torch.no_grad():
        for _, parameter in adaptation.named_trained():
            parameter.zero_()
    assert _near(subject.output(), want), "changing a deep copy changes the original"
    original, subject.network = subject.network, network
    assert not _near(subject.output(), want), "a deep copy still computes with the original's adapter"
    subject.network = original


def check_merge(subject: Subject) -> None:
    """Merging leaves the output as it was, without the adapter; where it cannot, merge refuses."""
    from bench.core.errors import UserError

    subject.move()
    want = subject.output()
    if subject.adaptation.mergeable:
        subject.adaptation.merge()
        assert all("forward" not in vars(module) for module in subject.network.modules()), "a patch is left behind"
        assert _near(subject.output(), want), "the merged weights compute something else"
        return
    try:
        subject.adaptation.merge()
    except UserError:
        return
    raise AssertionError("mergeable is False, but merge() does not refuse")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_start, check_seeded, check_dtypes, check_formula, check_moves, check_rank, check_penalty,
    check_gradients, check_state, check_copy, check_merge,
)  # fmt: skip


def _near(one: Tensor, other: Tensor) -> bool:
    scale = max(float(other.detach().abs().max()), 1.0)
    return bool((one.detach() - other.detach()).abs().max() <= TOLERANCE * scale)
