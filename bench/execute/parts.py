"""What fills a method's slots, and how every part of it is made.

One order for all of them (objective, adaptation, adapter, head, optimizer rule and method): `setup(**params)` takes
the declared values, `bind(info)` tells what a part may know of its run, `build()` makes what it owns. Torch's, numpy's
and Python's own generators are seeded for the whole of it, so that a part may draw its start wherever it makes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from torch import Tensor, nn

from bench.core.errors import UserError, nearest
from bench.core.streams import generator

if TYPE_CHECKING:
    import numpy as np

KEPT = ("record", "checkpoint", "no")


@dataclass(frozen=True)
class Info:
    """What a part may know of its run. Nothing here leads to data or labels."""

    task: str = ""
    method: str = ""
    seed: int = 0
    steps: int = 0  # of the budget
    outputs: int = 0  # how many numbers the head gives for a row
    classes: int | None = None  # None where there are none
    known: int | None = None  # how many of the classes have labels in training; None where that is no question
    domains: int = 1  # of the training rows, numbered from 0 without gaps
    channels: int | None = None  # of an image
    width: int = 0  # of the backbone's pooled features
    widths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # of what else the head asks for
    tree: tuple[int, ...] | None = None  # the coarse class of each class, where the task declares `hierarchy`

    @property
    def own(self) -> tuple[str, int, str]:
        """The coordinates of what the method draws for itself."""
        return self.task, self.seed, self.method

    def generator(self, step: int, *coordinates: str | int) -> np.random.Generator:
        """Random numbers of this run's method at a step: the same however the step is cut, and when it is resumed."""
        return generator("method", *self.own, "step", step, *coordinates)


class Part(nn.Module):
    """A part of a method. Its declared params are what `setup` takes; after `bind` it knows `self.info`."""

    slot: ClassVar[str] = "method"
    info: Info = Info()

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._take(params)

    def _take(self, params: Mapping[str, Any]) -> None:
        check_params(type(self).__name__, self.setup, params, self.slot)
        self.setup(**params)

    def setup(self) -> None:
        """Take the declared params; what it takes is what a declaration may set."""

    def bind(self, info: Info) -> None:
        """Be told what a part may know of the run."""
        self.info = info

    def build(self) -> None:
        """Make the modules, parameters and state that the part owns, and draw them."""

    def begin(self, phase: str) -> None:
        """A phase begins: its parameters are about to be handed to new optimizers. Not called when it is resumed.

        The adaptation, the objective and the method are told, in this order. What moves in a phase is said by
        `Phase.train`, not here.
        """

    def register_state(self, name: str, tensor: Tensor, kept: str = "record") -> None:
        """Keep a tensor that is no parameter as `self.NAME`.

        `kept` says what for: "record" (predictions need it; it is in checkpoints too), "checkpoint" (training goes on
        from it, predictions do without), or "no" (made again alike).
        """
        if kept not in KEPT:
            raise ValueError(f"kept is {kept!r}; expected one of {', '.join(KEPT)}")
        self.register_buffer(name, tensor, persistent=kept != "no")
        others = self.__dict__.get("_resume_only", frozenset()) - {name}
        self.__dict__["_resume_only"] = others | {name} if kept == "checkpoint" else others


P = TypeVar("P", bound=Part)


def ready(part: P, info: Info) -> P:
    """A part that was set up, bound and built."""
    part.bind(info)
    part.build()
    return part


def resume_only(module: nn.Module) -> set[str]:
    """The names in a module's state dict of what only checkpoints keep."""
    names = set()
    for path, child in module.named_modules():
        own = {*child.__dict__.get("_resume_only", ())}
        if type(child).get_extra_state is not nn.Module.get_extra_state:
            own.add("_extra_state")
        names |= {f"{path}.{name}" if path else name for name in own}
    return names


def check_params(name: str, function: Callable[..., Any], params: Mapping[str, Any], slot: str) -> None:
    """UserError when `params` are not what `function` takes; it names the slot and the nearest legal name."""
    legal = inspect.signature(function).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in legal.values()):
        return
    for word in params:
        if word not in legal:
            takes = f"it takes {', '.join(legal)}" if legal else "it takes none"
            raise UserError(f"{slot}.params.{word}: {name} has no parameter {word!r}; {takes}.{nearest(word, legal)}")
    missing = [word for word, value in legal.items() if value.default is value.empty and word not in params]
    if missing:
        raise UserError(f"{name} needs a value for {', '.join(missing)} under {slot}.params.")
