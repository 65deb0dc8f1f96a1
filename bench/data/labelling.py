"""What preparation needs to know of labels; a problem provides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Published:
    """One published split: a label per row, and what the problem's marks say of the row.

    `groups` are those that training batches are made of (a domain's number), `subgroups` those that a metric looks
    at one by one.
    """

    labels: NDArray[Any]
    groups: NDArray[np.int64] | None = None
    subgroups: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Share:
    """Some rows of a published split."""

    split: str
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The rows of a published split that training and validation are taken from, with all that a run may know of them.

    `positions` are those of the rows in the split's order, `size` is the whole split's.
    """

    size: int
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    labels: NDArray[Any]
    strata: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    subgroups: NDArray[Any] | None = None


@dataclass(frozen=True)
class Division:
    """Which rows are tested on, and which a run may learn and select from: the same for every replicate."""

    tests: Mapping[str, Share]
    pools: Mapping[str, Pool]
    missing: Sequence[str] = ()  # test parts that a mirror lacks


@dataclass(frozen=True)
class Portion:
    """A part of one replicate: places in a pool; `labels` and `groups` stand for the pool's own where given."""

    split: str
    places: NDArray[np.int64]
    labels: NDArray[Any] | None = None
    groups: NDArray[np.int64] | None = None


class Labelling(Protocol):
    """The part of a problem that concerns labels as data."""

    def encode(self, labels: Any) -> NDArray[Any]:
        """Labels as published -> the array kept on disk."""
        ...

    def marks(self, columns: Mapping[str, Any]) -> Mapping[str, NDArray[Any]]:
        """What `Published` holds beside labels, from the columns of a published split."""
        ...

    def divide(self, published: Mapping[str, Published], fold: str | None) -> Division:
        """Which rows are test rows; `published` lacks a split that a mirror does not have."""
        ...

    def portions(self, pools: Mapping[str, Pool], replicate: int) -> Mapping[str, Portion]:
        """`train` and, where there is one, `val`."""
        ...

    def splits(self) -> list[str]:
        """The published splits it reads."""
        ...

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Mapping[str, Any], NDArray[np.float64]]:
        """Synthetic columns (labels as published among them), and the labels scaled to 0..1."""
        ...
