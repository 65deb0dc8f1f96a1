"""The optimizer slot: the rule of the step and the schedule of its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.core.errors import UserError
from bench.core.loading import load
from bench.declarations.schema import OWN_SCHEDULES
from bench.execute.parts import Info, check_params

if TYPE_CHECKING:
    from bench.execute.adapters.adapter import Adapter

_KNOWN: dict[str, type[Optimizer]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class Rule(Optimizer):
    """An optimizer whose groups say what they hold.

    Beside `params`, `lr` and `weight_decay` a group has `names` (of the parameters), `role` (`head`, `added`,
    `backbone`, `objective`, `method`), `kind` (`weight`, `bias`, `norm`) and `adapter`, the label under which
    `self.adapters` holds the adapter that they belong to, or None. What a rule remembers of a parameter stands in
    `self.state[parameter]`, which checkpoints keep. A variant overrides `update`, or `update_group`.
    """

    grouped: ClassVar[bool] = True  # torch's own optimizers get as few groups as their rates need

    def __init__(self, groups: Any, lr: float, weight_decay: float = 0.0, **params: Any) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        self.info = Info()
        self.adapters: dict[str, Adapter] = {}
        check_params(type(self).__name__, self.setup, params, "optimizer")
        self.setup(**params)

    def setup(self) -> None:
        """Take the declared params."""

    def bind(self, info: Info, adapters: Mapping[str, Adapter]) -> None:
        """Be told what a part may know, and the adapters by their labels."""
        self.info, self.adapters = info, dict(adapters)

    def build(self) -> None:
        """Make what the rule owns beside `self.state`; it is made again when a run is resumed."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            self.update_group(group)
        return loss

    def update_group(self, group: dict[str, Any]) -> None:
        """Update the parameters of a group."""
        for parameter in group["params"]:
            if parameter.grad is not None:
                self.update(parameter, parameter.grad, self.state[parameter], group)

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Update one parameter in place; `state` is what the rule remembers of it."""
        raise NotImplementedError(f"{type(self).__name__} does not say how a parameter moves")


def adam(
    gradient: Tensor, state: dict[str, Any], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> Tensor:
    """Adam's direction, to be subtracted lr times: moments with bias correction (Kingma, Ba. 2015. arXiv:1412.6980)."""
    state["step"] = int(state.get("step", 0)) + 1
    first = state.setdefault("first", torch.zeros_like(gradient)).lerp_(gradient, 1 - betas[0])
    second = state.setdefault("second", torch.zeros_like(gradient))
    second.mul_(betas[1]).addcmul_(gradient, gradient.conj(), value=1 - betas[1])
    root = (second / (1 - betas[1] ** state["step"])).sqrt_().add_(eps)
    direction: Tensor = (first / (1 - betas[0] ** state["step"])).div_(root)
    return direction


def optimizer_class(name: str | type[Optimizer], home: Path | None) -> type[Optimizer]:
    """The declared rule: one of torch's by name, or a class of the project's."""
    if isinstance(name, type):
        return name
    if name in _KNOWN:
        return _KNOWN[name]
    if home is None:
        raise UserError(f"optimizer.optimizer is {name!r}; expected one of {', '.join(_KNOWN)} or file:Class.")
    found = load(name, home)
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        raise UserError(f"optimizer.optimizer names {name!r}, which is not a subclass of torch.optim.Optimizer.")
    return found


def make_optimizer(
    kind: type[Optimizer],
    groups: list[dict[str, Any]],
    declared: Mapping[str, Any],
    info: Info,
    adapters: Mapping[str, Adapter],
) -> Optimizer:
    """A rule over parameter groups that may carry their own `lr` and `weight_decay`."""
    defaults = {"lr": declared["lr"], "weight_decay": declared["weight_decay"], **(declared.get("params") or {})}
    try:
        optimizer = kind(groups, **defaults)
    except TypeError as error:
        raise UserError(f"optimizer.params do not fit {declared['optimizer']}: {error}.") from None
    if isinstance(optimizer, Rule):
        optimizer.bind(info, adapters)
        optimizer.build()
    return optimizer


def make_schedule(declared: Mapping[str, Any], steps: int) -> Callable[[int], float]:
    """The learning rate's factor at a step, counted from 0: one of ours, or of transformers' by its name there."""
    name, warmup = str(declared["schedule"]), float(declared["warmup"])
    own = declared.get("schedule_params") or {}
    if name in OWN_SCHEDULES:
        if own:
            raise UserError(f"optimizer.schedule_params: the schedule {name} takes none.")
        return factor(name, warmup, steps)
    from transformers import get_scheduler

    rate = float(declared["lr"]) or 1.0  # for schedules that end at a rate of their own
    carrier = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    try:
        made: Any = get_scheduler(name, carrier, math.ceil(warmup * steps), steps, scheduler_specific_kwargs=dict(own))
        function: Callable[[int], float] = made.lr_lambdas[0]
        function(0)
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"optimizer.schedule_params do not fit the schedule {name}: {error}.") from None
    return function


def factor(schedule: str, warmup: float, steps: int) -> Callable[[int], float]:
    """Linear warm-up over `warmup` of the steps, then constant, linear to 0, or half a cosine to 0."""
    rising = math.ceil(warmup * steps)

    def at(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        left = (steps - step) / max(1, steps - rising)
        if schedule == "linear":
            return max(0.0, left)
        if schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (1 - max(0.0, left))))
        return 1.0

    return at
