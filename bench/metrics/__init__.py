"""Metrics: functions of saved predictions. One file per metric; its digest is part of a run's key.

A metric sees all predictions of a part at once, on the CPU, so that it depends neither on how they were
batched nor, beyond the last digits of a sum, on their order. What could be undefined has a stated value,
never nan:

- A row with a logit that is not finite is wrong: it counts as a prediction of the class after the true one.
- A correlation is -1, the worst, where a predicted value is not finite: that run diverged.
- A correlation is 0 for one row or a constant column, as is Matthews' where either side is of a single class.
- No rows, or arrays of another problem or another number of classes, are a UserError.
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


@dataclass(frozen=True)
class Truth:
    """What predictions are held against: one label per row, and what is known of the labels.

    `known` counts the known classes of category discovery, which come first. `groups` are those that a metric
    looks at one by one: a number per row (N,), or membership (N, groups) where they overlap.
    """

    labels: NDArray[Any]
    classes: int | None = None
    known: int | None = None
    groups: NDArray[Any] | None = None


Compute = Callable[[Mapping[str, "NDArray[Any]"], Truth], float]


@dataclass(frozen=True)
class Metric:
    """A metric. `range` is its natural unit; `higher` is better; `version` is raised when a value changes.

    `compute(predictions, truth)` reads one array of the predictions: `logits` (N, classes), `values` (N,),
    `mask` (N, height, width).
    """

    name: str
    version: int
    title: str
    higher: bool
    range: tuple[float, float]
    reads: str
    compute: Compute
    needs: str = ""  # "groups" (the task's `group`) or "known" (classes that are known), besides labels


def metric_names(task: Mapping[str, Any]) -> list[str]:
    """The metrics whose mean is a task's score, in declared order."""
    declared = task["metric"]
    return [declared] if isinstance(declared, str) else list(declared)


def reported_names(task: Mapping[str, Any]) -> list[str]:
    """The metrics that are computed and shown beside the score."""
    return [name for name in task.get("report") or [] if name not in metric_names(task)]


def names() -> list[str]:
    """The metrics, from the files here, without importing them."""
    return sorted(file.stem.replace("_", "-") for file in Path(__file__).parent.glob("[a-z]*.py"))


def path(name: str) -> Path:
    """A metric's source file; UserError when there is none of that name."""
    if name not in names():
        raise UserError(f"metric is {name!r}; expected one of {', '.join(names())}.{nearest(name, names())}")
    return Path(__file__).parent / f"{name.replace('-', '_')}.py"


def metric(name: str) -> Metric:
    """The metric of that name; UserError when there is none."""
    found: Metric = importlib.import_module(f"bench.metrics.{path(name).stem}").METRIC
    return found
