"""Domain generalization: declarations fit their protocols, data are built as defined, archives are read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.loading import load
from bench.data.access import Access
from bench.data.sources import source
from bench.declarations.catalog import Catalog
from bench.problems import problem_of
from tests.tasks.dg_twins import check_twin, declared, prepared

TASKS = Path(__file__).parents[2] / "tasks"
SIZES = {  # task: domains, classes, steps
    "dg/colored-mnist": (3, 2, 5001),
    "dg/rotated-mnist": (6, 10, 5001),
    "dg/pacs": (4, 7, 5001),
    "dg/vlcs": (4, 5, 5001),
    "dg/office-home": (4, 65, 5001),
    "dg/terra-incognita": (4, 10, 5001),
    "dg/domain-net": (6, 345, 15001),
    "demo/rotated-digits": (6, 10, 150),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.find()


@pytest.mark.parametrize("name", SIZES)
def test_a_task_stands_for_its_domains(catalog: Catalog, name: str) -> None:
    domains, classes, steps = SIZES[name]
    task = declared(catalog, name)
    problem = problem_of(task)
    assert len(problem.folds()) == domains
    assert len(problem.extra_folds("leave-one-domain-out")) == domains * (domains - 1) // 2
    assert (problem.classes(), task["budget"]["steps"], task["selection"]) == (classes, steps, "val")


@pytest.mark.parametrize("name", ["dg/rotated-mnist", "dg/colored-mnist", "demo/rotated-digits"])
def test_twins_hold_all_parts(catalog: Catalog, name: str, tmp_path: Path) -> None:
    check_twin(catalog, name, tmp_path)


def few_digits(split: str) -> dict[str, Any]:
    """600 and 200 images, drawn so that each is told apart from every other."""
    random = np.random.default_rng(len(split))
    count = {"train": 600, "test": 200}[split]
    pixels = np.zeros((count, 28, 28), np.uint8)
    pixels[:, 6:22, 10:18] = random.integers(1, 256, size=(count, 16, 8))
    return {"image": [PIL.Image.fromarray(one) for one in pixels], "label": random.integers(10, size=count).tolist()}


def whole(load: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images = [np.asarray(image) for split in ("train", "test") for image in load(split)["image"]]
    return np.stack(images), np.concatenate([load("train")["label"], load("test")["label"]])


def test_each_digit_is_turned_once_by_its_domains_angle() -> None:
    made = load("mnist:rotated", TASKS / "dg")(few_digits)["all"]
    pixels, labels = whole(few_digits)
    assert Counter(made["domain"]) == {"0": 134, "15": 134, "30": 133, "45": 133, "60": 133, "75": 133}
    assert made["image"].shape == (800, 28, 28)
    assert made["image"].dtype == np.uint8
    places = {image.tobytes(): place for place, image in enumerate(pixels)}
    unturned = np.array(made["domain"]) == "0"
    rows = [places[image.tobytes()] for image in made["image"][unturned]]
    assert rows != sorted(rows)
    assert labels[rows].tolist() == made["label"][unturned].tolist()
    assert sorted(made["label"].tolist()) == sorted(labels.tolist())
    again = load("mnist:rotated", TASKS / "dg")(few_digits, seed=0)["all"]
    other = load("mnist:rotated", TASKS / "dg")(few_digits, seed=1)["all"]
    assert np.array_equal(again["image"], made["image"])
    assert not np.array_equal(other["image"], made["image"])


@pytest.mark.parametrize("angle", [15, 45, 75])
def test_turning_agrees_with_scipy(angle: int) -> None:
    """Counter-clockwise, about the centre, bilinear; only at the border of the image is the rule another."""
    smooth = np.zeros((28, 28))
    smooth[8:12, 8:22], smooth[8:22, 8:11] = 200, 120
    image = scipy.ndimage.gaussian_filter(smooth, 1.0).astype(np.uint8)
    found = load("mnist:turned", TASKS / "dg")(image[None], angle)[0].astype(float)
    expected = scipy.ndimage.rotate(image.astype(float), angle, reshape=False, order=1)
    assert np.abs(found - expected).max() <= 1.5
    assert np.abs(found - scipy.ndimage.rotate(image.astype(float), -angle, reshape=False, order=1)).max() > 50


def test_a_quarter_turn_is_exact() -> None:
    image = np.arange(784, dtype=np.uint8).reshape(28, 28)
    assert np.array_equal(load("mnist:turned", TASKS / "dg")(image[None], 90)[0], np.rot90(image))


def coloured_statistics(made: Mapping[str, Any], digits: Mapping[bytes, int]) -> dict[str, tuple[float, float]]:
    """Domain -> how often the label is not that of the digit, and how often the colour is the label."""
    images, labels, domains = made["image"], np.asarray(made["label"]), np.array(made["domain"])
    assert not images[..., 2].any()
    shown = images[..., :2].any(axis=(1, 2))
    assert (shown.sum(axis=1) == 1).all()  # one colour an image
    digit = np.array([digits[image.max(axis=2).tobytes()] for image in images])
    wrong, agrees = labels != (digit < 5), shown[:, 1] == labels
    return {name: (wrong[domains == name].mean(), agrees[domains == name].mean()) for name in dict.fromkeys(domains)}


def check_coloured(made: Mapping[str, Any], load: Any, tolerance: float) -> None:
    pixels, labels = whole(load)
    digits = {image.tobytes(): int(label) for image, label in zip(pixels, labels, strict=True)}
    found = coloured_statistics(made, digits)
    assert list(found) == ["plus90", "plus80", "minus90"]
    for (wrong, agrees), expected in zip(found.values(), (0.9, 0.8, 0.1), strict=True):
        assert wrong == pytest.approx(0.25, abs=tolerance)
        assert agrees == pytest.approx(expected, abs=tolerance)
    assert np.mean(np.asarray(made["label"])) == pytest.approx(0.5, abs=tolerance)


def test_colours_and_labels_are_drawn_as_defined() -> None:
    made = load("mnist:colored", TASKS / "dg")(few_digits)["all"]
    assert Counter(made["domain"]) == {"plus90": 267, "plus80": 267, "minus90": 266}
    check_coloured(made, few_digits, 0.08)


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dg")


@lru_cache(maxsize=1)
def mnist(mirror: Path, cache: Path) -> Mapping[str, Mapping[str, Any]]:
    """The mirror's digits, decoded once for all tests."""
    raw = source({"hub": "ylecun/mnist", "config": "mnist"}, mirror, Access(cache, mirror, offline=True))
    splits = {}
    for split in ("train", "test"):
        rows = raw.load(split)
        assert rows is not None
        images = np.stack([np.asarray(image) for image in rows.columns["image"]])
        splits[split] = {"image": images, "label": np.array(rows.columns["label"])}
    return splits


