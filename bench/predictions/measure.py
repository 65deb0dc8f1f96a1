"""The declared metrics of saved predictions, and the one score they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.metrics import metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


def measure(
    names: Sequence[str], predictions: Mapping[str, NDArray[Any]], labels: NDArray[Any], classes: int | None
) -> dict[str, float]:
    """Each metric, and `score`: their mean, each turned so that higher is better."""
    values = {name: metric(name).compute(predictions, labels, classes) for name in names}
    turned = [value if metric(name).higher else -value for name, value in values.items()]
    return {**values, "score": sum(turned) / len(turned)}
