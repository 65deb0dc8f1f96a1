"""Segmentation: one of the declared classes per pixel."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.declarations.fields import Field
from bench.problems._base import Base

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_SMOOTH = 1.0  # pixels: keeps the loss of a class that an image lacks from being all or nothing
_BLOBS = 4  # the most per image of a twin


class Segmentation(Base):
    """Saves `mask` uint8 (N, height, width), the class of the highest output; class 0 is the background.

    A pixel whose outputs are not all finite is background.
    """

    fields: Mapping[str, Field] = {"classes": Field("list", required=True, item=Field(("text", "integer")))}
    usual = "unet"
    saves = "mask"

    def __init__(self, task: Mapping[str, Any]) -> None:
        super().__init__(task)
        self.names = [str(name) for name in task["classes"]]
        if len(set(self.names)) != len(self.names) or not 2 <= len(self.names) <= 256:
            raise UserError(
                f"classes of {task['name']} must be 2 to 256 different names, the first that of the background."
            )
        if "image" not in task:
            raise UserError(f"{task['name']}: segmentation is of images; problem must be image-segmentation.")

    def outputs(self) -> int:
        """As many per pixel."""
        return len(self.names)

    def classes(self) -> int | None:
        return len(self.names)

    def encode(self, labels: Any) -> NDArray[np.uint8]:
        """Masks of class numbers -> uint8 (N, size, size), resized to the nearest pixel.

        Each is an array (H, W) or (H, W, 1), a PIL image, a path, or a mapping with an image file's `bytes`. With
        two classes a mask of 0 and 255 is one of 0 and 1. UserError for a number that is no class.
        """
        import numpy as np

        size = int(self.task["image"]["size"])
        found = np.empty((len(labels), size, size), dtype=np.uint8)
        for place in range(len(labels)):
            found[place] = _resized(self._numbers(_opened(labels[place])), size)
        return found

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Soft Dice + cross-entropy of outputs (B, C, H, W) and labels (B, H, W), in float32.

        Dice is computed for each image and each foreground class, with 1 added to numerator and denominator, and
        averaged over both, so that the loss is a mean over images however they are batched.
        """
        from torch.nn.functional import cross_entropy, one_hot

        scores, labels = outputs.float(), labels.long()
        shares = scores.softmax(1)[:, 1:].flatten(2)
        true = one_hot(labels, scores.shape[1]).movedim(-1, 1)[:, 1:].flatten(2).float()
        shared, total = (shares * true).sum(2), shares.sum(2) + true.sum(2)
        dice = 1 - (2 * shared + _SMOOTH) / (total + _SMOOTH)
        return dice.mean() + cross_entropy(scores, labels)

    def decode(self, outputs: Tensor) -> dict[str, NDArray[Any]]:
        scores = outputs.float()
        found = scores.argmax(1).masked_fill(~scores.isfinite().all(1), 0)
        return {"mask": found.byte().numpy()}

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Mapping[str, Any], NDArray[np.float64]]:
        """Discs of the classes in turn; scaled (count, size, size), class / (classes - 1) at each pixel."""
        import numpy as np

        size, foreground = int(self.task["image"]["size"]), len(self.names) - 1
        masks = np.zeros((count, size, size), dtype=np.uint8)
        down, across = np.mgrid[0:size, 0:size]
        for place in range(count * min(foreground, _BLOBS)):
            middle, radius = generator.uniform(0, size, 2), generator.uniform(size / 8, size / 4) + 1
            disc = (down - middle[0]) ** 2 + (across - middle[1]) ** 2 <= radius**2
            masks[place % count][disc] = 1 + place % foreground
        return {self.task["label"]: masks}, masks / foreground

    def _numbers(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """(H, W) of class numbers; UserError where one is no class."""
        import numpy as np

        if mask.ndim != 2 or not mask.size:
            raise UserError(f"{self.task['name']}: a mask has the shape {mask.shape}; expected (height, width).")
        values = np.unique(mask)
        if len(self.names) == 2 and values[-1] == 255 and values[0] in (0, 255) and len(values) <= 2:
            mask = mask // 255
            values = values // 255
        wrong = [value for value in values.tolist() if not (0 <= value < len(self.names) and value == int(value))]
        if wrong:
            raise UserError(
                f"{self.task['name']}: a mask holds the value {wrong[-1]}; {len(self.names)} classes are declared, "
                f"so its values are the class numbers 0 to {len(self.names) - 1}."
            )
        return mask.astype(np.uint8)


def _opened(mask: Any) -> NDArray[Any]:
    """The values of a mask, without a channel axis; the numbers, not the colours, of an image with a palette."""
    import numpy as np
    import PIL.Image

    if isinstance(mask, Mapping):
        mask = io.BytesIO(mask["bytes"])
    elif isinstance(mask, bytes):
        mask = io.BytesIO(mask)
    if isinstance(mask, (io.BytesIO, str, Path)):
        try:
            mask = PIL.Image.open(mask)
            mask.load()
        except OSError as error:
            raise UserError(f"A mask cannot be decoded: {error}") from None
    found = np.asarray(mask)
    if found.ndim == 3 and (found == found[..., :1]).all():  # one channel, or grey saved as colour
        found = found[..., 0]
    return found


def _resized(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    import numpy as np
    import PIL.Image

    if mask.shape == (size, size):
        return mask
    image = PIL.Image.fromarray(mask).resize((size, size), PIL.Image.Resampling.NEAREST)
    return np.asarray(image, dtype=np.uint8)


PROBLEM = Segmentation
