"""What a record holds, and that what it says can be derived from what it keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.core.files import read_json
from bench.data.access import Access
from bench.execute.build import build, restore, work_backbone
from bench.execute.engine import prepared_data
from bench.execute.evaluate import predict_part
from bench.execute.groups import parameter_groups
from bench.execute.rescore import rescore
from bench.plan.grid import plan
from bench.predictions import load, parts
from bench.problems import problem_of

from .conftest import Go


@pytest.mark.parametrize("task", ["toy/waves", "toy/angle"])
def test_predictions_scored_again_give_the_recorded_metrics(toy: Path, go: Go, task: str) -> None:
    store, (row,) = go(f"all={task}")
    event = rescore(store, row["key"], Access.from_environment())
    assert event["values"] == row["scores"]
    assert event["count"] == 2


def test_sealed_labels_are_made_again_when_the_cache_is_gone(
    toy: Path, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, (row,) = go("all=toy/waves", "task.budget.steps=2")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "new"))
    assert rescore(store, row["key"], Access.from_environment())["values"] == row["scores"]


def test_the_kept_state_gives_the_kept_predictions(toy: Path, go: Go) -> None:
    store, (row,) = go("all=toy/waves")
    (run,) = plan(["all=toy/waves"], access=Access.from_environment())
    folder = store.folder(row["key"])
    assert folder is not None
    method = restore(run, folder, Access.from_environment())
    (test,) = prepared_data(run, Access.from_environment()).tests()
    again = predict_part(method, test)
    kept = load(folder, row["selection"]["candidate"], "test")
    np.testing.assert_array_equal(again["logits"], kept["logits"])
    np.testing.assert_array_equal(again["ids"], kept["ids"])


def test_a_record_says_what_it_was_and_cost(toy: Path, go: Go) -> None:
    store, (row,) = go("scaled=toy/waves")
    record = store.record(row["key"])
    assert record is not None
    assert record["schema"] == 1
    assert record["cost"]["trainable_parameters"] == 16 + 16 + 16 * 3 + 3
    assert record["cost"]["total_parameters"] > record["cost"]["trainable_parameters"]
    assert record["cost"]["stored_bytes"] == (store.folder(row["key"]) / "trained.safetensors").stat().st_size  # type: ignore[operator]
    assert record["data"]["rows"] == {"train": 72, "val": 24, "test": 96}
    assert {entry["step"] for entry in record["history"]} == {9, 18, 27}
    assert record["selection"]["rule"] == "val"
    assert record["provenance"]["versions"]["torch"]
    assert record["provenance"]["determinism"] == "bitwise at equal threads"
    values = [one["score"] for one in record["history"]]
    assert record["selection"]["value"] == max(values)
    assert (store.folder(row["key"]) / "log" / "metrics.csv").read_text().count("\n") > 3  # type: ignore[operator]


@pytest.mark.parametrize(
    "arguments", [("all=toy/angle",), ("scaled=toy/waves", "task.selection=last", "task.splits.val=null")]
)
def test_records_are_of_the_published_schema(toy: Path, go: Go, arguments: tuple[str, ...]) -> None:
    import jsonschema

    import bench.store

    schema = read_json(Path(bench.store.__file__).parent / "record.schema.json")
    store, (row,) = go(*arguments, "task.budget.steps=2")
    jsonschema.validate(store.record(row["key"]), schema)


def test_only_what_is_trained_is_kept(toy: Path, go: Go) -> None:
    store, rows = go("scaled,all=toy/waves", "task.budget.steps=2")
    kept = {row["method"]: set(load_file(store.folder(row["key"]) / "trained.safetensors")) for row in rows}  # type: ignore[operator]
    assert kept["scaled"] == {
        "head.linear.weight",
        "head.linear.bias",
        "adaptation.adapters.0.scale",
        "adaptation.adapters.1.scale",
    }
    assert "backbone.network.norm.running_mean" in kept["all"]
    assert "backbone.network.stem.weight" in kept["all"]


def test_frozen_normalisation_keeps_its_statistics(toy: Path) -> None:
    for name, moves in (("scaled", False), ("all", True)):
        (run,) = plan([f"{name}=toy/waves"], access=Access.from_environment())
        method = build(run, work_backbone(run, Access.from_environment()), problem_of(run.task), 3)
        method.train()
        before = method.backbone.network.norm.running_mean.clone()  # type: ignore[union-attr,operator]
        method(torch.randint(0, 255, (8, 1, 8, 8), dtype=torch.uint8))
        assert (not torch.equal(before, method.backbone.network.norm.running_mean)) is moves  # type: ignore[union-attr,arg-type]


MOVING = """
from torch import nn


