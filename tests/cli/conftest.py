"""The command line in process, and a store with a little of everything."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.store import Store

from ..conftest import PROJECTS

SHORT = ("task.budget.steps=2", "task.budget.validations=1")


@dataclass(frozen=True)
class Said:
    """What a command did: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one sentence of a refused command; progress lines may stand before it."""
        lines = [line for line in self.err.splitlines() if not line.endswith(" ...")]
        assert self.code == 2, self
        assert len(lines) == 1, self.err
        assert lines[0].startswith("bench: "), self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("bench: ")


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("run", "all=toy/waves")` as a person would type it."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return call


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two seeds of one method, one seed of another, and a failure; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(PROJECTS / "toy", folder / "toy", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"BENCH_CACHE": str(tmp_path_factory.getbasetemp() / "cache"), "HF_HUB_OFFLINE": "1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "toy")
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("BENCH_MIRROR", raising=False)
        for arguments in (("all=toy/waves", "--seeds", "2"), ("scaled=toy/angle",), ("broken=toy/waves",)):
            with pytest.raises(SystemExit):
                main(["run", *arguments, "--store", str(folder / "store")])
    return folder / "store"


@pytest.fixture
def store(made: Path, tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of that store, in use for a project of its own."""
    shutil.copytree(made, tmp_path / "store")
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


@pytest.fixture
def empty(tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place of a store that a refused command must leave without a run."""
    path = tmp_path / "empty-store"
    monkeypatch.setenv("BENCH_STORE", str(path))
    yield path
    if path.is_dir():
        assert list(Store(path).keys()) == []
    assert not list(Path(os.environ["BENCH_CACHE"]).glob("prepared/.making-*"))


def key_of(store: Store, method: str, state: str = "done") -> str:
    """The key of a run of a method."""
    return next(row["key"] for row in store.rows() if row["method"] == method and row["state"] == state)
