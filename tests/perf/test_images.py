"""Images are decoded once: the first reading prepares them, the second epoch reads what was prepared."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from bench.data.modalities import modality
from bench.data.sources import Rows

pytestmark = pytest.mark.perf
COUNT, SIZE = 600, 224


def photographs() -> Rows:
    """JPEG files in memory, of the size and texture of photographs."""
    drawn = np.random.default_rng(0)
    files = []
    for _ in range(COUNT):
        coarse = PIL.Image.fromarray(drawn.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((500, 375), PIL.Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append({"bytes": file.getvalue()})
    return Rows({"image": files})


def test_a_second_epoch_decodes_nothing(tmp_path: Path, say: Callable[[str], None]) -> None:
    kind = modality("image")
    task = {"inputs": ["image"], "image": {"size": SIZE, "channels": 3, "augment": {}}}
    rows = photographs()

    def rate(work: Callable[[], object]) -> float:
        begun = time.perf_counter()
        work()
        return COUNT / (time.perf_counter() - begun)

    written = rate(lambda: kind.write(rows, task, np.arange(COUNT), tmp_path))

    def epoch() -> None:
        inputs = kind.open(tmp_path)
        order = np.random.default_rng(1).permutation(COUNT)
        for low in range(0, COUNT, 32):
            inputs.take(order[low : low + 32])

    first, second = rate(epoch), rate(epoch)
    say(f"{COUNT} JPEGs of 500 x 375 at {SIZE} x {SIZE}: decoded and written {written:,.0f} a second")
    say(f"    first epoch {first:,.0f} a second, second {second:,.0f}: {second / written:.0f} times the decoding")
    wanted = {"crop": [0.7, 1.0], "flip": True, "jitter": 0.3, "gray": 0.1}
    changed = {**task, "image": {**task["image"], "augment": wanted}}  # type: ignore[dict-item]
    batch = kind.open(tmp_path).take(np.arange(64))
    taken = rate(lambda: kind.augment(batch, changed, list(range(64)))) * 64 / COUNT
    say(f"    crop, flip, jitter and grey: {taken:,.0f} images a second")
