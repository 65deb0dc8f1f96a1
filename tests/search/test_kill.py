"""Sweeps that are killed at random moments: real processes, real signals."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.store import Store

pytestmark = pytest.mark.slow

TRIALS = 14
ARGUMENTS = (
    *("searched=toy/waves", "task.budget.epochs=3", "objective.params.seconds=0.02"),
    *("--trials", str(TRIALS), "--confirm-seeds", "2", "--offline", "--log", "none"),
)
METHOD = """title: As `slow`, with a space
objective: {objective: "slow:Slow", params: {seconds: 0.05}}
adaptation: {train: all}
optimizer: {lr: 3.0e-3}
search:
  optimizer.lr: {low: 1.0e-5, high: 1.0, log: true}
  optimizer.weight_decay: {choices: [0.0, 0.1]}
"""


def start(folder: Path, store: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "BENCH_CHECKPOINT_SECONDS": "0.2"}
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "sweep", *ARGUMENTS, "--store", str(store)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def outcome(store: Path) -> tuple[dict[str, Any], list[str], dict[str, int]]:
    """The selection, the keys of the trials in order, the confirming runs."""
    studies = Store(store).studies
    (name,) = studies.names()
    selection = studies.selection(name)
    assert selection is not None
    return selection, [one["key"] for one in selection["trials"]], studies.confirmed(name)


def once(store: Path) -> None:
    """Every run is done, and was published once."""
    for row in Store(store).rows():
        assert row["state"] == "done"
        events = sorted((store / "runs" / row["key"][:2] / row["key"] / "events").iterdir())
        kinds = [json.loads(path.read_bytes())["event"] for path in events if not path.name.startswith(".")]
        assert kinds.count("done") == 1


@pytest.fixture
def project(toy: Path) -> Path:
    (toy / "methods" / "kinds" / "searched.yaml").write_text(METHOD)
    return toy


def test_ten_kills_change_nothing(project: Path, tmp_path: Path) -> None:
    undisturbed = start(project, tmp_path / "undisturbed")
    said = undisturbed.communicate(timeout=600)[0].decode()
    assert undisturbed.returncode == 0, said
    expected = outcome(tmp_path / "undisturbed")
    drawn, store, kills = random.Random(0), tmp_path / "killed", 0
    for _ in range(60):
        process = start(project, store)
        if kills < 10:
            journals = list(store.glob("studies/*/journal.log"))
            before = sum(path.stat().st_size for path in journals)
            end = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < end:  # let it get to work
                if sum(path.stat().st_size for path in store.glob("studies/*/journal.log")) != before:
                    break
                time.sleep(0.01)
            time.sleep(drawn.uniform(0, 2.0))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
            continue
        said = process.communicate(timeout=600)[0].decode()
        assert process.returncode == 0, said
        break
    assert kills == 10
    selection, keys, confirmed = outcome(store)
    assert keys == expected[1]
    assert confirmed == expected[2]
    same = ("winner", "key", "value", "overrides", "rule")
    assert {name: selection[name] for name in same} == {name: expected[0][name] for name in same}
    assert [one["value"] for one in selection["trials"]] == [one["value"] for one in expected[0]["trials"]]
    once(store)


def test_four_workers_of_whom_some_are_killed(project: Path, tmp_path: Path) -> None:
    store, drawn = tmp_path / "store", random.Random(1)
    workers = [start(project, store) for _ in range(4)]
    for _ in range(4):
        time.sleep(drawn.uniform(5, 12))
        place = drawn.randrange(4)
        if workers[place].poll() is None:
            workers[place].send_signal(signal.SIGKILL)
            workers[place].wait()
            workers[place] = start(project, store)
    said = [process.communicate(timeout=900)[0].decode() for process in workers]
    assert [process.returncode for process in workers] == [0] * 4, said
    selection, keys, _ = outcome(store)
    assert [one["number"] for one in selection["trials"]] == list(range(TRIALS))
    assert all(one["state"] == "done" for one in selection["trials"])
    once(store)
    assert len(Store(store).rows()) == len(set(keys)) + 2
