"""Published splits that a protocol does not keep apart."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any


def pooled(load: Callable[[str], Mapping[str, Any]], splits: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Split `all`: the rows of `splits`, one after the other."""
    parts = [load(split) for split in splits]
    return {"all": {name: Joined([part[name] for part in parts]) for name in parts[0]}}


class Joined:
    """Columns one after the other; a row is read when it is asked for."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(len(part) for part in parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: int) -> Any:
        if not 0 <= row < len(self):
            raise IndexError(row)
        part = bisect_right(self._starts, row) - 1
        return self._parts[part][row - self._starts[part]]

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self._parts)
