"""bench: declarative benchmarks for deep learning.

A benchmark is a declaration; a run is a pure function of it; a leaderboard is a pure function of runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import Records as Records
    from bench.api import run as run
    from bench.api import sweep as sweep
    from bench.core.errors import UserError as UserError
    from bench.execute.adapters import Adaptation as Adaptation
    from bench.execute.adapters import Adapter as Adapter
    from bench.execute.backbones import Features as Features
    from bench.execute.batch import Batch as Batch
    from bench.execute.batch import Rows as Rows
    from bench.execute.head import Head as Head
    from bench.execute.method import Method as Method
    from bench.execute.objective import Objective as Objective
    from bench.execute.optimizer import Rule as Rule
    from bench.execute.parts import Info as Info
    from bench.execute.phases import Phase as Phase
    from bench.execute.step import Step as Step

_HOMES = {
    "run": "bench.api",
    "sweep": "bench.api",
    "Records": "bench.api",
    "UserError": "bench.core.errors",
    "Method": "bench.execute.method",
    "Objective": "bench.execute.objective",
    "Adapter": "bench.execute.adapters",
    "Adaptation": "bench.execute.adapters",
    "Head": "bench.execute.head",
    "Rule": "bench.execute.optimizer",
    "Features": "bench.execute.backbones",
    "Batch": "bench.execute.batch",
    "Rows": "bench.execute.batch",
    "Step": "bench.execute.step",
    "Phase": "bench.execute.phases",
    "Info": "bench.execute.parts",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import on first use: `import bench` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
