"""`bench.run` from Python and notebooks: the same as on the command line, signals too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.store import Store

SLOW = ("slow=toy/waves", "task.budget.steps=40", "objective.params.seconds=0.05")


def interrupt_when(met: Any, number: int, times: int = 1) -> threading.Thread:
    """Send this process a signal when a condition is met, as the stop button of a notebook does."""

    def wait() -> None:
        end = time.monotonic() + 60
        while not met() and time.monotonic() < end:
            time.sleep(0.02)
        for _ in range(times):
            os.kill(os.getpid(), number)
            time.sleep(0.005)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def first_steps_made(store: Path) -> Any:
    return lambda: any(store.glob("runs/??/*/attempt-*/log/metrics.csv"))


@pytest.mark.parametrize(
    ("number", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["SIGINT", "SIGTERM"]
)
def test_an_interrupted_call_leaves_a_run_that_goes_on(
    toy: Path, tmp_path: Path, number: int, ending: type[BaseException]
) -> None:
    store = tmp_path / "store"
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    interrupt_when(first_steps_made(store), number)
    with pytest.raises(ending):
        bench.run(*SLOW, "task.budget.validations=1", store=store)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    (row,) = Store(store).rows()
    assert row["state"] == "queued", "neither failed nor done"
    (checkpoint,) = store.glob("runs/??/*/attempt-000001/checkpoint/run.ckpt")
    assert checkpoint.exists()
    (done,) = bench.run(*SLOW, "task.budget.validations=1", store=store)
    assert done["state"] == "done"
    record = Store(store).record(done["key"])
    assert record is not None
    assert record["cost"]["steps"] == 40
    assert record["cost"]["updates"] == {"train": {"main": 40}}


def test_a_second_interrupt_ends_at_once_and_leaves_no_failure(toy: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    interrupt_when(first_steps_made(store), signal.SIGINT, times=2)
    with pytest.raises(KeyboardInterrupt):
        bench.run("slow=toy/waves", "task.budget.steps=4", "objective.params.seconds=0.7", store=store)
    (row,) = Store(store).rows()
    assert row["state"] == "queued"


def test_an_interrupted_sweep_says_so(toy: Path, tmp_path: Path) -> None:
    interrupt_when(first_steps_made(tmp_path / "store"), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        bench.sweep("scaled=toy/waves", "task.budget.steps=400", trials=20, store=tmp_path / "store")


def test_debug_makes_two_steps_and_records_nothing(toy: Path, tmp_path: Path) -> None:
    assert list(bench.run("scaled=toy/waves", debug=True, store=tmp_path / "store")) == []
    assert not (tmp_path / "store").exists()
    with pytest.raises(RuntimeError, match="the third step"):
        script = toy / "methods" / "kinds" / "broken.py"
        script.write_text(script.read_text().replace("batch.step == 2", "batch.step == 1"))
        bench.run("broken=toy/waves", debug=True)


def test_offline_tells_the_hubs_libraries(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "0")
    bench.run("scaled=toy/waves", "task.budget.steps=1", offline=True, store=tmp_path / "store")
    assert os.environ["HF_DATASETS_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"


def test_checkpoints_come_as_often_as_the_environment_says(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.execute.session import options_for

    monkeypatch.setenv("BENCH_CHECKPOINT_SECONDS", "7")
    assert options_for().checkpoint_seconds == 7
    monkeypatch.setenv("BENCH_CHECKPOINT_SECONDS", "soon")
    with pytest.raises(bench.UserError, match="expected a number of seconds"):
        bench.run("scaled=toy/waves", store=tmp_path / "store")


def test_built_in_methods_are_importable_from_anywhere(tmp_path: Path) -> None:
    """In an editable install too, and from a folder that is not the checkout."""
    code = "import bench.methods, bench.tasks; from bench.methods.adapters.lora import LoRA; print(LoRA.__module__)"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert found.stdout.strip() == "bench.methods.adapters.lora", found.stderr[-500:]
