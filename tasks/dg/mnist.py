"""RotatedMNIST and ColoredMNIST as DomainBed defines them (Gulrajani, Lopez-Paz. 2021. arXiv:2007.01434).

Both take all 70,000 digits, training images before test images, put them in one random order and deal them out to the
environments in turn, so that each image is in one environment only. DomainBed draws the order and the noise anew for
every seed of a run; here they are drawn once, from `seed`, since a test row may not change with the replicate.

RotatedMNIST (Ghifary et al. 2015): environment k is turned counter-clockwise by 15 k degrees (bilinear, 0 outside).

ColoredMNIST (Arjovsky et al. 2019): the label is 1 for digits below 5, and wrong for a quarter of the images. The
colour agrees with that label in 90, 80 and 10 % of an environment's images. The image is drawn in channel 1 where the
colour is 1 and in channel 0 otherwise; the other of the two is empty. Images have one or three channels here: the
third is empty in all of them, and the backbone `mnist-cnn-colour` leaves it out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Load = Callable[[str], Mapping[str, Any]]
Splits = dict[str, dict[str, Any]]

LABEL_NOISE = 0.25
DISAGREEING = {"plus90": 0.1, "plus80": 0.2, "minus90": 0.9}  # environment -> how often the colour is not the label's


def rotated(load: Load, seed: int = 0, angles: Sequence[int] = (0, 15, 30, 45, 60, 75)) -> Splits:
    """Split `all`: `image` uint8 (70000, 28, 28), `label` 0..9, `domain` the angle's digits."""
    import numpy as np

    pixels, labels = digits(load)
    dealt = deal(len(pixels), len(angles), stream(seed))
    images = [turned(pixels[rows], angle) for rows, angle in zip(dealt, angles, strict=True)]
    domains = [str(angle) for rows, angle in zip(dealt, angles, strict=True) for _ in rows]
    return {"all": {"image": np.concatenate(images), "label": labels[np.concatenate(dealt)], "domain": domains}}


def colored(load: Load, seed: int = 0) -> Splits:
    """Split `all`: `image` uint8 (70000, 28, 28, 3), `label` 0 or 1, `domain` plus90, plus80 or minus90."""
    import numpy as np

    pixels, digit = digits(load)
    drawn = stream(seed)
    dealt = deal(len(pixels), len(DISAGREEING), drawn)
    images = np.zeros((*pixels.shape, 3), dtype=np.uint8)
    labels, domains, done = np.empty(len(pixels), dtype=np.int64), [], 0
    for rows, (domain, rate) in zip(dealt, DISAGREEING.items(), strict=True):
        label = (digit[rows] < 5) ^ (drawn.random(len(rows)) < LABEL_NOISE)
        colour = label ^ (drawn.random(len(rows)) < rate)
        places = np.arange(done, done + len(rows))
        images[places, :, :, colour.astype(np.int64)] = pixels[rows]
        labels[places] = label
        domains += [domain] * len(rows)
        done += len(rows)
    return {"all": {"image": images, "label": labels, "domain": domains}}


def digits(load: Load) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (N, 28, 28) and digits (N,): the training images, then the test images."""
    import numpy as np

    parts = [load(split) for split in ("train", "test")]
    pixels = np.stack([_grey(image) for part in parts for image in part["image"]])
    labels = [int(label) for part in parts for label in part["label"]]
    return pixels, np.array(labels, dtype=np.int64)


def stream(seed: int) -> np.random.Generator:
    """Random numbers that are the same on every machine."""
    import numpy as np

    return np.random.Generator(np.random.Philox(key=seed))


def deal(count: int, hands: int, drawn: np.random.Generator) -> list[NDArray[np.int64]]:
    """The rows of each environment: a random order, of which environment k gets the places k, k + hands, ..."""
    order = drawn.permutation(count)
    return [order[place::hands] for place in range(hands)]


def turned(pixels: NDArray[np.uint8], angle: int) -> NDArray[np.uint8]:
    """Images (N, height, width) turned counter-clockwise about their centre: bilinear, 0 where nothing was."""
    import numpy as np
    import PIL.Image

    how = PIL.Image.Resampling.BILINEAR
    images = (PIL.Image.fromarray(image).rotate(angle, resample=how, fillcolor=0) for image in pixels)
    return np.stack([np.asarray(image, dtype=np.uint8) for image in images])


def _grey(image: Any) -> NDArray[np.uint8]:
    """An array, a PIL image, or an encoded image in a dict -> (height, width)."""
    import numpy as np
    import PIL.Image

    if isinstance(image, dict):
        image = PIL.Image.open(io.BytesIO(image["bytes"]))
    if not isinstance(image, np.ndarray):
        image = image.convert("L")
    return np.asarray(image, dtype=np.uint8)
