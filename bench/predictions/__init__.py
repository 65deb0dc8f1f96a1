"""Per-example predictions on disk: one safetensors file per checkpoint and part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.core.files import write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

CANDIDATES = ("best", "last")


def path(folder: Path, candidate: str, part: str) -> Path:
    """The file of a run's predictions: `candidate` is best or last, `part` is val, test or test-NAME."""
    return folder / "predictions" / f"{candidate}.{part}.safetensors"


def save(folder: Path, candidate: str, part: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays of equal first dimension, one of them `ids` (int64): the row's number in its published split."""
    import numpy as np
    from safetensors.numpy import save as serialise

    if len({len(array) for array in arrays.values()}) != 1 or "ids" not in arrays:
        raise ValueError("predictions need `ids` and arrays of one length")
    target = path(folder, candidate, part)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, serialise({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def load(folder: Path, candidate: str, part: str) -> dict[str, NDArray[Any]]:
    """Read what `save` wrote."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    target = path(folder, candidate, part)
    try:
        arrays: dict[str, NDArray[Any]] = load_file(target)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The predictions in {target} cannot be read: {error}") from None
    return arrays


def parts(folder: Path, candidate: str) -> list[str]:
    """The parts that were predicted at a candidate checkpoint."""
    files = (folder / "predictions").glob(f"{candidate}.*.safetensors")
    return sorted(file.name.partition(".")[2].removesuffix(".safetensors") for file in files)
