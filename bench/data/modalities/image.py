"""Images: decoded and resized once, kept as one memory-mapped array of bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.data.modalities._augment import AUGMENT, augmented
from bench.data.sources import Rows
from bench.declarations.fields import Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TOLD = 64  # images between two words on how far the writing is


class ImageInputs:
    """Images of one size; `take` gives uint8 (rows, height, width, channels)."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        import numpy as np

        return np.ascontiguousarray(self._array[rows])

    def lengths(self) -> NDArray[np.int64]:
        import numpy as np

        return np.zeros(len(self), dtype=np.int64)

    def content(self) -> NDArray[np.uint64]:
        import numpy as np

        digests = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in self._array)
        return np.array([int.from_bytes(found, "big") for found in digests], dtype=np.uint64)


class Image:
    """The image modality. Images are resized to `image.size` (bilinear) when they are decoded."""

    fields: Mapping[str, Field] = {
        "image": Field(
            "mapping",
            required=True,
            fields={
                "size": Field("integer", required=True, low=1),
                "channels": Field("integer", default=3, choices=(1, 3)),
                "augment": AUGMENT,
            },
        ),
    }

    def kept(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"size": task["image"]["size"], "channels": task["image"]["channels"]}

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

        (column,) = task["inputs"]
        if column not in rows.columns:
            raise UserError(f"inputs names the column {column!r}; the data has {', '.join(rows.columns)}.")
        size, channels = task["image"]["size"], task["image"]["channels"]
        shape = (len(order), size, size, channels)
        images = rows.columns[column]
        array = open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        for place, row in enumerate(order):
            array[place] = _decode(images[int(row)], size, channels)
            if step is not None and (place + 1) % _TOLD == 0:
                step(place + 1)
        array.flush()

    def open(self, folder: Path) -> ImageInputs:
        import numpy as np

        return ImageInputs(np.load(folder / "images.npy", mmap_mode="r"))

    def augment(
        self, inputs: NDArray[np.uint8], task: Mapping[str, Any], seeds: list[int], labels: Any = None
    ) -> tuple[NDArray[np.uint8], Any]:
        return augmented(inputs, task["image"]["augment"], seeds, labels)

    def twin(self, task: Mapping[str, Any], labels: NDArray[np.float64], generator: np.random.Generator) -> Rows:
        """Waves in the direction of the label; of masks (rows, size, size), their classes as brightness."""
        import numpy as np

        size, channels = task["image"]["size"], task["image"]["channels"]
        noise = generator.integers(0, 64, size=(len(labels), size, size, channels))
        if labels.ndim == 3:
            shown = 2 * labels[..., None] - 1
        else:
            angle = np.pi * labels[:, None, None, None]
            down, across = np.mgrid[0:size, 0:size] / size * 6
            shown = np.sin(np.cos(angle) * across[None, :, :, None] + np.sin(angle) * down[None, :, :, None])
        images = (noise + 95 * (1 + shown)).astype(np.uint8)
        return Rows({task["inputs"][0]: images if channels == 3 else images[..., 0]})


def _decode(image: Any, size: int, channels: int) -> NDArray[np.uint8]:
    """An image as bytes, a path, a PIL image or an array -> (size, size, channels) uint8."""
    import numpy as np
    import PIL.Image

    if isinstance(image, dict):
        image = io.BytesIO(image["bytes"])
    if isinstance(image, (io.BytesIO, str, Path)):
        try:
            image = PIL.Image.open(image)
            image.load()
        except OSError as error:
            raise UserError(f"An image cannot be decoded: {error}") from None
    if not isinstance(image, np.ndarray) and image.mode.startswith(("I", "F")):
        image = np.asarray(image)
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(_bytes(image))
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size), PIL.Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of any depth as 0..255; UserError where their scale cannot be known."""
    import numpy as np

    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind in "ui" and pixels.min() >= 0 and pixels.max() < 2**16:
        return (pixels / 257).round().astype(np.uint8) if pixels.dtype.itemsize > 1 else pixels.astype(np.uint8)
    if pixels.dtype.kind == "f" and pixels.min() >= 0 and pixels.max() <= 1:
        return (pixels * 255).round().astype(np.uint8)
    raise UserError(
        f"An image holds {pixels.dtype} from {pixels.min()} to {pixels.max()}; "
        "expected bytes, 16 bits, or numbers in 0..1."
    )


MODALITY = Image()
