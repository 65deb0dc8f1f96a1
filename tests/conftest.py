"""What every test stands on: a cache of its own, no network, one torch thread per worker."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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
