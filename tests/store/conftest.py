"""Stores with a few runs in them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.core.canonical import digest
from bench.store import Store

ROOT = Path(bench.__file__).parent.parent


def spec_of(number: int = 0, method: str = "lora", task: str = "glue/rte", **more: Any) -> dict[str, Any]:
    return {"method": {"name": method}, "task": {"name": task}, "fold": None, "replicate": number, **more}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def enqueue(store: Store) -> Callable[..., str]:
    """Enqueue a run of spec_of(...) in `store` (or in another): its key."""

    def do(number: int = 0, into: Store = store, **more: Any) -> str:
        spec = spec_of(number, **more)
        into.enqueue(digest(spec), spec, {"method": "lora", "replicate": number})
        return digest(spec)

    return do


@pytest.fixture
def finish(enqueue: Callable[..., str], store: Store) -> Callable[..., str]:
    """Enqueue, publish and score a run: its key."""

    def do(number: int = 0, into: Store = store, record: dict[str, Any] | None = None, **more: Any) -> str:
        key = enqueue(number, into, **more)
        claim = into.claim(key)
        assert claim is not None
        (claim.folder / "predictions").mkdir()
        (claim.folder / "predictions" / "best.test.safetensors").write_bytes(b"x" * 100)
        into.append_score(claim.folder, {"candidate": "best", "values": {"accuracy": number / 100}})
        assert claim.publish({"key": key, "cost": {"seconds": number}} | (record or {}))
        return key

    return do


@pytest.fixture
def spawn() -> Callable[..., subprocess.Popen[str]]:
    """Start Python on a piece of code, with arguments; its output is a pipe."""

    def do(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    return do
