"""A method's trained state as a file: its tensors, and in the header what it takes to build a place for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from bench.execute.method import Method


def write_state(method: Method, file: Path) -> None:
    """Every tensor that differs from the published backbone, or may; steps, domains and shapes in the header."""
    header = {"steps": method.info.steps, "domains": method.info.domains, "shapes": method.shapes()}
    save_file(method.trained_state(), file, metadata={"bench": json.dumps(header)})


def read_header(file: Path) -> dict[str, Any]:
    """`steps`, `domains` and `shapes` of the method that was written."""
    with safe_open(file, framework="pt") as opened:
        header: dict[str, Any] = json.loads((opened.metadata() or {})["bench"])
    return header


def read_state(method: Method, file: Path) -> None:
    """Put a written state back into a method that was built alike."""
    method.reshape(read_header(file)["shapes"])
    method.load_trained_state(load_file(file))
