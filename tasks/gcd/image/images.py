"""Training images of the data sets that category discovery is measured on, in an order that says nothing of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.canonical import digest
from bench.core.errors import UserError

Load = Callable[[str], Mapping[str, Any]]
Splits = dict[str, dict[str, Any]]


def cub(load: Load) -> Splits:
    """Split `train`: `image` (a path) and `label` (0..199) of the published training images of CUB-200-2011."""
    files = _Files(load("")["file"])
    images, classes, training = (
        dict(files.table(name)) for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt")
    )
    root = files.named("images.txt").parent / "images"
    return _split([(root / images[one], int(classes[one]) - 1) for one in images if training[one] == "1"])


def aircraft(load: Load) -> Splits:
    """Split `train`: `image` (a path) and `label` of the published training and validation images of FGVC-Aircraft.

    A label is the place of the variant among the sorted ones (0..99).
    """
    files = _Files(load("")["file"])
    rows = list(files.table("images_variant_trainval.txt"))
    places = {name: place for place, name in enumerate(sorted({name for _, name in rows}))}
    root = files.named("images_variant_trainval.txt").parent / "images"
    return _split([(root / f"{one}.jpg", places[name]) for one, name in rows])


def herbarium(load: Load) -> Splits:
    """Split `train` of the files `small-train/CATEGORY/NAME.jpg`: `image` (a path) and `label` (the category)."""
    found = [path for path in load("")["file"] if path.parent.parent.name == "small-train" and path.suffix == ".jpg"]
    if not found:
        raise UserError("The archive holds no files small-train/CATEGORY/NAME.jpg, as Herbarium 2019's do.")
    return _split([(path, path.parent.name) for path in found])


def imagenet100(load: Load) -> Splits:
    """Split `train`: `image` and `label` (its number among ImageNet's 1,000, as a name) of Vaze et al.'s 100 classes.

    They are drawn by numpy's older generator under seed 0. Images are read when they are asked for.
    """
    import numpy as np

    chosen = np.random.RandomState(0).choice(1000, 100, replace=False)
    columns = load("train")
    labels = np.fromiter(columns["label"], dtype=np.int64, count=len(columns["label"]))
    rows = np.flatnonzero(np.isin(labels, chosen)).tolist()
    return {"train": {"image": Picked(columns["image"], rows), "label": [str(labels[row]) for row in rows]}}


def scattered(load: Load, split: str) -> Splits:
    """The rows of a published split whose order is that of the classes, in another one that never changes."""
    columns = load(split)
    rows = sorted(range(len(next(iter(columns.values())))), key=lambda row: digest([split, row]))
    return {split: {name: Picked(column, rows) for name, column in columns.items()}}


class Picked:
    """Some rows of a column, in an order of their own; a row is read when it is asked for."""

    def __init__(self, column: Any, rows: Sequence[int]) -> None:
        self._column, self._rows = column, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Any:
        return self._column[self._rows[row]]

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))


class _Files:
    """The members of an archive, and the tables among them."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def named(self, name: str) -> Path:
        found = next((path for path in self._files if path.name == name), None)
        if found is None:
            raise UserError(f"The archive holds no {name}, which the published one does.")
        return found

    def table(self, name: str) -> Iterator[tuple[str, str]]:
        """The lines of a file: what stands before the first blank, and the rest."""
        for line in self.named(name).read_text(encoding="utf-8").splitlines():
            if line.strip():
                first, _, rest = line.partition(" ")
                yield first, rest.strip()


def _split(rows: list[tuple[Path, Any]]) -> Splits:
    """A row's place is its id, which a method sees: places are by a digest of the file's name and folder."""
    ordered = sorted(rows, key=lambda row: digest([row[0].parent.name, row[0].name]))
    return {"train": {"image": [path for path, _ in ordered], "label": [label for _, label in ordered]}}
