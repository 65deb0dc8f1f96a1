"""WILDS: declarations keep to the official splits, and the archives are read as WILDS reads them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.core.loading import load
from bench.declarations.catalog import Catalog
from bench.problems import problem_of
from tests.tasks.dg_twins import check_twin, declared

TASKS = Path(__file__).parents[2] / "tasks"
WILDS = {  # task: classes, metric
    "wilds/camelyon17": (2, "accuracy"),
    "wilds/iwildcam": (182, "macro-f1"),
    "wilds/fmow": (62, "worst-group-accuracy"),
    "wilds/civilcomments": (2, "worst-group-accuracy"),
    "wilds/amazon": (5, "tenth-percentile-accuracy"),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.find()


@pytest.mark.parametrize("name", WILDS)
def test_wilds_is_one_run_on_official_splits(catalog: Catalog, name: str) -> None:
    task = declared(catalog, name)
    problem = problem_of(task)
    assert (problem.folds(), problem.splits()) == ([], ["test", "train", "val"])
    assert (problem.classes(), task["metric"]) == WILDS[name]


@pytest.mark.parametrize("name", WILDS)
def test_twins_hold_all_parts(catalog: Catalog, name: str, tmp_path: Path) -> None:
    check_twin(catalog, name, tmp_path)


def table(path: Path, columns: str, rows: list[list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerows([columns.split(","), *rows])
    return path


def wilds(name: str, files: list[Path]) -> Any:
    return load(f"wilds:{name}", TASKS / "wilds")(lambda split: {"file": files})


def test_camelyon17_splits_by_hospital(tmp_path: Path) -> None:
    rows = [
        ["004", 4, 11, 12, 1, 0, 0],
        ["004", 4, 1, 2, 0, 3, 1],
        ["020", 0, 3, 4, 1, 1, 0],
        ["042", 3, 5, 6, 0, 2, 1],
    ]
    file = table(tmp_path / "metadata.csv", "patient,node,x_coord,y_coord,tumor,center,split", rows)
    made = wilds("camelyon17", [file])
    assert {split: list(columns["domain"]) for split, columns in made.items()} == {
        "train": ["0"], "id_val": ["3"], "val": ["1"], "test": ["2"],
    }  # fmt: skip
    image = "patches/patient_004_node_4/patch_patient_004_node_4_x_11_y_12.png"
    assert (made["train"]["image"][0], made["train"]["label"]) == (tmp_path / image, [1])


def test_iwildcam_reads_its_metadata(tmp_path: Path) -> None:
    rows = [["train", "a.jpg", 3, 7], ["id_test", "b.jpg", 0, 7], ["val", "c.jpg", 181, 9]]
    made = wilds("iwildcam", [table(tmp_path / "metadata.csv", "split,filename,y,location_remapped", rows)])
    assert (made["train"]["label"], made["val"]["label"], made["val"]["domain"]) == ([3], [181], ["9"])
    assert made["val"]["image"][0] == tmp_path / "train" / "c.jpg"
    assert list(made) == ["train", "id_test", "val"]


def test_fmow_splits_by_year_and_part(tmp_path: Path) -> None:
    times = [
        (2012, "train"),
        (2012, "val"),
        (2013, "train"),
        (2015, "val"),
        (2016, "val"),
        (2017, "test"),
        (2016, "seq"),
    ]
    codes = ["FRA", "KEN", "FRA", "KEN", "FRA", "XXX", "FRA"]
    rows = [[code, f"{year}-01-01T00:00:00Z", part, "zoo"] for code, (year, part) in zip(codes, times, strict=True)]
    files = [
        table(tmp_path / "rgb_metadata.csv", "country_code,timestamp,split,category", rows),
        table(tmp_path / "country_code_mapping.csv", "alpha-3,region", [["FRA", "Europe"], ["KEN", "Africa"]]),
    ]
    made = wilds("fmow", files)
    found = {split: (columns["image"][0].name, columns["domain"], columns["group"]) for split, columns in made.items()}
    assert found == {
        "train": ("rgb_img_0.png", ["2012"], [3]),
        "id_val": ("rgb_img_1.png", ["2012"], [0]),
        "val": ("rgb_img_3.png", ["2015"], [0]),
        "test": ("rgb_img_5.png", ["2017"], [-1]),
    }


def test_civil_comments_groups_overlap(tmp_path: Path) -> None:
    names = "male,female,LGBTQ,christian,muslim,other_religions,black,white"
    rows = [
        [0, 'He said "no",\nshe left', "train", 0.6, 0.5, 1.0, *[0.0] * 6],
        [1, "Plain", "train", 0.49, *[0.0] * 6, 0.7, ""],
        [2, "None", "test", 0.0, *[0.4] * 8],
    ]
    made = wilds(
        "civilcomments",
        [table(tmp_path / "all_data_with_identities.csv", f"n,comment_text,split,toxicity,{names}", rows)],
    )
    train = made["train"]
    assert (train["text"][0], train["label"], train["domain"]) == (
        'He said "no",\nshe left',
        [1, 0],
        ["other", "black"],
    )
    assert [np.flatnonzero(group).tolist() for group in train["group"]] == [[1, 3], [12]]
    assert (made["test"]["label"], made["test"]["group"][0].sum()) == ([0], 0)


def test_amazon_takes_the_chosen_reviews(tmp_path: Path) -> None:
    rows = [["A", "null", 5.0, 1], ["B", 'two\n"lines", and more', 1.0, 2], ["A", "", 3.0, 3], ["C", "dropped", 2.0, 4]]
    files = [
        table(tmp_path / "reviews.csv", "reviewerID,reviewText,overall,n", rows),
        table(tmp_path / "splits/time.csv", "split", [[0]]),
        table(tmp_path / "splits/user.csv", "split", [[0], [3], [2], [-1]]),
    ]
    made = wilds("amazon", files)
    assert {split: columns["text"] for split, columns in made.items()} == {
        "train": ["null"], "test": ['two\n"lines", and more'], "id_val": [""],
    }  # fmt: skip
    assert [made[split]["label"] for split in ("train", "test", "id_val")] == [[4], [0], [2]]
    assert [made[split]["group"] for split in ("train", "test", "id_val")] == [[0], [1], [0]]
    table(tmp_path / "splits/user.csv", "split", [[0]] * 9)
    with pytest.raises(UserError, match="not of the same length"):
        wilds("amazon", files)


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no metadata\.csv"):
        wilds("camelyon17", [tmp_path / "other.csv"])
