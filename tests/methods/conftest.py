"""The tiny networks of the adapters' tests, here too."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "adapter_fixtures", Path(__file__).parents[1] / "execute" / "adapters" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

lora, libraries, bert, vit, convnet, hidden = (
    getattr(_MODULE, name) for name in ("lora", "libraries", "bert", "vit", "convnet", "hidden")
)
