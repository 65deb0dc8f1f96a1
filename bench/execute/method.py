"""The method: what carries the four slots through training. Lightning's module wraps it (`bench.execute.training`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from bench.core.errors import UserError
from bench.execute.groups import ROLES, published_name, role
from bench.execute.parts import Info, Part, resume_only
from bench.execute.phases import Phase

if TYPE_CHECKING:
    from bench.execute.adapters import Adaptation
    from bench.execute.backbones import Backbone
    from bench.execute.batch import Batch, Rows
    from bench.execute.data import Data
    from bench.execute.head import Head
    from bench.execute.objective import Objective
    from bench.execute.step import Step
    from bench.problems import Problem

_OBJECTIVE = "objective."


@dataclass(frozen=True)
class Blueprint:
    """What a method is made from. Holds no path to data or labels; `homes` are folders of declarations."""

    declared: Mapping[str, Any]  # the resolved declaration
    problem: Problem
    homes: Mapping[str, Path]
    info: Info

    def slot(self, name: str) -> Mapping[str, Any]:
        """The declaration of one slot, {} where it is left at its default."""
        return self.declared.get(name) or {}


class Method(Part):
    """Plain supervised fine-tuning of an adapted backbone under a head; a variant overrides one hook.

    `phases` divide the run · `loss` of a batch · `solve` a closed-form phase · `predict` a batch · `finish` after the
    fit. When `build` is called the four parts are there: `backbone`, `head`, `adaptation`, `objective`.
    """

    slot = "method"
    blueprint: Blueprint
    problem: Problem
    backbone: Backbone
    head: Head
    adaptation: Adaptation
    objective: Objective
    precision = "32"
    micro_batches: ClassVar[bool] = (
        True  # of `loss`, as `Objective.micro_batches`; one that overrides it says so itself
    )
    penalised = False  # whether the penalty was asked for in this step
    published: frozenset[str] = frozenset()  # the names of the backbone's own tensors, before it was adapted

    # -- hooks

    def phases(self, steps: int) -> list[Phase]:
        """The phases of a run whose budget is `steps`; [] leaves them to the objective or the adaptation."""
        return []

    def shaped(self) -> None:
        """The network has its shape: after it was made, calibrated, reshaped, and when a phase begins.

        What goes along with the trained parameters (`self.trainable`, by name) is made here: averages of them, say.
        Also called before a kept state is loaded.
        """

    def forward(self, inputs: Any) -> Tensor:
        """Inputs -> outputs (batch, problem.outputs())."""
        outputs: Tensor = self.head(self.features(inputs))
        return outputs

    def features(self, inputs: Any) -> Any:
        """What the head takes: a tensor, or `Features` where the head asks for more (`Head.wants`)."""
        return self.backbone.features(inputs, self.head.wants) if self.head.wants else self.backbone(inputs)

    def loss(self, batch: Batch) -> Tensor:
        """The objective's loss plus the adaptation's penalty."""
        loss: Tensor = self.objective(self, batch)
        penalty = self.penalty()
        return loss if penalty is None else loss + penalty

    def penalty(self) -> Tensor | None:
        """What the adaptation adds to the loss; an `update` that does not call `loss` adds it itself."""
        self.penalised = True
        return self.adaptation.penalty()

    def after_step(self, step: Step) -> None:
        """After a step's updates: moving averages, counters."""

    def solve(self, phase: str, data: Data) -> None:
        """Carry out a closed-form phase."""
        raise NotImplementedError(f"{type(self).__name__} declares the closed-form phase {phase!r} and no solve()")

    def before_prediction(self, data: Data) -> None:
        """Before each validation and the last predictions, where the weights have moved since: what follows from
        them in closed form. It must be state that a record keeps."""

    def predict(self, batch: Rows) -> Tensor:
        """Outputs for rows of which no labels are there."""
        outputs: Tensor = self(batch.inputs)
        return outputs

    def finish(self) -> None:
        """After the fit, before the last predictions: average, merge, whatever ends a method."""

    # -- for hooks to call

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next((tensor.device for tensor in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    def over(self, part: Any, function: Callable[[Rows], Tensor]) -> Tensor:
        """`function` of all rows of a part (`data.train`), in evaluation batches: (rows, ...) on the CPU, in order.

        Without gradients, in evaluation mode, in the run's precision, without augmentation.
        """
        from bench.execute.evaluate import over

        return over(self, part, function)

    # -- what trains

    def settle(self) -> None:
        """Decide what moves in the run: once, after the parts were made, and again when their shape changes."""
        # Not as attributes of a module, which would own the parameters a second time.
        self.__dict__["trainable"] = {name: one for name, one in self.named_parameters() if one.requires_grad}
        self.__dict__["still"] = self._still(self.trainable)
        self.__dict__["frozen"] = frozenset(self._unchanged())
        self.shaped()

    trainable: Mapping[str, nn.Parameter]  # by name: what moves in any phase
    frozen: frozenset[str]  # of the state dict: what stays as published, and is kept nowhere
    still: list[nn.Module]  # what stays in evaluation mode while the rest trains

    def limit(self, phases: Sequence[Phase]) -> None:
        """Freeze what no phase trains. A closed-form phase may move whatever the slots let move."""
        if any(phase.closed_form for phase in phases):
            return
        for name, parameter in self.trainable.items():
            if not any(self._trains(name, phase) for phase in phases):
                parameter.requires_grad_(False)
        self.settle()

    def release(self) -> None:
        """Let everything move that moves in any phase."""
        for parameter in self.trainable.values():
            parameter.requires_grad_(True)

    def enter(self, phase: Phase) -> None:
        """Let move what moves in a phase."""
        moving = {name: one for name, one in self.trainable.items() if self._trains(name, phase)}
        for word in phase.train or ():
            if word not in ROLES and not any(fnmatchcase(name, word) for name in self.trainable):
                raise UserError(
                    f"The phase {phase.name!r} of {self.info.method} trains {word!r}, which names nothing that moves; "
                    f"expected {', '.join(ROLES)}, or patterns of names such as {next(iter(self.trainable), 'none')}."
                )
        for name, parameter in self.trainable.items():
            parameter.requires_grad_(name in moving)
        self.__dict__["still"] = self._still(moving)

    def trained(self) -> list[nn.Parameter]:
        """The parameters that move now."""
        return [parameter for parameter in self.trainable.values() if parameter.requires_grad]

    def _trains(self, name: str, phase: Phase) -> bool:
        return phase.train is None or any(role(self, name) == word or fnmatchcase(name, word) for word in phase.train)

    def train(self, mode: bool = True) -> Method:
        """Training mode. A backbone in which nothing moves, and frozen normalisation, stay as in prediction.

        That is decided when a phase begins, not by what moves at the moment.
        """
        super().train(mode)
        if mode and "still" in self.__dict__:
            for module in self.still:
                module.eval()
        return self

    def _still(self, moving: Mapping[str, nn.Parameter]) -> list[nn.Module]:
        """Normalisation that does not move: its statistics are pretrained weights, frozen with its own weights.

        Without weights of its own it moves where anything else of the backbone does.
        """
        moves = {id(parameter) for parameter in moving.values()}
        anything = any(id(parameter) in moves for parameter in self.backbone.parameters())
        if not anything and not any(id(parameter) in moves for parameter in self.adaptation.parameters()):
            return [self.backbone]
        still: list[nn.Module] = []
        for module in self.backbone.modules():
            if isinstance(module, _NormBase):
                own = [id(parameter) in moves for parameter in module.parameters(recurse=False)]
                if not (any(own) if own else anything):
                    still.append(module)
        return still

    def _unchanged(self) -> Iterator[str]:
        """Names of the backbone's tensors that stay as published: frozen weights, and buffers that do not move."""
        moving = any(role(self, name) in ("added", "backbone") for name in self.trainable)
        still = {id(buffer) for module in self.still for buffer in module.buffers()}
        parameters = {id(parameter) for parameter in self.parameters()}
        for name, tensor in self.state_dict(keep_vars=True).items():
            if id(tensor) in parameters:
                if published_name(name) in self.published and name not in self.trainable:
                    yield name
            elif published_name(name) in self.published and (not moving or id(tensor) in still):
                yield name

    # -- what is kept

    def trained_state(self) -> dict[str, Tensor]:
        """Every tensor that differs from the published backbone, or may: what a record keeps.

        The objective's are not among them, for they predict nothing.
        """
        left_out = self.frozen | resume_only(self)
        return {
            name: tensor.detach().cpu().clone().contiguous()
            for name, tensor in self.state_dict().items()
            if name not in left_out and not name.startswith(_OBJECTIVE)
        }

    def resume_state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: that, and what only training goes on from."""
        return {name: tensor.detach() for name, tensor in self.state_dict().items() if name not in self.frozen}

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `trained_state` or `resume_state` gave; everything it holds must be there."""
        missing, unexpected = self.load_state_dict(dict(state), strict=False)
        left_out = self.frozen | resume_only(self)
        lacking = [name for name in missing if name not in left_out and not name.startswith(_OBJECTIVE)]
        if lacking or unexpected:
            raise RuntimeError(f"the kept state does not fit: missing {lacking[:3]}, unexpected {list(unexpected)[:3]}")

    def shapes(self) -> dict[str, Any] | None:
        """What the adaptation changed of its shape since it was built, as it must be to load a kept state."""
        return self.adaptation.shapes()

    def reshape(self, shapes: Mapping[str, Any] | None) -> None:
        """Take the shape that `shapes` described."""
        if shapes is not None and shapes != self.shapes():
            self.release()
            self.adaptation.reshape(shapes)
            self.settle()
