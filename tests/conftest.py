"""What every test stands on: a cache of its own, no network, one torch thread per worker."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Two workers with two threads each run many times slower than with one; libraries read these when they are imported.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ.update({"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "TOKENIZERS_PARALLELISM": "false"})

PROJECTS = Path(__file__).parent / "projects"


@pytest.fixture(autouse=True)
def _quiet_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache shared by this worker's tests, and none of the caller's settings but the mirror's place."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("BENCH_STORE", raising=False)
    mirror = os.environ.get("BENCH_MIRROR")
    monkeypatch.delenv("BENCH_MIRROR", raising=False)
    if mirror:
        monkeypatch.setenv("BENCH_TEST_MIRROR", str(Path(mirror).resolve()))


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mirror of real data, where there is one."""
    path = os.environ.get("BENCH_TEST_MIRROR")
    if not path:
        pytest.skip("real data: set BENCH_MIRROR to a mirror of the hub")
    monkeypatch.setenv("BENCH_MIRROR", path)
    return Path(path)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A benchmark project of its own that a test may edit; the working directory is in it."""
    folder = tmp_path / "toy"
    shutil.copytree(PROJECTS / "toy", folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    return folder


Go = Callable[..., tuple[Any, list[dict[str, Any]]]]  # the store, the rows


@pytest.fixture
def go(tmp_path: Path) -> Go:
    """Plan and carry out in this process; gives the store and the rows."""
    from bench.api import carry_out, rows_of
    from bench.data.access import Access
    from bench.execute.options import Options
    from bench.plan.grid import plan
    from bench.store import Store

    def run(
        *arguments: str, store: str = "store", retry: bool = False, seeds: tuple[int, ...] = (0,), **options: Any
    ) -> Any:
        twin = options.pop("twin", False)
        precision, folds = options.pop("precision", "32"), options.pop("folds", None)
        access = Access.from_environment(offline=True)
        runs = plan(arguments, seeds=seeds, twin=twin, precision=precision, folds=folds, access=access)
        opened = Store.open(tmp_path / store)
        progress = options.pop("progress", None)
        outcome = carry_out(runs, opened, access, Options(**options), progress, retry)
        rows = list(rows_of(opened, runs))
        for row in rows:
            row["outcome"] = outcome
        return opened, rows

    return run


class Stopper:
    """A progress that asks the run to stop after a step."""

    def __init__(self, step: int, stop: threading.Event) -> None:
        self.step_, self.stop = step, stop
        self.begun: list[int] = []

    def begin(self, label: str, steps: int, done: int) -> None:
        self.begun.append(done)

    def step(self, done: int, loss: float | None, score: float | None) -> None:
        if done == self.step_:
            self.stop.set()

    def phase(self, text: str) -> None:
        pass

    def settled(self) -> None:
        pass
