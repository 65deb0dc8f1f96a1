"""Metrics: functions of saved predictions. One file per metric; its digest is part of a run's key.

Every metric is computed by torchmetrics in float64, on the CPU, from all predictions at once: it depends neither on
their order nor on how they were batched. Degenerate input has a stated value, never nan.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

Compute = Callable[[Mapping[str, "NDArray[Any]"], "NDArray[Any]", "int | None"], float]


@dataclass(frozen=True)
class Metric:
    """A metric: raise `version` when a value it gives changes. `range` is its natural unit, `higher` what is better.

    `compute(predictions, labels, classes)` reads `logits` (N, classes) or `values` (N,) from the predictions.
    """

    name: str
    version: int
    title: str
    range: tuple[float, float]
    compute: Compute
    higher: bool = True


def names() -> list[str]:
    """The metrics, from the files here, without importing them."""
    return sorted(
        file.stem.replace("_", "-") for file in Path(__file__).parent.glob("[a-z]*.py") if file.stem != "arrays"
    )


def path(name: str) -> Path:
    """A metric's source file; UserError when there is none of that name."""
    if name not in names():
        raise UserError(f"metric is {name!r}; expected one of {', '.join(names())}.{nearest(name, names())}")
    return Path(__file__).parent / f"{name.replace('-', '_')}.py"


def metric(name: str) -> Metric:
    """The metric of that name."""
    found: Metric = importlib.import_module(f"bench.metrics.{path(name).stem}").METRIC
    return found
