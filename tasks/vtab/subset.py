"""VTAB-1k's thousand: the first rows of the published training data, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Columns = Mapping[str, Any]


def subset(
    load: Callable[[str], Columns],
    take: Mapping[str, int],
    whole: Sequence[str],
    bins: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, dict[str, Any]]:
    """The first `take[SPLIT]` rows of some splits, and all rows of those in `whole`.

    `bins: {COLUMN: [n, k]}` groups n neighbouring class numbers to k, as VTAB does: number c becomes floor(c * k / n).
    """
    made: dict[str, dict[str, Any]] = {split: dict(load(split)) for split in [*take, *whole]}
    for split, rows in take.items():
        made[split] = {name: First(column, rows) for name, column in made[split].items()}
    for name, (published, kept) in (bins or {}).items():
        for columns in made.values():
            columns[name] = [int(number) * kept // published for number in columns[name]]
    return made


class First:
    """The first rows of a column; none is read before it is indexed."""

    def __init__(self, column: Any, rows: int) -> None:
        self._column, self._rows = column, min(rows, len(column))

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> Any:
        if not 0 <= row < self._rows:
            raise IndexError(row)
        return self._column[row]

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(self._rows))
