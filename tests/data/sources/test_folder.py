"""Folders of images: classes as folders, and images beside masks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.sources import Source, source

BOTH = {"images": "images", "masks": "masks"}


def put(folder: Path, *names: str) -> None:
    """Grey pictures, each its own."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        number = sum((folder / name).as_posix().encode()) % 256
        PIL.Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / name)


def opened(tmp_path: Path, **declared: Any) -> Source:
    return source({"folder": "cells", **declared}, tmp_path, Access(tmp_path / "cache"))


def refused(tmp_path: Path, split: str, *parts: str, **declared: Any) -> None:
    """The split is refused in one sentence that has all parts."""
    with pytest.raises(UserError) as error:
        opened(tmp_path, **declared).load(split)
    assert [part for part in parts if part not in str(error.value)] == [], str(error.value)


# ---------------------------------------------------------------- classes


def test_class_folders_are_labels(tmp_path: Path) -> None:
    put(tmp_path / "cells", "train/ash/1.png", "train/beech/1.jpg", "train/beech/2.TIF", "test/ash/9.png")
    (tmp_path / "cells/train/ash/notes.txt").write_text("no image")
    rows = opened(tmp_path).load("train")
    assert rows is not None
    found = sorted(
        (path.relative_to(tmp_path).as_posix(), label)
        for path, label in zip(rows.columns["image"], rows.columns["label"], strict=True)
    )
    assert found == [
        ("cells/train/ash/1.png", "ash"),
        ("cells/train/beech/1.jpg", "beech"),
        ("cells/train/beech/2.TIF", "beech"),
    ]
    refused(tmp_path, "val", "has no split folder 'val'; it has test, train")


def test_class_folders_keep_their_order_and_their_digest(tmp_path: Path) -> None:
    """The order of rows is their identity: it is written down here so that it cannot change unnoticed."""
    put(tmp_path / "cells", *(f"all/{name}/{number}.png" for name in "ab" for number in range(4)))
    rows = opened(tmp_path).load("all")
    assert rows is not None
    names = [path.relative_to(tmp_path / "cells/all").as_posix() for path in rows.columns["image"]]
    assert names == ["b/2.png", "a/2.png", "a/0.png", "b/0.png", "b/1.png", "b/3.png", "a/3.png", "a/1.png"]
    (tmp_path / "moved").mkdir()
    (tmp_path / "cells").rename(tmp_path / "moved/cells")
    moved = source({"folder": "moved/cells"}, tmp_path, Access(tmp_path / "cache"))
    before = moved.identity().fingerprint
    put(tmp_path / "moved/cells", "all/a/4.png")
    assert moved.identity().fingerprint != before


def test_a_folder_that_is_absent_or_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source\.folder is cells, and .*cells is no folder"):
        opened(tmp_path)
    (tmp_path / "cells/train").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no images; expected SPLIT/CLASS"):
        opened(tmp_path).identity()
    with pytest.raises(UserError, match="holds no images; expected images/NAME.png beside masks/NAME.png"):
        opened(tmp_path, **BOTH).identity()


# ---------------------------------------------------------------- images beside masks


def stems(rows: Any) -> list[str]:
    assert [path.stem for path in rows.columns["image"]] == [path.stem for path in rows.columns["mask"]]
    return [path.stem for path in rows.columns["image"]]


def test_masks_lie_beside_images_in_each_split(tmp_path: Path) -> None:
    put(tmp_path / "cells", "train/images/a.jpg", "train/images/b.PNG", "train/masks/a.png", "train/masks/b.tif")
    put(tmp_path / "cells", "test/images/c.png", "test/masks/c.png", "unused/d.png")
    (tmp_path / "cells/train/images/notes.txt").write_text("no image")
    (tmp_path / "cells/train/images/.a.png").write_bytes(b"what some systems leave behind")
    made = opened(tmp_path, **BOTH)
    train, test = made.load("train"), made.load("test")
    assert train is not None
    assert test is not None
    assert set(train.columns) == {"image", "mask"}
    assert sorted(stems(train)) == ["a", "b"]
    assert stems(test) == ["c"]
    assert all(isinstance(path, Path) and path.is_file() for path in (*train.columns["mask"], *test.columns["image"]))
    assert test.columns["mask"][0] == tmp_path / "cells/test/masks/c.png"
    refused(tmp_path, "tset", "has no split 'tset'; it has test, train.", 'Did you mean "test"?', **BOTH)


