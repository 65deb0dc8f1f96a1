"""Texts: one or two strings per row, kept as a memory-mapped Arrow file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.data.sources import Rows
from bench.declarations.fields import Field

if TYPE_CHECKING:
    import numpy as np
    import pyarrow
    from numpy.typing import NDArray

_WORDS = 24


class TextInputs:
    """Rows of strings; `take` gives one tuple of strings per row."""

    def __init__(self, table: pyarrow.Table) -> None:
        self._columns = [table[name].combine_chunks() for name in table.column_names]

    def __len__(self) -> int:
        return len(self._columns[0])

    def take(self, rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
        picked = [column.take(rows).to_pylist() for column in self._columns]
        return list(zip(*picked, strict=True))

    def lengths(self) -> NDArray[np.int64]:
        import numpy as np
        from pyarrow import compute

        counted = [compute.utf8_length(column).to_numpy(zero_copy_only=False) for column in self._columns]
        total: NDArray[np.int64] = np.sum(counted, axis=0, dtype=np.int64)
        return total

    def content(self) -> NDArray[np.uint64]:
        import numpy as np

        texts = zip(*(column.to_pylist() for column in self._columns), strict=True)
        return np.array([_hash("\x1f".join(row)) for row in texts], dtype=np.uint64)


class Text:
    """The text modality. `text.max_length` is in tokens of the backbone."""

    fields: Mapping[str, Field] = {
        "text": Field(
            "mapping", fields={"max_length": Field("integer", default=128, low=1)}, default={"max_length": 128}
        ),
    }

    def kept(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}

    def write(
        self,
        rows: Rows,
        task: Mapping[str, Any],
        order: NDArray[np.int64],
        folder: Path,
        step: Callable[[int], None] | None = None,
    ) -> None:
        import pyarrow
        from pyarrow import ipc

        columns = {name: pyarrow.array(_strings(rows, name)).take(pyarrow.array(order)) for name in task["inputs"]}
        table = pyarrow.table(columns)
        with pyarrow.OSFile(str(folder / "texts.arrow"), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

    def open(self, folder: Path) -> TextInputs:
        import pyarrow
        from pyarrow import ipc

        return TextInputs(ipc.open_file(pyarrow.memory_map(str(folder / "texts.arrow"))).read_all())

    def augment(self, inputs: Any, task: Mapping[str, Any], seeds: list[int], labels: Any = None) -> tuple[Any, Any]:
        return inputs, labels

    def twin(self, task: Mapping[str, Any], labels: NDArray[np.float64], generator: np.random.Generator) -> Rows:
        columns: dict[str, list[str]] = {name: [] for name in task["inputs"]}
        for label in labels:
            for texts in columns.values():
                words = generator.integers(_WORDS, size=int(generator.integers(3, 12)))
                marked = generator.random(len(words)) < 0.5
                words[marked] = round(float(label) * (_WORDS - 1))
                texts.append(" ".join(f"w{word}" for word in words))
        return Rows(columns)


def _strings(rows: Rows, name: str) -> list[str]:
    if name not in rows.columns:
        raise UserError(f"inputs names the column {name!r}; the data has {', '.join(rows.columns)}.")
    texts = list(rows.columns[name])
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"The column {name!r} holds something other than text.")
    return texts


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")


MODALITY = Text()
