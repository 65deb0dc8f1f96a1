"""Regression: one number per example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.declarations.fields import Field
from bench.problems._base import Base

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_STRATA = 10


class Regression(Base):
    """Squared error on labels scaled by `range` to 0..1; saves `values` (N,) in the label's own unit, unclipped."""

    fields: Mapping[str, Field] = {"range": Field("list", required=True, item=Field("number"), length=2)}

    saves = "values"

    def __init__(self, task: Mapping[str, Any]) -> None:
        super().__init__(task)
        limits = task["range"]
        if len(limits) != 2 or limits[0] >= limits[1]:
            raise UserError(f"range of {task['name']} is {limits}; expected [lowest, highest].")
        self._low, self._high = float(limits[0]), float(limits[1])

    def outputs(self) -> int:
        return 1

    def encode(self, labels: Any) -> NDArray[np.float32]:
        """Numbers as float32 (N,)."""
        import numpy as np

        found = np.asarray(list(labels), dtype=np.float32)
        if not np.isfinite(found).all() or (found < self._low).any() or (found > self._high).any():
            raise UserError(
                f"The data's labels run from {found.min()} to {found.max()}; the task declares the range "
                f"{self._low} to {self._high}."
            )
        return found

    def strata(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Tenths of the rows by label."""
        import numpy as np

        place = np.argsort(np.argsort(labels, kind="stable"), kind="stable")
        return (place * _STRATA // max(1, len(labels))).astype(np.int64)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        from torch.nn.functional import mse_loss

        scaled = (labels.float() - self._low) / (self._high - self._low)
        return mse_loss(outputs.float().squeeze(-1), scaled)

    def decode(self, outputs: Tensor) -> dict[str, NDArray[Any]]:
        values = self._low + outputs.double().squeeze(-1) * (self._high - self._low)
        return {"values": values.float().numpy()}

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Mapping[str, Any], NDArray[np.float64]]:
        scaled = generator.random(count)
        return {self.task["label"]: self._low + scaled * (self._high - self._low)}, scaled


PROBLEM = Regression
