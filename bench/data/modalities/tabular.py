"""Tables: numeric columns, scaled once to -1..1 and kept as one memory-mapped array of floats."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError, nearest
from bench.data.sources import Rows
from bench.declarations.fields import Field, OneOf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _is_range(value: list[float]) -> str:
    return "" if value[0] < value[1] else "a range [low, high] whose low is below its high"


_RANGE = Field("list", item=Field("number"), length=2, test=_is_range)
_TWIN_NOISE = 0.05  # of a column's range


class TabularInputs:
    """Rows of numbers; `take` gives float32 (rows, columns)."""

    def __init__(self, array: NDArray[np.float32]) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        import numpy as np

        return np.ascontiguousarray(self._array[rows])

    def lengths(self) -> NDArray[np.int64]:
        import numpy as np

        return np.zeros(len(self), dtype=np.int64)

    def content(self) -> NDArray[np.uint64]:
        import numpy as np

        digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in self._array)
        return np.array([int.from_bytes(found, "big") for found in digests], dtype=np.uint64)


class Tabular:
    """The tabular modality.

    `tabular.range` holds for all columns, `tabular.ranges` for each: declared and not measured, so that no row, of
    whatever part, has a say in how another is scaled. A value outside its range is a mistake in the declaration.
    `tabular.noise` is the standard deviation of the Gaussian noise added in training, in scaled units.
    """

    fields: Mapping[str, Field] = {
        "tabular": Field(
            "mapping",
            required=True,
            fields={
                "range": _RANGE,
                "ranges": Field("mapping", values=_RANGE),
                "noise": Field("number", default=0.0, low=0),
            },
            groups=(OneOf({"range": (), "ranges": ()}, required=True),),
        ),
    }

    def kept(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        return {key: task["tabular"][key] for key in ("range", "ranges") if key in task["tabular"]}

    def write(
        self,
        rows: Rows,
        task: Mapping[str, Any],
        order: NDArray[np.int64],
        folder: Path,
        step: Callable[[int], None] | None = None,
    ) -> None:
        import numpy as np
        from numpy.lib.format import open_memmap

        names = list(task["inputs"])
        ranges = {name: _range(task, name) for name in names}
        array = open_memmap(folder / "table.npy", mode="w+", dtype=np.float32, shape=(len(order), len(names)))
        for place, name in enumerate(names):
            low, high = ranges[name]
            values = _numbers(rows, name)[order]
            _refuse_outside(values, name, low, high)
            array[:, place] = (values - low) / (high - low) * 2 - 1
        array.flush()
        if step is not None:
            step(len(order))

    def open(self, folder: Path) -> TabularInputs:
        import numpy as np

        return TabularInputs(np.load(folder / "table.npy", mmap_mode="r"))

    def augment(
        self, inputs: NDArray[np.float32], task: Mapping[str, Any], seeds: list[int], labels: Any = None
    ) -> tuple[NDArray[np.float32], Any]:
        import numpy as np

        noise = float(task["tabular"].get("noise") or 0)
        if not noise:
            return inputs, labels
        changed = np.empty_like(inputs)
        for place, seed in enumerate(seeds):
            drawn = np.random.Generator(np.random.Philox(key=seed))
            changed[place] = inputs[place] + noise * drawn.standard_normal(inputs.shape[1])
        return changed, labels

    def twin(self, task: Mapping[str, Any], labels: NDArray[np.float64], generator: np.random.Generator) -> Rows:
        """Each column is a wave over the labels, of a frequency of its own, and a little noise, within its range."""
        import numpy as np

        columns = {}
        for place, name in enumerate(task["inputs"]):
            low, high = _range(task, name)
            wave = 0.5 - 0.4 * np.cos(np.pi * labels * (1 + place % 4))
            noisy = np.clip(wave + _TWIN_NOISE * generator.standard_normal(len(labels)), 0, 1)
            columns[name] = low + (high - low) * noisy
        return Rows(columns)


def _range(task: Mapping[str, Any], name: str) -> tuple[float, float]:
    """The declared range of a column."""
    declared = task["tabular"]
    if "range" in declared:
        low, high = declared["range"]
    elif name in declared["ranges"]:
        low, high = declared["ranges"][name]
    else:
        hint = nearest(name, declared["ranges"])
        raise UserError(f"tabular.ranges has no range for the column {name!r}, which inputs names.{hint}")
    return float(low), float(high)


def _numbers(rows: Rows, name: str) -> NDArray[np.float64]:
    """A column as float64; UserError where it holds anything but numbers."""
    import numpy as np

    if name not in rows.columns:
        hint = nearest(name, rows.columns)
        raise UserError(f"inputs names the column {name!r}; the data has {', '.join(rows.columns)}.{hint}")
    values = rows.columns[name]
    try:
        found = values if isinstance(values, np.ndarray) else np.asarray(list(values))
    except ValueError:  # rows of several lengths
        found = np.empty(0, dtype=object)
    if found.dtype.kind not in "biuf" or found.ndim != 1:
        raise UserError(f"The column {name!r} holds something other than numbers.")
    return found.astype(np.float64)


def _refuse_outside(values: NDArray[np.float64], name: str, low: float, high: float) -> None:
    import numpy as np

    missing = np.flatnonzero(~np.isfinite(values))
    if len(missing):
        raise UserError(
            f"The column {name!r} has {len(missing):,} gaps (no number, or an infinite one), the first in row "
            f"{missing[0]}; tabular inputs must be numbers throughout."
        )
    if len(values) and (values.min() < low or values.max() > high):
        raise UserError(
            f"The column {name!r} runs from {values.min():g} to {values.max():g}, beyond its declared range "
            f"[{low:g}, {high:g}]; widen tabular.range or tabular.ranges."
        )


MODALITY = Tabular()
