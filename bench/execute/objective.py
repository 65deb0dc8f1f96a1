"""The objective slot: what is minimised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from bench.execute.loaders import Batch
    from bench.execute.method import Method


class Objective(nn.Module):
    """The problem's standard loss. A variant overrides `forward`; its `params` arrive as keyword arguments."""

    def __init__(self, **params: Any) -> None:
        super().__init__()
        for name, value in params.items():
            setattr(self, name, value)

    def forward(self, method: Method, batch: Batch) -> Tensor:
        """The mean loss of a batch of `inputs` and `labels`."""
        return method.blueprint.problem.loss(method(batch["inputs"]), batch["labels"])
