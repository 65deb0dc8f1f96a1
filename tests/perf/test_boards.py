"""How long it takes to build every table of a large board."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.boards.build import build
from bench.boards.declare import read_board
from bench.boards.evidence import digest_of, read_evidence, write_evidence
from bench.boards.records import read_records, write_records
from bench.boards.render import texts

pytestmark = pytest.mark.perf

METHODS, TASKS, ITEMS = 60, 30, 500


def made_up(seeds: int, evidence: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Records as they come from runs, with scores drawn at random."""
    drawn = np.random.default_rng(0)
    records, arrays = [], {}
    for task in range(TASKS):
        hard = drawn.random(ITEMS)
        for method in range(METHODS):
            for seed in range(seeds):
                right = (drawn.random(ITEMS) < 0.3 + 0.4 * hard + 0.004 * method).astype(float)
                name, typed = f"method{method}", ["optimizer.lr=0.001"]
                request = {
                    "method": name, "task": f"family/task{task}", "overrides": typed, "replicate": seed, "fold": None,
                    "folds": [], "precision": "32", "twin": False,
                }  # fmt: skip
                digest = digest_of(right) if evidence else ""
                if evidence:
                    arrays[digest] = right
                records.append(
                    {
                        "key": f"{task:04x}{method:04x}{seed:056x}",
                        "method": f"{name} optimizer.lr=0.001", "task": request["task"], "base": request["task"],
                        "fold": None, "replicate": seed, "state": "done",
                        "spec": {
                            "method": {"name": name},
                            "task": {"name": request["task"], "metric": "accuracy", "report": []},
                            "backbone": {"name": "x"}, "code": {}, "data": {}, "weights": {}, "libraries": {},
                            "replicate": seed,
                        },
                        "request": request, "typed": typed, "rule": "val", "primary": "accuracy",
                        "scores": {"accuracy": float(right.mean()), "score": float(right.mean())},
                        "candidates": None, "parts": None,
                        "selection": {"rule": "val", "candidate": "last", "step": 9, "value": 0.5},
                        "cost": {"trainable_parameters": 1000 * (method + 1), "fit_seconds": 2.0, "peak_bytes": 1e9},
                        "data": {"digest": "0" * 64, "rows": {"test": ITEMS}}, "provisional": [], "post_hoc": False,
                        "scored": 1, "evidence": {"test": digest} if evidence else {},
                        "provenance": {"versions": {"torch": "2"}, "cores": 2, "processor": "x", "device": "cpu"},
                    }
                )  # fmt: skip
    return records, arrays


@pytest.mark.parametrize(("seeds", "evidence"), [(5, True), (56, False)])
def test_building_all_tables(tmp_path: Path, seeds: int, evidence: bool) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("title: Large\nmethods: ['*']\ntasks: ['*']\nseeds: 5\nbaseline: method0 optimizer.lr=0.001\n")
    records, arrays = made_up(seeds, evidence)
    write_records(tmp_path / "large.records.jsonl", records, None)
    write_evidence(tmp_path / "large.zip", arrays)
    size = (tmp_path / "large.records.jsonl").stat().st_size / 1e6
    board = read_board(path)
    print(f"\n{len(records):,} records, {size:.1f} MB, {len(arrays):,} arrays of {ITEMS} items")
    del records, arrays  # whoever builds tables has not made the records in the same process
    gc.collect()
    for name in ("first", "again"):
        begun = time.perf_counter()
        kept = read_records(tmp_path / "large.records.jsonl")
        found = read_evidence(tmp_path / "large.zip")
        read = time.perf_counter() - begun
        built = build(board, kept.records, found, tmp_path / "cache")
        between = time.perf_counter() - begun
        written = texts(built)
        total = time.perf_counter() - begun
        sizes = ", ".join(f"{ending} {len(text) / 1e6:.1f} MB" for ending, text in written.items())
        print(
            f"{name}: {total:.1f} s (read {read:.1f}, build {between - read:.1f}, write {total - between:.1f}); {sizes}"
        )
