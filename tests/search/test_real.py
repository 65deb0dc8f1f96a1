"""A sweep on real data from a mirror, at a small declared budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Tune

pytestmark = pytest.mark.slow


def test_probe_and_lora_on_sst2(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tune: Tune) -> None:
    monkeypatch.chdir(tmp_path)
    budget = ("task.budget.steps=20", "task.budget.validations=1", "task.budget.batch_size=16")
    done = tune("probe,lora=glue/sst2", *budget, trials=3, sampler="tpe", confirm=1)
    assert done.swept.refused == []
    assert done.swept.failed == {}
    assert len(done.swept.selections) == 2
    for study in done.studies:
        selection = done.swept.selections[study.name]
        assert selection["spent"] | {"seconds": 0} == {"trials": 3, "done": 3, "steps": 60, "seconds": 0}
        assert selection["value"] > 0.5
        rows = {row["key"]: row for row in done.store.rows()}
        assert sum(rows[one["key"]]["scores"] is not None for one in selection["trials"]) == 1
