"""Pictures of segmentations: truth and prediction over the image, so that a person can look at what a number means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

# Of Okabe and Ito's palette, which people with any colour vision tell apart.
AGREED, MISSED, FALSE, OTHER = (0, 158, 115), (230, 159, 0), (204, 121, 167), (86, 180, 233)
_LEGEND = (("right", AGREED), ("missed", MISSED), ("false", FALSE), ("wrong class", OTHER))
_SHARE = 0.55  # of the colour over the image
_LEAST = 256  # pixels of a side, smaller images are enlarged


def overlay(
    image: NDArray[np.uint8], truth: NDArray[np.uint8], prediction: NDArray[np.uint8], caption: str
) -> PIL.Image.Image:
    """The image (H, W, C) beside the same with its pixels coloured: right, missed, false, of another class.

    `truth` and `prediction` are class numbers (H, W), 0 the background; a strip below holds the legend and `caption`.
    """
    import numpy as np
    import PIL.Image
    import PIL.ImageDraw

    plain = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    painted = plain.astype(np.float32)
    there, found = truth > 0, prediction > 0
    for colour, where in (
        (AGREED, there & (truth == prediction)),
        (MISSED, there & ~found),
        (FALSE, ~there & found),
        (OTHER, there & found & (truth != prediction)),
    ):
        painted[where] = (1 - _SHARE) * painted[where] + _SHARE * np.array(colour, dtype=np.float32)
    both = np.concatenate([plain, painted.round().astype(np.uint8)], axis=1)
    times = max(1, -(-_LEAST // image.shape[0]))
    drawn = PIL.Image.fromarray(both).resize(
        (both.shape[1] * times, both.shape[0] * times), PIL.Image.Resampling.NEAREST
    )
    sheet = PIL.Image.new("RGB", (drawn.width, drawn.height + 36), (255, 255, 255))
    sheet.paste(drawn)
    pen, left = PIL.ImageDraw.Draw(sheet), 4
    for word, colour in _LEGEND:
        pen.rectangle((left, drawn.height + 4, left + 10, drawn.height + 14), fill=colour)
        pen.text((left + 14, drawn.height + 3), word, fill=(0, 0, 0))
        left += 22 + int(pen.textlength(word))
    pen.text((4, drawn.height + 19), caption, fill=(0, 0, 0))
    return sheet


def spread(values: Sequence[float], count: int) -> list[int]:
    """Places of `count` values from the lowest to the highest, evenly by rank."""
    order = sorted(range(len(values)), key=lambda place: (values[place], place))
    if len(order) <= count:
        return order
    return [order[round(step * (len(order) - 1) / (count - 1))] for step in range(count)] if count > 1 else order[:1]


def write_pictures(
    inputs: Any, ids: Any, truths: Any, predictions: Any, classes: int, folder: Path, count: int = 8
) -> list[Path]:
    """PNG overlays of `count` rows from the worst to the best by their Dice; the files written, worst first.

    `inputs.take(rows)` gives the images of the rows `ids`; masks are (N, H, W). Files are named by rank and row.
    """
    import numpy as np

    from bench.metrics import Truth, metric

    dice = metric("dice").compute
    scores = [
        dice({"mask": predictions[row : row + 1]}, Truth(truths[row : row + 1], classes)) for row in range(len(ids))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for rank, place in enumerate(spread(scores, count), start=1):
        (image,) = inputs.take(np.asarray([ids[place]]))
        file = folder / f"{rank:02d}-row-{int(ids[place])}.png"
        caption = f"row {int(ids[place])}, Dice {100 * scores[place]:.1f}"
        overlay(image, np.asarray(truths[place]), np.asarray(predictions[place]), caption).save(file)
        files.append(file)
    return files
