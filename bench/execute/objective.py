"""The objective slot: what is minimised, and how a batch becomes an update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from bench.execute.parts import Part

if TYPE_CHECKING:
    from bench.execute.batch import Batch
    from bench.execute.method import Method
    from bench.execute.phases import Phase
    from bench.execute.step import Step


class Objective(Part):
    """The problem's standard loss and one update for each batch. A variant overrides `forward`, or `update`.

    `micro_batches` says that the loss of a batch is the mean over its rows of what each gives alone, so that a step
    may be cut into pieces (`--micro-batch`); where it is false, asking for that is an error.
    """

    slot = "objective"
    micro_batches: ClassVar[bool] = False

    def optimizers(self, declared: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Optimizers beside `main`, by name: `{"critic": {"params": [...], "lr": ..., "clip": ...}}`.

        `params` are parameters; the other keys are those of the optimizer slot, with `options` for its `params`. What
        is left out is as `declared` for the whole method.
        """
        return {}

    def phases(self, steps: int) -> list[Phase]:
        """The phases of a run of `steps`, where the objective divides it; [] where it does not."""
        return []

    def forward(self, method: Method, batch: Batch) -> Tensor:
        """The loss of a batch, without the adaptation's penalty."""
        return method.problem.loss(method(batch.inputs), batch.labels)

    def update(self, method: Method, batch: Batch, step: Step) -> None:
        """Make of a batch the updates of its step: backward passes, and at least one `step.apply`."""
        for part in step.parts(batch):
            step.backward(method.loss(part) * part.share)
        step.apply()


class Standard(Objective):
    """What a method has whose objective slot is not filled."""

    micro_batches = True
