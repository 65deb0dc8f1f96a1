"""The declared metrics of saved predictions, and the one score they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Truth, metric, metric_names, reported_names

if TYPE_CHECKING:
    from numpy.typing import NDArray


def measure(task: Mapping[str, Any], predictions: Mapping[str, NDArray[Any]], truth: Truth) -> dict[str, float]:
    """Each of a task's metrics, and `score`: the mean of its main ones, each turned so that higher is better."""
    main = metric_names(task)
    values = {name: metric(name).compute(predictions, truth) for name in [*main, *reported_names(task)]}
    turned = [values[name] if metric(name).higher else -values[name] for name in main]
    return {**values, "score": sum(turned) / len(turned)}