def made_of(catalog: Catalog, name: str, digits: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """What the task's own function makes with its own parameters."""
    declared = catalog.task(name).body["source"]
    splits = load(declared["through"], catalog.task(name).home)(digits.__getitem__, **declared["params"])
    found: Mapping[str, Any] = splits["all"]
    return found


def test_colored_mnist_of_the_mirror(catalog: Catalog, mirror: Path, caches: Path) -> None:
    digits = mnist(mirror, caches)
    made = made_of(catalog, "dg/colored-mnist", digits)
    assert Counter(made["domain"]) == {"plus90": 23334, "plus80": 23333, "minus90": 23333}
    check_coloured(made, digits.__getitem__, 0.012)


def test_rotated_mnist_of_the_mirror(catalog: Catalog, mirror: Path, caches: Path) -> None:
    made = made_of(catalog, "dg/rotated-mnist", mnist(mirror, caches))
    expected = {"0": 11667, "15": 11667, "30": 11667, "45": 11667, "60": 11666, "75": 11666}
    assert Counter(made["domain"]) == expected
    assert made["image"].shape == (70000, 28, 28)
    # of every digit as many as MNIST has, and in every domain nearly a sixth of them
    count = [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
    assert np.bincount(made["label"]).tolist() == count
    domains = np.array(made["domain"])
    for name in expected:
        assert np.bincount(made["label"][domains == name]) == pytest.approx(np.array(count) / 6, rel=0.06)
    # turning loses no ink inside the image: the mean of a domain's pixels stays
    means = [made["image"][domains == name].mean() for name in expected]
    assert means == pytest.approx([means[0]] * 6, rel=0.02)


def test_pacs_of_the_mirror(catalog: Catalog, mirror: Path, caches: Path) -> None:
    task = declared(catalog, "dg/pacs")
    task["image"] = {**task["image"], "size": 8}  # nothing here depends on it
    made = prepared(catalog, task, Access(caches, mirror, offline=True), "sketch", twin=False)
    sizes = {part.name: len(part) for part in made.tests()}
    assert sizes == {"test": 3143, "target-val": 786}  # four fifths of 3,929, and the rest
    parts = made.pool(0)
    groups = Counter(np.concatenate([parts["train"].groups, parts["val"].groups]).tolist())
    assert groups == {0: 2048, 1: 2344, 2: 1670}
    assert np.bincount(parts["val"].groups).tolist() == [410, 469, 334]


def test_digits_of_the_demo_are_turned(catalog: Catalog, tmp_path: Path) -> None:
    found = catalog.task("demo/rotated-digits")
    rows = source(found.body["source"], found.home, Access(tmp_path, offline=True)).load("all")
    assert rows is not None
    made = rows.columns
    assert Counter(made["domain"]) == {"0": 300, "15": 300, "30": 300, "45": 299, "60": 299, "75": 299}
    assert made["image"].shape == (1797, 32, 32)
    assert np.bincount(made["label"]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    domains = np.array(made["domain"])
    upright, turned = (made["image"][domains == name].mean(axis=0) for name in ("0", "75"))
    assert np.abs(scipy.ndimage.rotate(upright, 75, reshape=False, order=1) - turned)[8:24, 8:24].mean() < 8
    assert np.abs(upright - turned)[8:24, 8:24].mean() > 12


def files_of(folder: Path, names: list[str]) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_folders_of_domains_and_classes(tmp_path: Path) -> None:
    files = files_of(tmp_path, ["VLCS/SUN09/dog/a.jpg", "VLCS/LabelMe/car/a.jpg", "VLCS/LabelMe/car/list.txt"])
    made = load("folders:vlcs", TASKS / "dg")(lambda split: {"file": files}, domains=["LabelMe", "SUN09"])["all"]
    assert list(zip(made["label"], made["domain"], strict=True)) == [("car", "LabelMe"), ("dog", "SUN09")]
    assert [path.read_bytes() for path in made["image"]] == [b"VLCS/LabelMe/car/a.jpg", b"VLCS/SUN09/dog/a.jpg"]


def test_camera_traps_with_annotations_and_as_folders(tmp_path: Path) -> None:
    where, kinds = {"L38": "38", "L100": "100"}, ["bird", "cat"]
    found = {
        "categories": [{"id": 1, "name": "bird"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "fox"}],
        "images": [{"id": n, "location": at, "file_name": f"{n}.jpg"} for n, at in ((1, 38), (2, "100"), (3, 7))],
        "annotations": [
            {"image_id": image, "category_id": kind} for image, kind in ((1, 1), (1, 2), (1, 1), (2, 2), (2, 3), (3, 1))
        ],
    }
    (tmp_path / "train.json").write_text(json.dumps(found))
    files = files_of(tmp_path, ["images/1.jpg", "images/2.jpg", "images/3.jpg"])
    terra = load("folders:terra", TASKS / "dg")
    made = terra(lambda split: {"file": files}, locations=where, categories=kinds)["all"]
    rows = list(zip((path.name for path in made["image"]), made["label"], made["domain"], strict=True))
    assert rows == [("2.jpg", "cat", "L100"), ("1.jpg", "bird", "L38"), ("1.jpg", "cat", "L38")]
    with pytest.raises(UserError, match="2 annotated images are not in the archive, 1.jpg"):
        terra(lambda split: {"file": [tmp_path / "train.json"]}, locations=where, categories=kinds)
    with pytest.raises(UserError, match="neither annotations"):
        terra(lambda split: {"file": files[:3]}, locations=where, categories=kinds)
    laid_out = files_of(tmp_path / "made", ["location_38/bird/1.jpg", "location_7/cat/2.jpg"])
    again = terra(lambda split: {"file": laid_out}, locations=where, categories=kinds)["all"]
    assert (again["label"], again["domain"]) == (["bird"], ["L38"])


def test_pooled_splits_stand_one_after_the_other() -> None:
    splits = {"train": {"image": [1, 2, 3], "label": [0, 1, 2]}, "test": {"image": [4], "label": [3]}}
    made = load("pooled:pooled", TASKS / "dg")(splits.__getitem__, splits=["train", "test"])["all"]
    assert (list(made["image"]), [made["label"][row] for row in range(4)], len(made["label"])) == (
        [1, 2, 3, 4],
        [0, 1, 2, 3],
        4,
    )
    with pytest.raises(IndexError):
        made["image"][4]
