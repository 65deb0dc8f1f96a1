"""MedSegBench's declarations: thirty-five sets with checksums for three sizes, against published figures and files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.loading import load
from bench.data.access import Access
from bench.data.sources import Rows, sized, source
from bench.declarations.catalog import Catalog
from bench.declarations.resolve import Resolved, resolve
from bench.plan.grid import plan
from bench.problems import extra_fields, problem_of

FOLDER = Path(__file__).parents[2] / "tasks" / "medseg"

# Name -> classes, channels, images in train, val and test, of the authors' package.
SETS = {
    "abdomenus": (9, 1, 569, 64, 293), "bbbc010": (2, 1, 70, 10, 20), "bkai-igh": (3, 3, 700, 100, 200),
    "brifiseg": (2, 1, 1005, 115, 240), "busi": (2, 1, 452, 64, 131), "cellnuclei": (2, 3, 469, 67, 134),
    "chasedb1": (2, 3, 19, 2, 7), "chuac": (2, 1, 21, 3, 6), "covid19radio": (2, 1, 14814, 2115, 4236),
    "covidquex": (2, 1, 1864, 466, 583), "cystoidfluid": (2, 3, 703, 101, 202), "dca1": (2, 1, 93, 13, 28),
    "deepbacs": (2, 1, 17, 2, 15), "drive": (2, 3, 18, 2, 20), "dynamicnuclear": (2, 1, 4950, 1417, 717),
    "fhpsaop": (3, 1, 2800, 400, 800), "idrib": (2, 3, 47, 6, 27), "isic2016": (2, 3, 810, 90, 379),
    "isic2018": (2, 3, 2594, 100, 1000), "kvasir": (2, 3, 700, 100, 200), "m2caiseg": (19, 3, 245, 307, 62),
    "monusac": (6, 3, 188, 21, 101), "mosmedplus": (2, 3, 1910, 272, 547), "nuclei": (2, 3, 98, 14, 29),
    "nuset": (2, 1, 2385, 340, 683), "pandental": (2, 1, 81, 11, 24), "polypgen": (2, 3, 984, 140, 288),
    "promise12": (2, 1, 1031, 147, 295), "robotool": (2, 3, 350, 50, 100), "tnbcnuclei": (2, 3, 35, 5, 10),
    "ultrasoundnerve": (2, 1, 1651, 223, 449), "usforkidney": (2, 1, 3210, 458, 918),
    "uwaterlooskincancer": (2, 3, 143, 19, 44), "wbc": (3, 3, 280, 40, 80), "yeaz": (2, 1, 360, 96, 251),
}  # fmt: skip
SIZES = ("128", "256", "512")
NONZERO = ("dynamicnuclear", "pandental")  # whose masks hold other numbers than 1


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.find()


def resolved(catalog: Catalog, name: str) -> Resolved:
    return resolve(catalog, ["full"], f"medseg/{name}", (), extra_fields)


def test_the_suite_is_the_mean_of_all_sets(catalog: Catalog) -> None:
    suite = catalog.suite("medseg").body
    assert suite["average"] == "macro"
    assert len(SETS) == 35
    assert sorted(suite["tasks"]) == sorted(f"medseg/{name}" for name in SETS)
    assert [name for name in catalog.tasks() if name.startswith("medseg/")] == sorted(suite["tasks"])


@pytest.mark.parametrize("name", SETS)
def test_a_task_is_declared_in_full(catalog: Catalog, name: str) -> None:
    classes, channels, *rows = SETS[name]
    found = resolved(catalog, name)
    task, notes = found.task, found.meta["task"]
    assert task["problem"] == "image-segmentation"
    assert len(task["classes"]) == len(set(task["classes"])) == classes
    assert task["classes"][0] == ("unknown" if name == "m2caiseg" else "background")
    assert problem_of({"name": f"medseg/{name}", **task}).outputs() == classes
    assert task["image"]["size"] == 256
    assert task["image"]["channels"] == channels
    assert not any(task["image"]["augment"].values())
    assert list(task["source"]["rows"].values()) == rows
    assert list(task["source"]["rows"]) == ["train", "val", "test"]
    assert (task["metric"], task["report"]) == ("dice", ["iou", "hausdorff95", "surface-dice"])
    assert task["budget"]["steps"] == (5000 if rows[0] > 2000 else 2000)
    assert ("through" in task["source"]) is (name in NONZERO)
    assert set(notes) >= {"title", "description", "citation", "licence", "homepage"}
    assert "10.1038/s41597-024-04159-2" in notes["citation"]
    assert len((FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()) <= 20


@pytest.mark.parametrize("name", SETS)
def test_an_address_and_a_checksum_for_each_size(catalog: Catalog, name: str) -> None:
    declared = resolved(catalog, name).task["source"]
    assert tuple(declared["md5"]) == SIZES
    for size in SIZES:
        one = sized(declared, int(size))
        record = "13359660" if name in ("wbc", "yeaz") else "13358372"
        assert one["url"] == f"https://zenodo.org/records/{record}/files/{name}_{size}.npz"
        assert len(one["md5"]) == 32
        assert set(one["md5"]) <= set("0123456789abcdef")


def test_no_checksum_stands_twice(catalog: Catalog) -> None:
    """A slip of copying would show as one set's checksum under another's name."""
    found = [sum for name in SETS for sum in resolved(catalog, name).task["source"]["md5"].values()]
    assert len(found) == len(set(found)) == 105


def test_validation_keeps_away_from_the_test_images(catalog: Catalog) -> None:
    """m2caiSeg's published `val` is as large as train and test together, which are all its images."""
    for name, (_, _, train, val, test) in SETS.items():
        splits = resolved(catalog, name).task["splits"]
        if name == "m2caiseg":
            assert val == train + test
            assert (splits["train"], splits["val"]) == ("train[:80%]", "train[80%:]")
        else:
            assert (splits["train"], splits["val"]) == ("train", "val")
        assert splits["test"] == "test"
        assert splits["shuffle"] == "none"


