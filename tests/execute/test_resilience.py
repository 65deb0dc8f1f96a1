"""Promise 5: nothing is lost, nothing is recorded twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bench.data.access import Access
from bench.plan.grid import plan
from bench.predictions import load
from bench.store import Store

from .conftest import Go, Stopper

SLOW = ("slow=toy/waves", "task.budget.epochs=8", "objective.params.seconds=0.03")


def start(folder: Path, store: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "BENCH_CHECKPOINT_SECONDS": "0.2"}
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "run", *arguments, "--store", str(store), "--offline"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_for(found: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not found():  # type: ignore[operator]
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def test_kill_9_then_the_same_command_completes_with_one_record(toy: Path, tmp_path: Path, go: Go) -> None:
    """Killed in mid-epoch after a checkpoint; what follows goes on from it, to the bits of an unbroken run."""
    (run,) = plan(SLOW, access=Access.from_environment())
    store = tmp_path / "store"
    process = start(toy, store, *SLOW)
    checkpoint = store / "runs" / run.key[:2] / run.key / "attempt-000001" / "checkpoint" / "run.ckpt"
    wait_for(lambda: checkpoint.exists() or process.poll() is not None)
    assert process.poll() is None, process.stdout.read() if process.stdout else ""
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    opened = Store(store)
    assert opened.state(run.key) == "stale"
    opened, (row,) = go(*SLOW)
    assert row["state"] == "done"
    assert opened.folder(run.key).name == "attempt-000002"  # type: ignore[union-attr]
    assert [one["key"] for one in opened.rows()] == [run.key]
    assert not list(checkpoint.parents[2].glob("attempt-*/checkpoint"))
    unbroken, _ = go(*SLOW, store="unbroken")
    for part in ("test", "val"):
        one, two = (load(s.folder(run.key), "last", part)["logits"] for s in (opened, unbroken))  # type: ignore[arg-type]
        np.testing.assert_array_equal(one, two)
    assert opened.record(run.key)["history"] == unbroken.record(run.key)["history"]  # type: ignore[index]


def test_two_processes_share_the_work_and_record_each_key_once(toy: Path, tmp_path: Path) -> None:
    arguments = ("slow,all=toy/waves", "--seeds", "4", "task.budget.epochs=3")
    store = tmp_path / "store"
    processes = [start(toy, store, *arguments) for _ in range(2)]
    said = [process.communicate(timeout=300)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    rows = Store(store).rows()
    assert [row["state"] for row in rows] == ["done"] * 8
    for row in rows:
        folder = store / "runs" / row["key"][:2] / row["key"]
        assert sorted(path.name for path in folder.glob("attempt-*")) == ["attempt-000001"]
    began = [text.count(" steps\n") + text.count(" steps,") for text in said]
    assert sum(began) == 8


def test_a_failure_is_a_row_with_its_traceback_and_the_grid_goes_on(toy: Path, go: Go) -> None:
    store, rows = go("broken,all=toy/waves")
    states = {row["method"]: row["state"] for row in rows}
    assert states == {"broken": "failed", "all": "done"}
    (failed,) = [row for row in rows if row["state"] == "failed"]
    error = store.error(failed["key"])
    assert error is not None
    assert "the third step went wrong" in error
    assert "broken.py" in error
    attempts = len(list((store.path / "runs" / failed["key"][:2] / failed["key"]).glob("attempt-*")))
    _, _ = go("broken=toy/waves")
    assert len(list((store.path / "runs" / failed["key"][:2] / failed["key"]).glob("attempt-*"))) == attempts
    script = toy / "methods" / "kinds" / "broken.py"
    go("broken=toy/waves", retry=True)
    assert len(list((store.path / "runs" / failed["key"][:2] / failed["key"]).glob("attempt-*"))) == attempts + 1
    assert script.exists()


def test_a_loss_that_is_not_finite_is_a_failure(toy: Path, go: Go) -> None:
    store, (row,) = go("all=toy/waves", "optimizer.lr=1.0e+30", "optimizer.optimizer=sgd")
    assert row["state"] == "failed"
    assert "the loss is" in (store.error(row["key"]) or "")


def test_a_fit_over_its_seconds_is_a_failure(toy: Path, go: Go) -> None:
    store, (row,) = go(*SLOW, "task.budget.seconds=0.2")
    assert row["state"] == "failed"
    assert "the budget of 0.2 s ended" in (store.error(row["key"]) or "")


def test_an_incomplete_checkpoint_costs_time_and_nothing_else(toy: Path, tmp_path: Path, go: Go) -> None:
    """Killed while the checkpoint was copied: the best state it names is missing, or the file is torn."""
    arguments = ("all=toy/waves", "task.budget.epochs=2", "task.budget.validations=9")
    for damage in ("best-*.safetensors", "run.ckpt"):
        stop = threading.Event()
        store, (row,) = go(*arguments, store=damage[:4], stop=stop, progress=Stopper(5, stop))
        (folder,) = (store.path / "runs" / row["key"][:2] / row["key"]).glob("attempt-*/checkpoint")
        for file in folder.glob(damage):
            file.write_bytes(b"torn") if damage == "run.ckpt" else file.unlink()
        store, (row,) = go(*arguments, store=damage[:4])
        assert row["state"] == "done", store.error(row["key"])


def test_a_run_removed_by_another_process_does_not_end_the_grid(
    toy: Path, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, removed = Store.claim, []

    def claim(store: Store, key: str, retry: bool = False) -> object:
        if not removed:
            removed.append(key)
            store.remove([key])
        return real(store, key, retry=retry)

    monkeypatch.setattr(Store, "claim", claim)
    _, rows = go("all=toy/waves", "task.budget.steps=2", seeds=(0, 1))
    assert [row["state"] for row in rows] == ["done", "done"]
    assert removed


def test_a_generator_that_raises_refuses_its_task_alone(toy: Path, go: Go) -> None:
    make = toy / "tasks/toy/make.py"
    make.write_text(make.read_text() + "\n\ndef bad(rows):\n    raise ValueError('no moon tonight')\n")
    (toy / "tasks/toy/bad.yaml").write_text(
        'title: Cannot be made\nsource: {generator: "make:bad", params: {rows: 9}}\nclasses: [a, b]\nmetric: accuracy\n'
    )
    _, rows = go("all=toy/bad,toy/waves", "task.budget.steps=2")
    (row,) = rows
    assert row["task"] == "toy/waves"
    (said,) = row["outcome"].refused.values()
    assert said == "The data of toy/bad cannot be made: ValueError: no moon tonight"


def test_exits_and_messages_that_are_no_text_are_failures(toy: Path, go: Go) -> None:
    for body, expected in (("raise SystemExit(3)", "SystemExit: 3"), (r"raise OSError('\udcff')", r"OSError: \udcff")):
        script = toy / "methods/kinds/broken.py"
        script.write_text(
            "from bench.execute.objective import Objective\n\n\nclass Broken(Objective):\n"
            f"    def forward(self, method, batch):\n        {body}\n"
        )
        store, rows = go("broken,all=toy/waves", "task.budget.steps=2")
        states = {row["method"]: row for row in rows}
        assert states["all"]["state"] == "done"
        assert states["broken"]["state"] == "failed"
        assert expected in (store.error(states["broken"]["key"]) or "")


def test_an_emptied_cache_does_not_lose_a_finished_fit(toy: Path, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from bench.execute import engine

    real = engine._keep

    def keep(*given: object) -> object:
        shutil.rmtree(Access.from_environment().cache / "sealed")
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "_keep", keep)
    _, (row,) = go("all=toy/waves", "task.budget.steps=2")
    assert row["state"] == "done"


def test_a_record_that_cannot_be_published_is_said_and_the_grid_goes_on(
    toy: Path, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.store import Claim

    real, tried = Claim.publish, []

    def publish(claim: Claim, record: dict[str, object]) -> bool:
        tried.append(claim.key)
        if len(tried) == 1:
            raise OSError(28, "No space left on device")
        return real(claim, record)

    monkeypatch.setattr(Claim, "publish", publish)
    _, rows = go("all=toy/waves", "task.budget.steps=2", seeds=(0, 1))
    assert sorted(row["state"] for row in rows) == ["done", "queued"]
    (said,) = rows[0]["outcome"].refused.values()
    assert "could not be published" in said


def test_a_person_s_mistake_leaves_nothing_behind(toy: Path, go: Go) -> None:
    store, rows = go("scaled=toy/waves", "adaptation.targets=nowhere")
    assert rows == []
    assert list(store.keys()) == []


def test_progress_counts_every_run_of_the_plan(toy: Path, go: Go) -> None:
    """Those that were done before, that fail and that are refused are behind one as well."""
    from bench.execute.progress import Silent

    class Counting(Silent):
        count = 0

        def settled(self) -> None:
            self.count += 1

    go("all=toy/waves", "task.budget.steps=2")
    progress = Counting()
    go("all,broken,scaled=toy/waves", "task.budget.steps=3", progress=progress)
    assert progress.count == 3
    go("all,broken,scaled=toy/waves", "task.budget.steps=3", progress=progress)
    assert progress.count == 6


def test_a_finished_run_is_not_run_again(toy: Path, go: Go) -> None:
    _, (row,) = go("all=toy/waves", "task.budget.steps=2")
    _, (again,) = go("all=toy/waves", "task.budget.steps=2")
    assert again["at"] == row["at"]
    assert again["outcome"].finished == []
    assert again["outcome"].present == [row["key"]]


@pytest.mark.parametrize("seeds", [(0, 1)])
def test_replicates_differ(toy: Path, go: Go, seeds: tuple[int, ...]) -> None:
    _, rows = go("all=toy/waves", "task.budget.steps=5", seeds=seeds)
    assert len({row["key"] for row in rows}) == 2
    assert len({row["variant"] for row in rows}) == 1
