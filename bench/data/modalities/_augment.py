"""Training images, each changed by numbers drawn from its own seed; masks are changed with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.declarations.fields import Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _is_share(value: list[float]) -> str:
    return "" if 0 < value[0] <= value[1] <= 1 else "[low, high] with 0 < low <= high <= 1"


AUGMENT = Field(
    "mapping",
    default={},
    fields={
        "flip": Field("boolean", default=False),  # left to right, one image in two
        "vflip": Field("boolean", default=False),  # top to bottom, one image in two
        "shift": Field("integer", default=0, low=0),  # pixels, up to so many each way; what comes in is black
        "crop": Field("list", item=Field("number"), length=2, test=_is_share),  # share of the area, sides 3:4 to 4:3
        "rotate": Field("number", low=0, high=180),  # degrees, up to so many each way
        # Brightness, contrast and saturation times 1 - jitter .. 1 + jitter, hue turned by up to jitter of the circle
        # (at most half of it) each way: torchvision's ColorJitter(jitter, jitter, jitter, jitter) in that order.
        "jitter": Field("number", low=0, high=1),
        "gray": Field("number", low=0, high=1),  # the share of images without colour
    },
)
_NUMBERS = 14  # drawn for every image, so that one change does not shift another's draws
_LUMA = (0.299, 0.587, 0.114)


def augmented(
    images: NDArray[np.uint8], wanted: Mapping[str, Any], seeds: list[int], masks: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Images (rows, height, width, channels) and masks (rows, height, width), each row changed by its own seed.

    A crop and a rotation interpolate images bilinearly and masks to the nearest pixel. The crop is that of Szegedy et
    al. (2015), arXiv:1409.4842, drawn once and cut at the image's border.
    """
    import numpy as np

    if not any(wanted.values()):
        return images, masks
    changed = np.empty_like(images)
    moved = None if masks is None else np.empty_like(masks)
    for place, seed in enumerate(seeds):
        drawn = np.random.Generator(np.random.Philox(key=seed)).random(_NUMBERS)
        changed[place] = _coloured(_placed(images[place], wanted, drawn, smooth=True), wanted, drawn)
        if moved is not None and masks is not None:
            moved[place] = _placed(masks[place][..., None], wanted, drawn, smooth=False)[..., 0]
    return changed, moved


def _placed(image: NDArray[np.uint8], wanted: Mapping[str, Any], drawn: Any, smooth: bool) -> NDArray[np.uint8]:
    """Where things are: crop, rotation, shift, flips."""
    import numpy as np

    if wanted.get("crop") or wanted.get("rotate"):
        image = _resampled(image, wanted, drawn, smooth)
    if shift := wanted.get("shift"):
        down, right = (int(drawn[place] * (2 * shift + 1)) for place in (4, 5))
        height, width = image.shape[:2]
        image = np.pad(image, ((shift, shift), (shift, shift), (0, 0)))[down : down + height, right : right + width]
    if wanted.get("flip") and drawn[6] < 0.5:
        image = image[:, ::-1]
    if wanted.get("vflip") and drawn[7] < 0.5:
        image = image[::-1]
    return image


def _resampled(image: NDArray[np.uint8], wanted: Mapping[str, Any], drawn: Any, smooth: bool) -> NDArray[np.uint8]:
    import math

    import numpy as np
    import PIL.Image

    height, width, channels = image.shape
    how = PIL.Image.Resampling.BILINEAR if smooth else PIL.Image.Resampling.NEAREST
    drawing = PIL.Image.fromarray(image if channels > 1 else image[..., 0])
    if crop := wanted.get("crop"):
        area = width * height * (crop[0] + (crop[1] - crop[0]) * drawn[0])
        ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * drawn[1])
        across, down = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
        left, top = (width - across) * drawn[2], (height - down) * drawn[3]
        drawing = drawing.resize((width, height), how, box=(left, top, left + across, top + down))
    if degrees := wanted.get("rotate"):
        drawing = drawing.rotate((2 * drawn[8] - 1) * degrees, how)
    return np.asarray(drawing, dtype=np.uint8).reshape(height, width, channels)


def _coloured(image: NDArray[np.uint8], wanted: Mapping[str, Any], drawn: Any) -> NDArray[np.uint8]:
    """What things look like: brightness, contrast, saturation, hue, no colour at all."""
    import numpy as np

    jitter, colour = float(wanted.get("jitter") or 0), image.shape[-1] == 3
    if jitter:
        image = _jittered(image, jitter, drawn)
        if colour:
            image = _turned(image, min(jitter, 0.5) * (2 * drawn[13] - 1))
    if colour and drawn[11] < float(wanted.get("gray") or 0):
        image = np.broadcast_to(_luma(image.astype(np.float32)).round().astype(np.uint8), image.shape)
    return image


def _jittered(image: NDArray[np.uint8], jitter: float, drawn: Any) -> NDArray[np.uint8]:
    import numpy as np

    brightness, contrast, saturation = (np.float32(1 - jitter + 2 * jitter * drawn[place]) for place in (9, 10, 12))
    pixels = np.minimum(image.astype(np.float32) * brightness, 255)
    middle = _luma(pixels).mean()
    pixels = np.clip(middle + (pixels - middle) * contrast, 0, 255)
    if image.shape[-1] == 3:
        luma = _luma(pixels)
        pixels = np.clip(luma + (pixels - luma) * saturation, 0, 255)
    changed: NDArray[np.uint8] = pixels.round().astype(np.uint8)
    return changed


def _turned(image: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Colours (height, width, 3) with their hue turned by `share` of the circle."""
    import numpy as np
    import PIL.Image

    hue, *others = PIL.Image.fromarray(image).convert("HSV").split()
    moved = hue.point([(value + round(255 * share)) % 256 for value in range(256)])
    turned: NDArray[np.uint8] = np.asarray(PIL.Image.merge("HSV", (moved, *others)).convert("RGB"), dtype=np.uint8)
    return turned


def _luma(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    return pixels @ np.array(_LUMA, dtype=np.float32)[:, None] if pixels.shape[-1] == 3 else pixels
