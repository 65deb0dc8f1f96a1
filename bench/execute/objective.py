"""The objective slot: what is minimised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bench.execute.adapters.adapter import check_params

if TYPE_CHECKING:
    from bench.execute.loaders import Batch
    from bench.execute.method import Method


class Objective(nn.Module):
    """The problem's standard loss. A variant overrides `forward`, and `setup` to take its declared params."""

    def __init__(self, **params: Any) -> None:
        super().__init__()
        check_params(type(self).__name__, self.setup, params)
        self.setup(**params)

    def setup(self) -> None:
        """Take the declared params; the standard loss has none."""

    def forward(self, method: Method, batch: Batch) -> Tensor:
        """The mean loss of a batch of `inputs` and `labels`."""
        return method.blueprint.problem.loss(method(batch["inputs"]), batch["labels"])
