"""Ctrl-C, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.store import Store

from .conftest import Cli


class Running:
    """`bench run` in a process, its error stream followed line by line."""

    def __init__(self, *arguments: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench", "run", *arguments, "--offline"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def wait_for(self, met: Callable[[], object], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not met():
            assert self.process.poll() is None, self.lines
            assert time.monotonic() < end, self.lines
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        code = self.process.wait(60)
        self._reader.join(10)
        return code, "".join(self.lines)


def test_ctrl_c_keeps_a_checkpoint_and_the_same_command_goes_on(
    cli: Cli, empty: Path, toy: Path, tmp_path: Path
) -> None:
    arguments = (
        "slow=toy/waves",
        "objective.params.seconds=0.2",
        "task.budget.steps=12",
        "--store",
        str(tmp_path / "s"),
    )
    running = Running(*arguments)
    log = tmp_path / "s" / "runs"
    running.wait_for(lambda: any(log.glob("??/*/attempt-*/log/metrics.csv")))
    running.process.send_signal(signal.SIGINT)
    code, said = running.end()
    assert code == 130, said
    assert "Stopping after this step" in said
    assert "The same command goes on from there." in said
    assert "Traceback" not in said
    store = Store(tmp_path / "s")
    (row,) = store.rows()
    assert row["state"] == "queued"
    assert list(log.glob("??/*/attempt-000001/checkpoint/run.ckpt"))
    again = cli("run", *arguments)
    assert again.code == 0, again.err
    assert "12 steps, going on from step" in again.err
    assert [row["state"] for row in store.rows()] == ["done"]
    assert not list(log.glob("??/*/attempt-000002/checkpoint"))


def test_ctrl_c_twice_ends_at_once_and_holds_nothing(empty: Path, toy: Path, tmp_path: Path) -> None:
    """Lightning would take the second for its own, and exit with 1: a failed run."""
    running = Running("slow=toy/waves", "objective.params.seconds=30", "--store", str(tmp_path / "s"))
    running.wait_for(lambda: any("steps" in line for line in running.lines))
    time.sleep(1.0)
    running.process.send_signal(signal.SIGINT)
    running.wait_for(lambda: any("Ctrl-C again" in line for line in running.lines))
    begun = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    code, said = running.end()
    assert code == 130, said
    assert "Traceback" not in said
    assert time.monotonic() - begun < 20
    assert [row["state"] for row in Store(tmp_path / "s").rows()] == ["queued"]
