"""Classification: one of the declared classes per example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError, nearest
from bench.declarations.fields import Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Classification:
    """Cross-entropy over `classes`; saves `logits` (N, classes) in float32."""

    fields: Mapping[str, Field] = {"classes": Field("list", required=True, item=Field(("text", "integer")))}

    saves = "logits"

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._names = [str(name) for name in task["classes"]]
        if len(self._names) < 2 or len(set(self._names)) != len(self._names):
            raise UserError(f"classes of {task['name']} must be at least two different names.")

    def outputs(self) -> int:
        return len(self._names)

    def classes(self) -> int:
        return len(self._names)

    def encode(self, labels: Any) -> NDArray[np.int64]:
        """Class numbers, or class names, as int64 (N,)."""
        import numpy as np

        given = list(labels)
        if given and isinstance(given[0], str):
            places = {name: place for place, name in enumerate(self._names)}
            unknown = sorted(set(given) - set(places))
            if unknown:
                raise UserError(f"The data has the class {unknown[0]!r}, not in classes.{nearest(unknown[0], places)}")
            return np.array([places[name] for name in given], dtype=np.int64)
        found = np.asarray(given)
        if len(found) and (found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= len(self._names)):
            raise UserError(
                f"The data's labels run from {found.min()} to {found.max()}; the task declares {len(self._names)} "
                "classes, so they must be whole numbers from 0. Unlabelled rows (-1) cannot be used."
            )
        return found.astype(np.int64)

    def strata(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        import numpy as np

        return labels.astype(np.int64)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs.float(), labels)

    def decode(self, outputs: Tensor) -> dict[str, NDArray[Any]]:
        return {"logits": outputs.float().numpy()}

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Any, NDArray[np.float64]]:
        import numpy as np

        labels = np.arange(count) % len(self._names)
        return labels, labels / max(1, len(self._names) - 1)


PROBLEM = Classification
