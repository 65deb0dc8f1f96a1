"""From the `adaptation` slot of a resolved method to the object that carries it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.adapters.adaptation import Adaptation
from bench.execute.adapters.adapter import Adapter
from bench.execute.parts import Info

FILLINGS = ("adapter", "peft", "train", "adaptation")


def make_adaptation(
    backbone: nn.Module,
    body: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]] | None = None,
    home: Path | None = None,
    info: Info | None = None,
) -> Adaptation:
    """The adaptation that `body` declares, not yet attached; all weights move where nothing is declared.

    `backbone` is the library's own network, for targets and saved adapters name paths in it; `groups` are its
    backbone's own target groups, `home` is the folder in which "file:Class" is looked up, `info` what it may know.
    """
    filled = [key for key in FILLINGS if body.get(key) is not None]
    if len(filled) > 1:
        raise UserError(f"adaptation names {' and '.join(filled)}, of which a method has one.")
    how = filled[0] if filled else "train"
    rest: dict[str, Any] = {
        "params": body.get("params"),
        "targets": body.get("targets"),
        "groups": groups,
    }
    made = _made(backbone, how, body, rest, home)
    made.bind(info or Info())
    return made


def _made(
    backbone: nn.Module, how: str, body: Mapping[str, Any], rest: dict[str, Any], home: Path | None
) -> Adaptation:
    if how == "peft":
        from bench.execute.adapters.adalora import AdaLoRAAdaptation
        from bench.execute.adapters.peft import PeftAdaptation

        plan = AdaLoRAAdaptation if str(body["peft"]).upper() == "ADALORA" else PeftAdaptation
        return plan(backbone, peft=body["peft"], **rest)
    if how == "train":
        return Adaptation(backbone, train=body.get("train", "all") or "all", **rest)
    found = body[how]
    if not isinstance(found, type):
        if home is None:
            raise ValueError("a folder is needed to look up a class")
        found = load(found, home)
    if isinstance(found, type):
        if how == "adapter" and issubclass(found, Adapter):
            return Adaptation(backbone, adapter=found, **rest)
        if how == "adaptation" and issubclass(found, Adaptation):
            return found(backbone, **rest)
    raise UserError(f"adaptation.{how} names {body[how]!r}, which is not a subclass of {how.capitalize()}.")
