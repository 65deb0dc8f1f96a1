"""Per-item evidence: for each record and test part, what every test row adds to the score.

One packed file beside the board, named by the digest of what it holds: arrays in a zip, no pickles.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.core.files import write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

_DATE = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is written


def digest_of(array: NDArray[Any]) -> str:
    """The digest of an array's shape and values."""
    import numpy as np

    made = np.ascontiguousarray(array, dtype=np.float64)
    return hashlib.sha256(repr(made.shape).encode() + made.astype("<f8").tobytes()).hexdigest()


def write_evidence(path: Path, arrays: Arrays) -> None:
    """Write arrays under names of letters, digits and `.`; shares of 0 and 1 take one bit a row."""
    import numpy as np

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(arrays):
            values = np.asarray(arrays[name], dtype=np.float64)
            bits = bool(((values == 0) | (values == 1)).all())
            made = np.packbits(values.astype(bool)) if bits else values.astype("<f8")
            head = np.array([len(values), bits], dtype="<i8")
            entry = zipfile.ZipInfo(f"{name}.bin", _DATE)
            file.writestr(entry, head.tobytes() + made.tobytes(), zipfile.ZIP_DEFLATED)
    write_atomic(path, packed.getvalue())


def read_evidence(path: Path) -> dict[str, NDArray[Any]]:
    """What `write_evidence` wrote; UserError for a file that is none."""
    import numpy as np

    try:
        with zipfile.ZipFile(path) as file:
            made = {}
            for entry in file.infolist():
                data = file.read(entry)
                count, bits = (int(value) for value in np.frombuffer(data[:16], dtype="<i8"))
                body = data[16:]
                if bits:
                    values = np.unpackbits(np.frombuffer(body, np.uint8), count=count).astype(np.float64)
                else:
                    values = np.frombuffer(body, "<f8").astype(np.float64)
                if len(values) != count:
                    raise ValueError("an array is cut short")
                made[entry.filename.removesuffix(".bin")] = values
            return made
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as evidence: {error}.") from None
