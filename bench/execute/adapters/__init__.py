"""How a backbone's weights may move: by adapters on targets, as they are, or by a tuner of peft's."""

from __future__ import annotations

from bench.execute.adapters.adaptation import Adaptation
from bench.execute.adapters.adapter import Adapter
from bench.execute.adapters.make import make_adaptation
from bench.execute.adapters.targets import Site

__all__ = ["Adaptation", "Adapter", "Site", "make_adaptation"]
