"""VTAB-1k's declarations: nineteen tasks in three groups, a thousand examples each, classes as published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.core.loading import load
from bench.data.sources import Rows, Through
from bench.declarations.catalog import Catalog
from bench.declarations.resolve import Resolved, resolve
from bench.plan.grid import plan
from bench.problems import extra_fields, problem_of

FOLDER = Path(__file__).parents[2] / "tasks" / "vtab"

# Name -> classes and test images, of VTAB's paper and code.
NATURAL = {
    "caltech101": (102, 6084), "cifar100": (100, 10000), "dtd": (47, 1880), "flowers102": (102, 6149),
    "pets": (37, 3669), "svhn": (10, 26032), "sun397": (397, 21750),
}  # fmt: skip
SPECIALIZED = {"camelyon": (2, 32768), "eurosat": (10, 5400), "resisc45": (45, 6300), "retinopathy": (5, 42670)}
STRUCTURED = {
    "clevr-count": (8, 15000), "clevr-distance": (6, 15000), "dmlab": (6, 22735), "kitti": (4, 711),
    "dsprites-location": (16, 73728), "dsprites-orientation": (16, 73728), "smallnorb-azimuth": (18, 12150),
    "smallnorb-elevation": (9, 12150),
}  # fmt: skip
TASKS = {**NATURAL, **SPECIALIZED, **STRUCTURED}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.find()


def resolved(catalog: Catalog, name: str) -> Resolved:
    return resolve(catalog, ["full"], f"vtab/{name}", (), extra_fields)


def test_the_suite_is_the_mean_of_three_groups(catalog: Catalog) -> None:
    suite = catalog.suite("vtab").body
    assert suite["average"] == "groups"
    assert {group: len(tasks) for group, tasks in suite["groups"].items()} == {
        "natural": 7, "specialized": 4, "structured": 8,
    }  # fmt: skip
    assert suite["groups"]["natural"] == [f"vtab/{name}" for name in NATURAL]
    assert suite["groups"]["specialized"] == [f"vtab/{name}" for name in SPECIALIZED]
    assert suite["groups"]["structured"] == [f"vtab/{name}" for name in STRUCTURED]
    assert sorted(suite["tasks"]) == [name for name in catalog.tasks() if name.startswith("vtab/")]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_declared_in_full(catalog: Catalog, name: str) -> None:
    classes, tested = TASKS[name]
    found = resolved(catalog, name)
    task, notes = found.task, found.meta["task"]
    assert len(task["classes"]) == len(set(task["classes"])) == classes
    assert task["source"]["rows"]["test"] == tested
    assert task["metric"] == "accuracy"
    assert task["selection"] == "val"
    assert task["image"]["size"] == 224
    assert task["image"]["channels"] == 3
    assert task["budget"]["epochs"] == 100
    assert task["budget"]["batch_size"] == 64
    assert problem_of({"name": f"vtab/{name}", **task}).outputs() == classes
    assert set(notes) >= {"title", "citation", "licence", "homepage"}
    assert len((FOLDER / f"{name}.yaml").read_text().splitlines()) <= 20


@pytest.mark.parametrize("name", TASKS)
def test_a_revision_is_pinned_or_its_lack_is_said(catalog: Catalog, name: str) -> None:
    revision = resolved(catalog, name).task["source"].get("revision")
    said = "# revision not verified" in (FOLDER / f"{name}.yaml").read_text()
    assert said is (revision is None)
    assert revision is None or (len(revision) == 40 and set(revision) <= set("0123456789abcdef"))


def test_data_that_need_consent_say_so(catalog: Catalog) -> None:
    assert "Kaggle" in resolved(catalog, "retinopathy").meta["task"]["obtain"]


def test_every_task_has_a_twin(catalog: Catalog) -> None:
    runs = plan(["full=vtab/*"], twin=True, catalog=catalog)
    assert sorted(run.task["name"] for run in runs) == sorted(f"vtab/{name}" for name in TASKS)
    assert len({run.key for run in runs}) == len(TASKS)


class Column:
    """Counts its rows; row r holds r. Remembers which were read."""

    def __init__(self, rows: int) -> None:
        self.rows, self.read = rows, set[int]()

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> int:
        if row >= self.rows:
            raise IndexError(row)
        self.read.add(row)
        return row


class Published:
    """A source of `rows[SPLIT]` images and labels, the labels going round `classes`."""

    def __init__(self, rows: Mapping[str, int], classes: int, columns: tuple[str, str]) -> None:
        self.images = {split: Column(count) for split, count in rows.items()}
        self.classes, self.columns = classes, columns

    def load(self, split: str) -> Rows:
        image, label = self.columns
        labels = [row % self.classes for row in range(len(self.images[split]))]
        return Rows({image: self.images[split], label: labels})


def through(catalog: Catalog, name: str, published: int) -> tuple[dict[str, Any], Published, Through]:
    found = resolved(catalog, name)
    task = found.task
    raw = Published({**task["source"]["rows"], "test": 60}, published, (task["inputs"][0], task["label"]))
    return task, raw, Through(raw, task["source"], found.homes["task"])  # type: ignore[arg-type]


def parts(task: Mapping[str, Any], source: Through) -> dict[str, list[int]]:
    """The images of train, val and test as the declared splits take them."""
    from bench.data.splits import Slice

    found = {}
    for part in ("train", "val", "test"):
        where = Slice.parse(task["splits"][part], part)
        column = source.load(where.split).columns[task["inputs"][0]]
        found[part] = [column[row] for row in range(*where.bounds(len(column)))]
    return found


def test_eight_hundred_and_two_hundred_are_the_first_thousand(catalog: Catalog) -> None:
    task, raw, source = through(catalog, "camelyon", 2)
    found = parts(task, source)
    assert found["train"] == list(range(800))
    assert found["val"] == list(range(800, 1000))
    assert found["test"] == list(range(60))
    assert raw.images["train"].read == set(range(1000))  # the other 261,144 images stay unread


def test_sun397_validates_on_its_validation_part(catalog: Catalog) -> None:
    task, raw, source = through(catalog, "sun397", 397)
    assert {part: len(images) for part, images in parts(task, source).items()} == {"train": 800, "val": 200, "test": 60}
    assert raw.images["train"].read == set(range(800))
    assert raw.images["validation"].read == set(range(200))


@pytest.mark.parametrize(("name", "published"), [("dsprites-location", 32), ("dsprites-orientation", 40)])
def test_dsprites_numbers_are_grouped_to_sixteen(catalog: Catalog, name: str, published: int) -> None:
    """As VTAB does: the number divided by n / 16, rounded down."""
    task, _, source = through(catalog, name, published)
    for split in ("train", "test"):
        labels = source.load(split).columns[task["label"]]
        assert labels == [int((row % published) // (published / 16)) for row in range(len(labels))]
    names = {int(number // (published / 16)): str(number) for number in reversed(range(published))}
    assert all(names[place] in task["classes"][place].split() for place in range(16))


def test_the_first_rows_end_where_they_should() -> None:
    first = load("subset:First", FOLDER)
    column = first([5, 6, 7], 2)
    assert list(column) == [5, 6]
    assert len(column) == 2
    assert column[1] == 6
    assert list(first([5, 6], 9)) == [5, 6]
    with pytest.raises(IndexError):
        column[2]


def test_the_backbone_takes_images_of_another_size(catalog: Catalog, tmp_path: Path) -> None:
    import torch

    from bench.data.access import Access
    from bench.execute.backbones import Origin, make_backbone

    found = resolved(catalog, "kitti")
    assert found.backbone is not None
    origin = Origin(found.backbone, found.task, found.homes["backbone"], Access(tmp_path, offline=True), twin=True)
    backbone = make_backbone(origin).eval()
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    features = backbone(images)
    assert features.shape == (2, backbone.dim) == (2, 32)
    assert sum(weight.numel() for weight in backbone.parameters()) < 100_000
    assert not torch.equal(features[0], features[1])
