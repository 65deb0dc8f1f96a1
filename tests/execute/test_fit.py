"""Calibration sees what training sees; interruptions are told from failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.errors import Interrupted
from bench.execute.fit import _interruptions

from .conftest import Go

NOTED: list[dict[str, Any]] = []

CALIBRATING = """
import torch
from torch import nn

from bench import Adaptation, Adapter


class Noted(Adapter):
    def setup(self):
        self.shift = nn.Parameter(torch.zeros_like(self.weight0))
        self.register_state("level", torch.zeros(()))

    def weight(self):
        return self.weight0 * (1 + self.level) + self.shift


class Calibrated(Adaptation):
    calibration_batches = 3

    def setup(self, damage=False):
        self.damage, self.rows = damage, None

    def build(self):
        for site in self.sites():
            self.add(Noted(site))

    def context(self, rows):
        self.rows = rows.ids.tolist()

    def calibrate(self, batches, forward):
        for batch in batches:
            loss = forward(batch)
            loss.backward()
            assert self.rows == batch.ids.tolist(), "the context is of the batch"
            NOTE(batch=batch, loss=loss, training=self.training, backbone=self.backbone.training)
            with torch.no_grad():
                for adapter in self.labelled().values():
                    adapter.level.add_(0.001 * loss)
                if self.damage:
                    adapter.site.layer.raw("weight").add_(1.0)


def NOTE(**given):
    pass
"""


@pytest.fixture
def calibrated(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose method notes what it is calibrated with."""
    import sys

    from bench.core.loading import load

    kinds = toy / "methods" / "kinds"
    (kinds / "calibrated.py").write_text(CALIBRATING)
    (kinds / "calibrated.yaml").write_text(
        "title: Looks first\n"
        'adaptation: {adaptation: "calibrated:Calibrated", params: {damage: false}, targets: dense}\n'
    )
    module = sys.modules[load("calibrated:Calibrated", kinds).__module__]
    NOTED.clear()
    monkeypatch.setattr(module, "NOTE", lambda **given: NOTED.append(given))
    return toy


def test_calibration_sees_whole_steps_as_they_will_be_trained_on(calibrated: Path, go: Go) -> None:
    store, (row,) = go("calibrated=toy/waves", "task.budget.steps=4")
    assert row["state"] == "done", store.error(row["key"])
    assert [note["batch"].step for note in NOTED] == [0, 1, 2]
    assert {len(note["batch"]) for note in NOTED} == {8}
    assert not any(note["training"] or note["backbone"] for note in NOTED), "in evaluation mode"


def test_calibration_does_not_depend_on_micro_batches(calibrated: Path, go: Go) -> None:
    """The key does not hold them."""
    levels = []
    for name, micro in (("whole", None), ("cut", 3)):
        store, (row,) = go("calibrated=toy/waves", "task.budget.steps=4", store=name, micro_batch=micro)
        from safetensors.torch import load_file

        kept = load_file(store.folder(row["key"]) / "trained.safetensors")
        levels.append([tensor for key, tensor in sorted(kept.items()) if key.endswith("level")])
    assert [len(note["batch"]) for note in NOTED] == [8] * 6
    assert all(torch.equal(one, other) for one, other in zip(*levels, strict=True))
    assert float(levels[0][0]) > 0


def test_calibration_is_in_the_precision_of_training(calibrated: Path, go: Go) -> None:
    store, (row,) = go("calibrated=toy/waves", "task.budget.steps=4", precision="bf16")
    assert row["state"] == "done", store.error(row["key"])
    exact, rounded = [float(note["loss"]) for note in NOTED], len(NOTED)
    assert rounded == 3
    go("calibrated=toy/waves", "task.budget.steps=4", store="exact")
    assert exact[0] != float(NOTED[3]["loss"])
    assert exact[0] == pytest.approx(float(NOTED[3]["loss"]), rel=0.05)


def test_calibration_is_not_repeated_when_a_run_goes_on(calibrated: Path, go: Go) -> None:
    import threading

    from .conftest import Stopper

    stop = threading.Event()
    go("calibrated=toy/waves", "task.budget.steps=4", stop=stop, progress=Stopper(2, stop))
    assert len(NOTED) == 3
    store, (row,) = go("calibrated=toy/waves", "task.budget.steps=4")
    assert row["state"] == "done", store.error(row["key"])
    assert len(NOTED) == 3
    whole, (same,) = go("calibrated=toy/waves", "task.budget.steps=4", store="whole")
    first, second = (found.folder(row["key"]) / "trained.safetensors" for found in (store, whole))
    assert first.read_bytes() == second.read_bytes()
    assert same["scores"] == row["scores"]


def test_calibration_that_changes_frozen_weights_is_a_failure(calibrated: Path, go: Go) -> None:
    store, (row,) = go("calibrated=toy/waves", "task.budget.steps=4", "adaptation.params.damage=true")
    assert row["state"] == "failed"
    assert "the frozen weight backbone.network." in (store.error(row["key"]) or "")


def test_lightnings_answers_to_signals_are_interruptions() -> None:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    with pytest.raises(Interrupted), _interruptions():
        raise SIGTERMException
    with pytest.raises(Interrupted), _interruptions():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904 - as Lightning does
    with pytest.raises(SystemExit), _interruptions():
        raise SystemExit(3)
