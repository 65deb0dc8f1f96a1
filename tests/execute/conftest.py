"""Running small things in process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.api import carry_out, rows_of
from bench.data.access import Access
from bench.execute.options import Options
from bench.plan.grid import plan
from bench.store import Store

Go = Callable[..., tuple[Store, list[dict[str, Any]]]]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    """Plan and carry out; gives the store and the rows."""

    def run(
        *arguments: str, store: str = "store", retry: bool = False, seeds: tuple[int, ...] = (0,), **options: Any
    ) -> Any:
        twin = options.pop("twin", False)
        precision = options.pop("precision", "32")
        access = Access.from_environment(offline=True)
        runs = plan(arguments, seeds=seeds, twin=twin, precision=precision, access=access)
        opened = Store.open(tmp_path / store)
        progress = options.pop("progress", None)
        outcome = carry_out(runs, opened, access, Options(**options), progress, retry)
        rows = list(rows_of(opened, runs))
        for row in rows:
            row["outcome"] = outcome
        return opened, rows

    return run