def test_every_task_has_a_twin(catalog: Catalog) -> None:
    runs = plan(["full=medseg/*"], twin=True, catalog=catalog)
    assert sorted(run.task["name"] for run in runs) == sorted(f"medseg/{name}" for name in SETS)
    assert len({run.key for run in runs}) == 35


def test_numbers_other_than_one_are_foreground_too() -> None:
    masks = np.array([[[0, 7], [300, 1]], [[0, 0], [0, 255]]], dtype=np.uint16)
    read: list[str] = []

    def raw(split: str) -> dict[str, Any]:
        read.append(split)
        return {"images": ["a", "b"], "label": masks}

    made = load("binary:binary", FOLDER)(raw)
    assert list(made) == read == ["train", "val", "test"]
    column = made["val"]["label"]
    assert made["val"]["images"] == ["a", "b"]
    assert len(column) == 2
    assert column[0].dtype == np.uint8
    np.testing.assert_array_equal(list(column), [[[0, 1], [1, 1]], [[0, 0], [0, 1]]])
    with pytest.raises(IndexError):
        column[2]


@pytest.mark.parametrize(("name", "size"), [("drive", 256), ("wbc", 128)])
def test_real_files_are_as_declared(mirror: Path, tmp_path: Path, catalog: Catalog, name: str, size: int) -> None:
    found = resolved(catalog, name)
    task = found.task
    declared = sized(task["source"], size)
    file = mirror / "files" / f"{name}_{size}.npz"
    if not file.exists():
        pytest.skip(f"the mirror has no {file.name}")
    made = source(declared, found.homes["task"], Access(tmp_path / "cache", mirror, offline=True))
    values = set[int]()
    for split, count in task["source"]["rows"].items():
        rows = made.load(split)
        assert isinstance(rows, Rows)
        images, masks = rows.columns[task["inputs"][0]], rows.columns[task["label"]]
        assert images.shape == (count, size, size, task["image"]["channels"])
        assert images.dtype == np.uint8
        assert masks.shape == (count, size, size)
        values |= set(np.unique(masks).tolist())
    assert values == set(range(len(task["classes"])))
    provisional = made.identity().provisional
    published = hashlib.md5(file.read_bytes()).hexdigest() == declared["md5"]
    assert provisional == (() if published else (f"{name}_{size}.npz comes from a mirror",))
