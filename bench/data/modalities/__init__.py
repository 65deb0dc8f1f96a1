"""How inputs of one kind are written once and read often: images, texts and tables. No torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.data.sources import Rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.declarations.fields import Field

MODALITIES = ("image", "text", "tabular")


class Inputs(Protocol):
    """The inputs of one part of a task, on disk."""

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.int64]) -> Any:
        """The inputs of some rows, in the form the modality's backbones encode."""
        ...

    def lengths(self) -> NDArray[np.int64]:
        """A size per row for bucketing; equal numbers where rows are of one size."""
        ...

    def content(self) -> NDArray[np.uint64]:
        """A 64-bit digest of each row's input, to count equal contents."""
        ...


class Modality(Protocol):
    """One kind of input."""

    fields: Mapping[str, Field]  # the task keys it adds

    def kept(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        """What of a task the written files depend on, besides the data and `inputs`."""
        ...

    def write(
        self,
        rows: Rows,
        task: Mapping[str, Any],
        order: NDArray[np.int64],
        folder: Path,
        step: Callable[[int], None] | None = None,
    ) -> None:
        """Write the inputs of the rows `order` into `folder`; `step` is told now and then how many are done."""
        ...

    def open(self, folder: Path) -> Inputs:
        """Open what `write` wrote, memory-mapped."""
        ...

    def augment(self, inputs: Any, task: Mapping[str, Any], seeds: list[int], labels: Any = None) -> tuple[Any, Any]:
        """Training inputs, each changed by its own seed, and labels of the same geometry (masks) changed with them."""
        ...

    def twin(self, task: Mapping[str, Any], labels: NDArray[np.float64], generator: np.random.Generator) -> Rows:
        """Synthetic rows of the declared schema in which a label (scaled to 0..1) can be learned from the inputs."""
        ...


def modality(name: str) -> Modality:
    """The modality of that name."""
    made: Modality = importlib.import_module(f"bench.data.modalities.{name}").MODALITY
    return made
