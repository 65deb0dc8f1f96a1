"""Long checks (`tox -e slow`): real data and weights from a mirror, and kills at random moments."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from bench.data.access import Access
from bench.plan.grid import plan
from bench.predictions import load
from bench.store import Store

from .conftest import Go
from .test_resilience import start

pytestmark = pytest.mark.slow


def test_sst2_is_learned(mirror: Path, go: Go) -> None:
    """A plain PyTorch loop with all weights moving reaches 84 % here; chance is 51 %."""
    _, rows = go("probe,lora,full=glue/sst2", "task.budget.steps=300", "task.budget.batch_size=32")
    scores = {row["method"]: row["scores"]["accuracy"] for row in rows}
    assert scores["full"] >= 0.80
    assert scores["lora"] >= 0.80
    assert scores["probe"] >= 0.70
    assert all(row["provisional"] for row in rows)


@pytest.mark.parametrize("task", ["rte", "cola", "qnli", "mnli"])
def test_other_glue_tasks_run_the_same_way(mirror: Path, go: Go, task: str) -> None:
    store, (row,) = go(f"lora=glue/{task}", "task.budget.steps=5", "task.budget.validations=1")
    assert row["state"] == "done", store.error(row["key"])
    record = store.record(row["key"])
    assert record is not None
    assert record["data"]["missing"] == (["test-mismatched"] if task == "mnli" else [])


def test_vessels_of_the_retina_from_scratch(mirror: Path, go: Go) -> None:
    """The budget was chosen on the two validation images."""
    budget = [f"task.budget.{one}" for one in ("steps=200", "batch_size=4", "validations=5")]
    _, (row,) = go("unet=medseg/drive", *budget)
    assert row["state"] == "done"
    assert row["scores"]["dice"] >= 0.70


def test_white_blood_cells_have_three_classes(mirror: Path, go: Go) -> None:
    store, (row,) = go("unet=medseg/wbc", "task.image.size=128", "task.budget.steps=20", "task.budget.validations=1")
    folder = store.folder(row["key"])
    assert folder is not None
    masks = load(folder, row["selection"]["candidate"], "test")["mask"]
    assert masks.shape[1:] == (128, 128)
    assert set(np.unique(masks)) <= {0, 1, 2}
    assert row["scores"]["dice"] > 0.3


def test_a_probe_on_every_domain_of_pacs(mirror: Path, go: Go) -> None:
    """9,991 images; chance is 14 %."""
    store, rows = go("probe=dg/pacs", "task.backbone=mobilenetv2", "task.budget.steps=20", "task.budget.validations=1")
    assert [row["fold"] for row in rows] == ["art_painting", "cartoon", "photo", "sketch"]
    sizes = {}
    for row in rows:
        record = store.record(row["key"])
        assert record is not None
        assert sum(record["data"]["rows"].values()) == 9991
        sizes[row["fold"]] = record["data"]["rows"]["test"] + record["data"]["rows"]["target-val"]
    assert sizes == {"art_painting": 2048, "cartoon": 2344, "photo": 1670, "sketch": 3929}
    scores = {row["fold"]: row["scores"]["accuracy"] for row in rows}
    assert scores["photo"] > 0.5
    assert min(scores.values()) > 0.2


@pytest.mark.parametrize("task", ["gcd/text/banking77", "gcd/tabular/letter"])
def test_categories_are_discovered_in_text_and_tables(mirror: Path, go: Go, task: str) -> None:
    _, rows = go(f"kmeans,simgcd={task}", "task.budget.epochs=null", "task.budget.steps=40")
    assert [row["state"] for row in rows] == ["done", "done"]
    for row in rows:
        assert row["selection"]["rule"] == "last"
        assert 0.05 < row["scores"]["discovery-all"] < 1


def test_real_images_through_a_real_backbone(
    mirror: Path, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of the mirrored MNIST as a task of a project of its own, on the mirrored MobileNetV2.

    Its normalisation is folded into its convolutions, so that it must stay frozen: `lora` learns, `full` does not.
    """
    folder = tmp_path / "project" / "tasks" / "mine"
    folder.mkdir(parents=True)
    (folder / "mnist.yaml").write_text(
        "title: Some of MNIST\nproblem: image-classification\nsource: {hub: ylecun/mnist, config: mnist}\n"
        f"inputs: [image]\nclasses: [{', '.join(map(repr, map(str, range(10))))}]\nimage: {{size: 32, channels: 1}}\n"
        'splits: {train: "train[:2%]", val: "train[2%:3%]", test: "test[:10%]"}\nmetric: accuracy\n'
        "budget: {epochs: 3, batch_size: 32}\nbackbone: mobilenetv2\n"
    )
    monkeypatch.chdir(tmp_path / "project")
    store, (row,) = go("lora=mine/mnist", "adaptation.targets=conv")
    assert row["state"] == "done", store.error(row["key"])
    assert row["scores"]["accuracy"] > 0.8


def test_kills_at_random_moments_end_in_one_record_of_the_same_bits(toy: Path, tmp_path: Path, go: Go) -> None:
    arguments = ("slow=toy/waves", "task.budget.epochs=12", "objective.params.seconds=0.05")
    (run,) = plan(arguments, access=Access.from_environment())
    unbroken, _ = go(*arguments, store="unbroken")
    drawn = random.Random(0)
    for _ in range(6):
        process = start(toy, tmp_path / "store", *arguments)
        time.sleep(drawn.uniform(4, 14))
        process.send_signal(signal.SIGKILL)
        process.wait()
    store, (row,) = go(*arguments)
    assert row["state"] == "done"
    assert [one["key"] for one in Store(store.path).rows()] == [run.key]
    for part in ("test", "val"):
        one, two = (load(s.folder(run.key), "last", part)["logits"] for s in (store, unbroken))  # type: ignore[arg-type]
        np.testing.assert_array_equal(one, two)
