"""Problems: the contract between tasks and methods. One file per kind of problem.

A task's `problem` is MODALITY-KIND, for example `text-classification`: the modality says what inputs are
(`bench.data.modalities`), the kind says what the head outputs, what is minimised and what is predicted.
Nothing here imports torch before a loss is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.core.errors import UserError, nearest
from bench.data.modalities import MODALITIES, modality
from bench.declarations.fields import Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Problem(Protocol):
    """What a batch's labels are, what the head outputs, the standard loss, and what is saved per example."""

    fields: Mapping[str, Field]  # the task keys it adds
    saves: str  # the array that `decode` gives and that its metrics read

    def __init__(self, task: Mapping[str, Any]) -> None: ...

    def outputs(self) -> int:
        """How many numbers the head gives per example."""
        ...

    def classes(self) -> int | None:
        """How many classes there are, None where there are none."""
        ...

    def encode(self, labels: Any) -> NDArray[Any]:
        """Labels as published -> the array kept on disk; UserError for one that is not declared."""
        ...

    def strata(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """A group per row, for stratified splits."""
        ...

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The standard loss, averaged over the batch."""
        ...

    def decode(self, outputs: Tensor) -> dict[str, NDArray[Any]]:
        """Head outputs (N, outputs) -> the arrays that are saved per example and that metrics read."""
        ...

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Any, NDArray[np.float64]]:
        """Synthetic labels as published, and the same scaled to 0..1."""
        ...


def kinds() -> list[str]:
    """The kinds of problem, from the files here."""
    return sorted(path.stem.replace("_", "-") for path in Path(__file__).parent.glob("[a-z]*.py"))


def split_name(problem: str) -> tuple[str, str]:
    """`text-classification` -> ("text", "classification"); UserError for a problem that does not exist."""
    head, _, kind = str(problem).partition("-")
    if head not in MODALITIES or kind not in kinds():
        legal = [f"{name}-{kind}" for name in MODALITIES for kind in kinds()]
        raise UserError(f"problem is {problem!r}; expected one of {', '.join(legal)}.{nearest(str(problem), legal)}")
    return head, kind


@lru_cache(maxsize=64)
def extra_fields(problem: str) -> dict[str, Field]:
    """The task keys that a problem and its modality add to those of every task."""
    head, kind = split_name(problem)
    return {**modality(head).fields, **_module(kind).PROBLEM.fields}


def problem_of(task: Mapping[str, Any]) -> Problem:
    """The problem of a resolved task."""
    made: Problem = _module(split_name(task["problem"])[1]).PROBLEM(task)
    return made


def _module(kind: str) -> Any:
    return importlib.import_module(f"bench.problems.{kind.replace('-', '_')}")