def test_without_split_folders_there_is_one_split(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(6)]
    put(tmp_path / "cells", *(f"photos/{name}" for name in names), *(f"truth/{name}" for name in names))
    declared = {"images": "photos", "masks": "truth"}
    rows = opened(tmp_path, **declared).load("all")
    found = stems(rows)
    assert sorted(found) == list("012345")
    assert found != sorted(found)  # a row's place is its id, and says nothing of the name
    assert stems(opened(tmp_path, **declared).load("all")) == found
    refused(tmp_path, "train", "no split 'train'", "photos and truth are one split, 'all'", **declared)


def test_the_identity_covers_images_and_masks_and_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    put(folder, "images/a.png", "masks/a.png")
    before = opened(tmp_path, **BOTH).identity()
    assert before == opened(tmp_path, **BOTH).identity()
    assert before.provisional == ()
    for name in ("images/a.png", "masks/a.png"):
        kept = (folder / name).read_bytes()
        PIL.Image.fromarray(np.full((5, 5), 3, np.uint8)).save(folder / name)
        assert opened(tmp_path, **BOTH).identity() != before, name
        (folder / name).write_bytes(kept)
        assert opened(tmp_path, **BOTH).identity() == before
    put(folder, "masks/b.png")
    assert opened(tmp_path, **BOTH).identity() != before
    (folder / "masks/b.png").unlink()
    folder.rename(tmp_path / "elsewhere")
    assert source({"folder": "elsewhere", **BOTH}, tmp_path, Access(tmp_path / "cache")).identity() == before


def test_an_image_without_a_mask_is_named_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    put(folder, "images/a.png", "images/b.png", "masks/a.png")
    parts = (f"source.masks: {folder}/images/b.png has no mask of the same name in {folder}/masks", "add it, or remove")
    refused(tmp_path, "all", *parts, **BOTH)
    put(folder, "images/c.png")
    refused(tmp_path, "all", *parts[:1], "(2 images lack one)", **BOTH)


def test_a_mask_without_an_image_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    put(folder, "train/images/a.png", "train/masks/a.png", "train/masks/a_mask.png")
    refused(
        tmp_path,
        "train",
        f"source.images: {folder}/train/masks/a_mask.png has no image of the same name in {folder}/train/images;",
        **BOTH,
    )


def test_two_files_of_one_stem(tmp_path: Path) -> None:
    put(tmp_path / "cells", "images/a.png", "images/a.jpg", "masks/a.png")
    refused(tmp_path, "all", "source.images: ", "cells/images holds both a.jpg and a.png", "remove one", **BOTH)


def test_an_empty_or_missing_subfolder(tmp_path: Path) -> None:
    put(tmp_path / "cells", "train/images/a.png", "train/mask/a.png")
    refused(tmp_path, "train", "source.masks is masks, and ", "train/masks is no folder; train has images, mask.",
            'Did you mean "mask"?', **BOTH)  # fmt: skip
    (tmp_path / "cells/train/masks").mkdir()
    refused(tmp_path, "train", "source.masks: ", "train/masks holds no images (.png, .jpg", **BOTH)
    refused(tmp_path, "train", "no split 'train'; expected photos/NAME.png beside truth/NAME.png, in it or",
            images="photos", masks="truth")  # fmt: skip


def test_a_folder_with_and_without_splits_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "cells", "images/a.png", "masks/a.png", "train/images/b.png", "train/masks/b.png")
    refused(tmp_path, "all", "source.folder: ", "holds images both in itself and in train", **BOTH)
    put(tmp_path / "plain", "images/a.png", "masks/a.png")  # not a split: the subfolders themselves
    assert stems(source({"folder": "plain", **BOTH}, tmp_path, Access(tmp_path / "cache")).load("all")) == ["a"]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"images": "images"}, "source.images is images, and source.masks is missing"),
        ({"masks": "truth"}, "source.masks is truth, and source.images is missing"),
        ({"images": "../other", "masks": "masks"}, "source.images is '../other'; expected the name of a folder"),
        ({"images": "images", "masks": ".."}, "source.masks is '..'; expected the name"),
        ({"images": "same", "masks": "same"}, "source.images and source.masks are both same"),
    ],
)
def test_keys_that_cannot_be(tmp_path: Path, declared: dict[str, str], said: str) -> None:
    (tmp_path / "cells").mkdir()
    with pytest.raises(UserError, match=re.escape(said)):
        opened(tmp_path, **declared)
