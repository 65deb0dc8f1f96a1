"""A small board with a store behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.api import carry_out
from bench.boards.collect import plan_board
from bench.boards.declare import Board, read_board
from bench.boards.publish import Published, publish
from bench.data.access import Access
from bench.declarations.catalog import Catalog
from bench.execute.options import Options
from bench.store import Store

DECLARED = """title: Toy methods
caption: On two toy tasks.
methods: [all, scaled, "scaled optimizer.lr=0.1"]
tasks: [toy/waves, toy/angle]
overrides: [task.budget.epochs=1, task.budget.validations=1]
seeds: 3
baseline: all
"""

Publish = Callable[..., tuple[Board, Published]]


@pytest.fixture
def board(toy: Path) -> Path:
    """The declaration's file."""
    (toy / "leaderboards").mkdir()
    path = toy / "leaderboards" / "toys.yaml"
    path.write_text(DECLARED)
    return path


@pytest.fixture
def made(tmp_path: Path) -> Publish:
    """Run what a board lacks, and publish it."""

    def run(path: Path, store: str = "store", no_run: bool = False) -> Any:
        access = Access.from_environment(offline=True)
        declared = read_board(path)
        planned = plan_board(declared, Catalog.find(), access)
        opened = Store.open(tmp_path / store)
        if not no_run:
            carry_out(planned.runs, opened, access, Options(log=("none",)))
        return declared, publish(declared, planned, opened, access)

    return run