class Moving(nn.Module):
    dim = 8

    def __init__(self):
        super().__init__()
        self.stem = nn.utils.parametrizations.spectral_norm(nn.Conv2d(1, 4, 3))
        self.bare = nn.BatchNorm2d(4, affine=False)
        self.same = nn.InstanceNorm2d(4, track_running_stats=True)
        self.last = nn.Linear(4 * 36, 8)

    def forward(self, pixels):
        return self.last(self.same(self.bare(self.stem(pixels))).relu().flatten(1))
"""


def test_every_buffer_that_moves_is_kept(toy: Path, go: Go) -> None:
    (toy / "methods/backbones/moving.py").write_text(MOVING)
    (toy / "methods/backbones/moving.yaml").write_text(
        'title: Buffers of many kinds\nlibrary: file\nclass: "moving:Moving"\nmodality: image\n'
    )
    arguments = ("all=toy/waves", "task.backbone=moving", "task.budget.steps=6")
    store, (row,) = go(*arguments)
    (run,) = plan(arguments, access=Access.from_environment())
    folder = store.folder(row["key"])
    assert folder is not None
    method = restore(run, folder, Access.from_environment())
    assert float(method.backbone.network.bare.running_mean.abs().max()) > 0  # type: ignore[union-attr,operator,arg-type]
    (test,) = prepared_data(run, Access.from_environment()).tests()
    kept = load(folder, row["selection"]["candidate"], "test")["logits"]
    np.testing.assert_array_equal(predict_part(method, test)["logits"], kept)


def test_code_edited_in_one_process_is_what_runs(toy: Path, go: Go) -> None:
    """As in a notebook: the file is edited between two calls, and the second runs and is named by the new text."""
    file = toy / "methods/kinds/scaled.py"
    store, (before,) = go("scaled=toy/waves", "task.budget.steps=2")
    file.write_text(file.read_text().replace("self.scale[:, None] *", "0.0 * self.scale[:, None] *"))
    _, (after,) = go("scaled=toy/waves", "task.budget.steps=2")
    assert after["key"] != before["key"]
    found = [load(store.folder(row["key"]), "last", "test")["logits"] for row in (before, after)]  # type: ignore[arg-type]
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_code_edited_after_the_plan_is_refused(toy: Path, tmp_path: Path) -> None:
    from bench.api import carry_out
    from bench.execute.options import Options
    from bench.store import Store

    access = Access.from_environment()
    runs = plan(["scaled=toy/waves"], access=access)
    file = toy / "methods/kinds/helper.py"
    file.write_text(file.read_text().replace("shape[0]", "shape[0] + 0"))
    store = Store.open(tmp_path / "store")
    outcome = carry_out(runs, store, access, Options())
    assert "methods/kinds/helper.py changed after" in outcome.refused[runs[0].key]
    assert list(store.keys()) == []


def test_a_head_rate_of_zero_is_zero(toy: Path) -> None:
    (run,) = plan(["all=toy/waves", "optimizer.head_lr=0"], access=Access.from_environment())
    method = build(run, work_backbone(run, Access.from_environment()), problem_of(run.task), 3)
    rates = {group["lr"] for group in parameter_groups(method, run.spec["method"]["optimizer"], None, apart=False)}
    assert rates == {0.0, run.spec["method"]["optimizer"]["lr"]}


def test_methods_start_from_the_same_head(toy: Path) -> None:
    heads = []
    for name in ("all", "scaled"):
        (run,) = plan([f"{name}=toy/waves"], access=Access.from_environment())
        heads.append(
            build(run, work_backbone(run, Access.from_environment()), problem_of(run.task), 3).head.state_dict()
        )
    assert torch.equal(heads[0]["linear.weight"], heads[1]["linear.weight"])


def test_both_candidates_are_predicted(toy: Path, go: Go) -> None:
    store, (row,) = go("all=toy/waves", "optimizer.lr=0.05", "task.budget.validations=27")
    folder = store.folder(row["key"])
    assert folder is not None
    record = store.record(row["key"])
    assert record is not None
    candidates = {one["name"] for one in read_json(folder / "selection.json")["considered"]}
    for name in candidates:
        assert parts(folder, name) == ["test", "val"]
    assert "last" in candidates
