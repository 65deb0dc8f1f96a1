"""Data that scikit-learn carries inside: real, small, no download."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, nearest
from bench.data.access import Access
from bench.data.sources import Identity, Rows

# The first rows in published order are one group of writers, the last 500 another.
_DIGITS_TRAIN = 1297


class SklearnSource:
    """`{sklearn: digits, sha256: ...}`; the checksum is over images then labels, little-endian."""

    def __init__(self, declared: Mapping[str, Any], home: Path, access: Access) -> None:
        self.name, self.sha256 = declared["sklearn"], declared["sha256"]
        if self.name not in _LOADERS:
            raise UserError(
                f"source.sklearn is {self.name!r}; known are {', '.join(_LOADERS)}.{nearest(self.name, _LOADERS)}"
            )

    def identity(self) -> Identity:
        return Identity({"sklearn": self.name, "sha256": self.sha256})

    def download(self) -> int:
        return 0

    def load(self, split: str) -> Rows:
        splits, found = _LOADERS[self.name]()
        if found != self.sha256:
            raise UserError(
                f"scikit-learn's {self.name} has SHA-256 {found}, the task declares {self.sha256}; "
                "the installed scikit-learn carries other data than the task was declared for."
            )
        if split not in splits:
            raise UserError(f"scikit-learn's {self.name} has the splits {', '.join(splits)}, not {split!r}.")
        return splits[split]


def _digits() -> tuple[dict[str, Rows], str]:
    from sklearn.datasets import load_digits

    data = load_digits()
    images, labels = data.images.astype("<f8"), data.target.astype("<i8")
    # 0..16 grey levels to 0..255, as other images are.
    pixels = (images * 255 / 16).round().astype("uint8")
    cut = _DIGITS_TRAIN
    splits = {
        "train": Rows({"image": pixels[:cut], "label": labels[:cut]}),
        "test": Rows({"image": pixels[cut:], "label": labels[cut:]}),
    }
    return splits, hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()


_LOADERS = {"digits": _digits}
SOURCE = SklearnSource
