"""What preparation needs to know of labels; a problem provides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Labelling(Protocol):
    """The part of a problem that concerns labels as data."""

    def encode(self, labels: Any) -> NDArray[Any]:
        """Labels as published -> the array kept on disk."""
        ...

    def strata(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """A group per row, for stratified splits."""
        ...

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Any, NDArray[np.float64]]:
        """Synthetic labels as published, and the same scaled to 0..1."""
        ...
