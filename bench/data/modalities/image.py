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
            try:
                array[place] = _decode(images[int(row)], size, channels)
            except UserError as error:
                raise UserError(f"{task['name']}, row {int(row)} of {column}: {error}") from None
            if step is not None and ((place + 1) % _TOLD == 0 or place + 1 == len(order)):
                step(place + 1)
        array.flush()

    def open(self, folder: Path) -> ImageInputs:
        import numpy as np

        return ImageInputs(np.load(folder / "images.npy", mmap_mode="r"))

    def augment(
        self, inputs: NDArray[np.uint8], task: Mapping[str, Any], seeds: list[int], labels: Any = None
    ) -> tuple[NDArray[np.uint8], Any]:
        masks = labels if labels is not None and labels.ndim == 3 else None
        images, moved = augmented(inputs, task["image"]["augment"], seeds, masks)
        return images, labels if masks is None else moved

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
    """An image as bytes, a path, a PIL image or an array -> (size, size, channels) uint8; transparency is dropped."""
    import numpy as np
    import PIL.Image

    image = _opened(image)
    if not isinstance(image, PIL.Image.Image):
        image = PIL.Image.fromarray(_bytes(_flat(np.asarray(image))))
    elif image.mode.startswith(("I", "F")):
        depth = np.asarray(image)
        # Files of 32 bits a pixel hold 16-bit grey levels where they are within their range.
        whole = depth.dtype.kind in "iu" and depth.min() >= 0 and depth.max() < 2**16
        image = PIL.Image.fromarray(_bytes(depth.astype(np.uint16) if whole else depth))
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size), PIL.Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def _opened(image: Any) -> Any:
    """What a row holds, files decoded; UserError where that fails."""
    import PIL.Image

    if isinstance(image, Mapping):
        image = image.get("bytes")
    if image is None:
        raise UserError("An image is missing: the row holds none.")
    if isinstance(image, bytes):
        image = io.BytesIO(image)
    if not isinstance(image, (io.BytesIO, str, Path)):
        return image
    try:
        opened = PIL.Image.open(image)
        opened.load()
    except PIL.UnidentifiedImageError:
        what = "its bytes are" if isinstance(image, io.BytesIO) else f"{image} is"
        raise UserError(f"An image cannot be decoded: {what} of no known format.") from None
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise UserError(f"An image cannot be decoded: {error}") from None
    return opened


def _flat(pixels: NDArray[Any]) -> NDArray[Any]:
    """An array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), its single channel without an axis; UserError for others."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if 0 in pixels.shape or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise UserError(
            f"An image is an array of shape {pixels.shape}; expected (height, width), with 1, 3 or 4 channels last."
        )
    return pixels


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of any depth as 0..255; UserError where their scale cannot be known.

    uint16 is taken for 16 bits, and whole numbers of any other type for bytes, whatever one image holds: a scale that
    hung on an image's brightest pixel would differ from image to image.
    """
    import numpy as np

    low, high = pixels.min(), pixels.max()
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        return (pixels / 257).round().astype(np.uint8)
    if pixels.dtype.kind in "iu" and low >= 0 and high <= 255:
        return pixels.astype(np.uint8)
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        return (pixels * 255).round().astype(np.uint8)
    raise UserError(
        f"An image holds {pixels.dtype} from {low} to {high}; expected bytes, 16 bits (uint16), or numbers in 0..1."
    )


MODALITY = Image()
