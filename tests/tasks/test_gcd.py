"""Category discovery in images: published classes are known, archives are read as they are published, twins run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.core.loading import load
from bench.data.access import Access
from bench.data.prepare import Prepared, Wanted, prepare, unseal
from bench.data.sources import source
from bench.declarations.catalog import Catalog
from bench.declarations.schema import check_task
from bench.execute.backbones import Origin, make_backbone
from bench.problems import extra_fields, problem_of

SIZES = {  # classes, known ones, published training images
    "cifar10": (10, 5, 50_000),
    "cifar100": (100, 80, 50_000),
    "imagenet100": (100, 50, 127_000),
    "cub": (200, 100, 5_994),
    "cars": (196, 98, 8_144),
    "aircraft": (100, 50, 6_667),
    "herbarium19": (683, 341, 34_225),
}
HOME = Path(__file__).parents[2] / "tasks/gcd/image"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.find()


def declared(catalog: Catalog, name: str) -> dict[str, Any]:
    found = catalog.task(name)
    return {"name": name, **check_task(found.body, found.place, extra_fields(found.body["problem"]))}


def prepared(task: Mapping[str, Any], home: Path, access: Access, twin: bool) -> tuple[Prepared, str]:
    mark = digest([task["name"], twin, str(access.cache)])
    return prepare(Wanted(task, None, problem_of(task), home, twin, mark, mark), access), mark


def known_of(task: Mapping[str, Any]) -> list[str]:
    known = task["known"]
    return [str(name) for name in (task["classes"][:known] if isinstance(known, int) else known)]


def test_the_suites_hold_all_of_them(catalog: Catalog) -> None:
    images = catalog.suite("gcd/image").body["tasks"]
    assert sorted(images) == sorted(f"gcd/image/{name}" for name in SIZES)
    assert sorted(catalog.suite("gcd").body["tasks"]) == [name for name in catalog.tasks() if name.startswith("gcd/")]


@pytest.mark.parametrize("name", SIZES)
def test_a_task_says_what_it_is(catalog: Catalog, name: str) -> None:
    task = declared(catalog, f"gcd/image/{name}")
    classes, known, rows = SIZES[name]
    assert (len(task["classes"]), len(known_of(task)), task["source"]["rows"]["train"]) == (classes, known, rows)
    assert (problem_of(task).classes(), problem_of(task).known()) == (classes, known)
    assert all(task[key] for key in ("title", "description", "citation", "licence", "homepage"))
    assert (task["labelled"], task["selection"], task["backbone"]) == (0.5, "last", "dino-b16")
    assert (task["budget"]["epochs"], task["budget"]["batch_size"], task["image"]["size"]) == (200, 64, 224)
    source(task["source"], HOME, Access(Path("/nowhere"), offline=True)).identity()


def test_known_classes_are_the_published_ones(catalog: Catalog) -> None:
    """Lists of the Semantic Shift Benchmark, told by some of their members and by their sums."""
    lists = {
        "cub": ({0, 5, 7, 9, 199}, {1, 2, 3, 4, 6, 8, 195}, 10154),
        "cars": ({0, 1, 2, 7, 195}, {3, 4, 5, 6, 8, 190}, 12244),
        "aircraft": ({0, 1, 2, 3, 4, 5, 99}, {6, 7, 8, 9, 98}, 2066),
    }
    for name, (some, others, total) in lists.items():
        known = {int(one) for one in known_of(declared(catalog, f"gcd/image/{name}"))}
        assert some <= known, name
        assert not others & known, name
        assert sum(known) == total, name


def test_what_the_published_code_draws(catalog: Catalog) -> None:
    drawn = sorted(np.random.RandomState(0).choice(range(1000), size=(100,), replace=False).tolist())
    assert declared(catalog, "gcd/image/imagenet100")["classes"] == drawn
    task = declared(catalog, "gcd/image/herbarium19")
    folders = sorted(str(one) for one in range(683))  # as torchvision's ImageFolder numbers them
    places = np.random.RandomState(0).choice(range(683), size=341, replace=False)
    assert set(known_of(task)) == {folders[place] for place in places}
    assert sorted(map(str, task["classes"])) == folders
    assert problem_of(task).encode([str(task["classes"][0]), "9"]).tolist() == [0, list(task["classes"]).index(9)]


@pytest.mark.parametrize("name", SIZES)
def test_a_twin_goes_through_its_backbone(catalog: Catalog, name: str, tmp_path: Path) -> None:
    task, access = declared(catalog, f"gcd/image/{name}"), Access(tmp_path, offline=True)
    found, mark = prepared(task, HOME, access, twin=True)
    train, (test,) = found.pool(0)["train"], found.tests()
    assert train.labels is not None
    assert len(test) == int((train.labels < 0).sum()) > 0
    assert max(unseal(mark, "test", access)[1]) >= SIZES[name][1], "there is something to discover"
    torch.manual_seed(0)
    backbone = make_backbone(Origin(catalog.backbone("dino-b16").body, task, HOME, access, twin=True)).eval()
    with torch.no_grad():
        features = backbone(backbone.encoder(train.inputs.take(train.rows[:4])))
    assert features.shape == (4, 32)
    assert len(torch.unique(features, dim=0)) == 4


# ---------------------------------------------------------------- archives and columns


def made(function: str, files: list[Path] | Mapping[str, Any], **params: Any) -> Any:
    def columns(split: str) -> Any:
        return files if isinstance(files, dict) else {"file": files}

    return load(f"images:{function}", HOME)(columns, **params)["train"]


def written(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def rows_of(split: Mapping[str, Any]) -> set[tuple[str, Any]]:
    return {(path.name, label) for path, label in zip(split["image"], split["label"], strict=True)}


def test_cub_takes_the_training_images(tmp_path: Path) -> None:
    root = "CUB_200_2011"
    files = written(
        tmp_path,
        {
            f"{root}/images.txt": "1 001.Albatross/A_1.jpg\n2 001.Albatross/A_2.jpg\n3 200.Throat/Y_3.jpg\n",
            f"{root}/image_class_labels.txt": "1 1\n2 1\n3 200\n",
            f"{root}/train_test_split.txt": "1 1\n2 0\n3 1\n",
            f"{root}/images/001.Albatross/A_1.jpg": "",
            "attributes.txt": "",
        },
    )
    split = made("cub", files)
    assert rows_of(split) == {("A_1.jpg", 0), ("Y_3.jpg", 199)}
    assert tmp_path / root / "images/001.Albatross/A_1.jpg" in split["image"]
    with pytest.raises(UserError, match=r"holds no images\.txt"):
        made("cub", [])


def test_aircraft_numbers_the_sorted_variants(tmp_path: Path) -> None:
    data = "fgvc-aircraft-2013b/data"
    files = written(
        tmp_path,
        {
            f"{data}/images_variant_trainval.txt": "0002 DC-9-30\n0001 707-320\n0003 Boeing 717\n0004 707-320\n",
            f"{data}/images_variant_test.txt": "0009 Yak-42\n",
        },
    )
    split = made("aircraft", files)
    assert rows_of(split) == {("0001.jpg", 0), ("0004.jpg", 0), ("0003.jpg", 1), ("0002.jpg", 2)}
    assert {path.parent for path in split["image"]} == {tmp_path / data / "images"}


def test_herbarium_takes_categories_from_folders(tmp_path: Path) -> None:
    names = ["small-train/10/00000.jpg", "small-train/2/00000.jpg", "small-validation/2/00001.jpg"]
    split = made("herbarium", written(tmp_path, dict.fromkeys(names, "")))
    assert sorted(split["label"]) == ["10", "2"]
    assert all(path.parent.name == label for path, label in zip(split["image"], split["label"], strict=True))
    with pytest.raises(UserError, match="no files small-train"):
        made("herbarium", written(tmp_path / "other", {"train/1/0.jpg": ""}))


def test_the_order_of_files_says_nothing_of_classes(tmp_path: Path) -> None:
    names = [f"small-train/{number // 20}/{number % 20:05}.jpg" for number in range(200)]
    labels = made("herbarium", written(tmp_path, dict.fromkeys(names, "")))["label"]
    assert sum(one == other for one, other in pairwise(labels)) < 40, "of 199, in order of class 190"
    columns = {"image": list("abcdefgh" * 20), "label": [place // 16 for place in range(160)]}
    split = made("scattered", columns, split="train")
    assert sum(one == other for one, other in pairwise(list(split["label"]))) < 40
    assert sorted(zip(split["image"], split["label"], strict=True)) == sorted(zip(*columns.values(), strict=True))
    assert list(made("scattered", columns, split="train")["label"]) == list(split["label"])


def test_imagenet100_reads_only_its_images_when_they_are_asked_for() -> None:
    class Column(list[int]):
        asked: list[int] = []

        def __getitem__(self, row: Any) -> Any:
            self.asked.append(row)
            return super().__getitem__(row)

    labels = [0, 1, 14, 13, 996, 1]  # 1, 14 and 996 are among the hundred
    images = Column(range(6))
    split = made("imagenet100", {"image": images, "label": labels})
    assert split["label"] == ["1", "14", "996", "1"]
    assert (images.asked, split["image"][2], images.asked) == ([4], 4, [4])
    assert list(split["image"]) == [1, 2, 4, 5]


# ---------------------------------------------------------------- real data


def test_cifar10_is_what_it_claims(mirror: Path, catalog: Catalog, tmp_path: Path) -> None:
    """The mirror's subset, at a small size: half of each of the first five classes is labelled."""
    task = declared(catalog, "gcd/image/cifar10")
    task["image"] = {**task["image"], "size": 8}
    found, mark = prepared(task, HOME, Access(tmp_path, mirror, True), twin=False)
    train, (test,) = found.pool(0)["train"], found.tests()
    assert train.labels is not None
    rows, labels, *_ = unseal(mark, "test", Access(tmp_path, mirror, True))
    assert (rows == test.rows).all()
    sizes = np.bincount(np.concatenate([labels, train.labels[train.labels >= 0]]), minlength=10)
    assert sizes.sum() == len(train)
    assert np.bincount(train.labels[train.labels >= 0], minlength=10).tolist() == [
        *(round(0.5 * int(size)) for size in sizes[:5]), 0, 0, 0, 0, 0,
    ]  # fmt: skip
    seen = rows[:4000]
    pixels = train.inputs.take(seen).astype(float)
    blueness = (pixels[..., 2] - pixels[..., 0]).mean(axis=(1, 2))
    blue = {number: blueness[labels[:4000] == number].mean() for number in (0, 4, 8)}
    assert min(blue[0], blue[8]) > blue[4], "sky and sea are bluer than what deer stand in"
