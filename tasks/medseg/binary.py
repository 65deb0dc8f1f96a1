"""Masks in which every number but 0 is the foreground."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


def binary(load: Callable[[str], Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The published columns, `label` as masks of 0 and 1."""
    made = {split: dict(load(split)) for split in SPLITS}
    for columns in made.values():
        columns["label"] = Foreground(columns["label"])
    return made


class Foreground:
    """A column of masks (height, width), each uint8 of 0 and 1, made when it is asked for."""

    def __init__(self, masks: Any) -> None:
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        import numpy as np

        found: NDArray[np.uint8] = (np.asarray(self._masks[row]) != 0).astype(np.uint8)
        return found

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[row] for row in range(len(self)))
