"""Commands that compute nothing: wall time in a process of their own, warm, beside `python -c pass`."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.core.canonical import digest
from bench.data.access import Access
from bench.plan.grid import plan
from bench.store import Store

from .conftest import timed

pytestmark = pytest.mark.perf

WANTED_MS = 300
COST = {"fit_seconds": 1.0, "steps": 5, "stored_bytes": 1000, "peak_bytes": None}
COMMANDS = (
    ["--help"],
    ["list"],
    ["show", "all"],
    ["show", "glue"],
    ["plan", "all=toy/*"],
    ["plan", "all,lora,full,probe=*/*", "--seeds", "5", "--twin"],
    ["plan", "all=toy/*", "optimizer.lr=1.0e-3"],
    ["status"],
    ["table"],
    ["run", "all=toy/waves"],
)


def fill(store: Store, spec: dict[str, Any], request: dict[str, Any], runs: int) -> None:
    """Finished runs of made-up methods on made-up tasks, and one of `spec` itself."""
    scores = {"values": {"accuracy": 0.5, "score": 0.5}, "candidate": "last", "primary": "score", "metrics": {}}
    for place in range(runs):
        method, task, seed = f"m{place % 20}", f"family/t{place // 20 % 10}", place // 200
        one = {**spec, "method": {**spec["method"], "name": method}, "task": {**spec["task"], "name": task}}
        one, asked = {**one, "replicate": seed}, {**request, "method": method, "task": task, "replicate": seed}
        if place == 0:
            one, asked = spec, request
        store.enqueue(digest(one), one, asked)
        claim = store.claim(digest(one))
        assert claim is not None
        store.append_score(claim.folder, scores)
        claim.publish({"spec": one, "request": asked, "cost": COST, "provisional": []})


@pytest.fixture
def full(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of 2,000 finished runs, one of them the toy project's."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    (run,) = plan(["all=toy/waves"], access=Access.from_environment())
    store = Store.open(tmp_path / "store")
    fill(store, dict(run.spec), dict(run.request), 2000)
    monkeypatch.setenv("BENCH_STORE", str(store.path))
    return store


def test_wall_time(full: Store, say: Callable[[str], None]) -> None:
    bare = timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    imports = timed(lambda: subprocess.run([sys.executable, "-c", "import click, yaml, rich.table"], check=True))
    say(f"python -c pass {1000 * bare:.0f} ms; with click, yaml and rich {1000 * imports:.0f} ms")
    for arguments in COMMANDS:
        words = [sys.executable, "-m", "bench", *arguments]
        taken = 1000 * timed(lambda words=words: subprocess.run(words, check=True, capture_output=True))  # type: ignore[misc]
        mark = "" if taken < WANTED_MS else f"   over {WANTED_MS}"
        say(f"bench {' '.join(arguments):56} {taken:4.0f} ms  {taken / 1000 / bare:5.1f} x bare{mark}")


def test_a_finished_run_is_recognised(full: Store, say: Callable[[str], None]) -> None:
    """The parts of asking again for a run that is done, in a process that is warm."""
    from bench.api import carry_out, rows_of
    from bench.execute.options import Options

    access, options = Access.from_environment(), Options()
    arguments = ["all=toy/waves"]
    runs = plan(arguments, access=access)
    seeds = 200
    figures = {
        "plan, its first run": timed(lambda: plan(arguments, access=access)),
        f"plan, each of {seeds} seeds": timed(lambda: plan(arguments, seeds=range(seeds), access=access), 3) / seeds,
        "state of a key": timed(lambda: full.state(runs[0].key), 50),
        "carry_out of a finished run": timed(lambda: carry_out(runs, full, access, options), 50),
        "its row, from 2,000 runs": timed(lambda: rows_of(full, runs), 20),
        "all rows": timed(lambda: full.rows(), 5),
        "opening a store": timed(lambda: Store(full.path), 50),
    }
    for name, taken in figures.items():
        say(f"{name:32} {1000 * taken:7.2f} ms")
    full._index.discard()
    say(f"{'the index anew, 2,000 runs':32} {1000 * timed(full.rebuild_index, 1, 0):7.0f} ms")
    missing = timed(lambda: full.state(digest(uuid.uuid4().hex)), 50)
    say(f"{'state of a key nobody knows':32} {1000 * missing:7.2f} ms")
