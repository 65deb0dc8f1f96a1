"""A run: one method x task x fold x replicate x parameters, and its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Raise by hand when the harness changes what a run's result is; every key changes with it.
ENGINE = 3


@dataclass(frozen=True)
class Run:
    """What is executed and recorded. `key` is the digest of `spec`; the rest is how to carry it out."""

    key: str
    spec: Mapping[str, Any]
    request: Mapping[str, Any]
    homes: Mapping[str, Path]  # slot -> folder where its "file:Class" is looked up
    source: Mapping[str, Any]  # the task's source as declared
    backbone: Mapping[str, Any]  # the backbone as resolved
    parameters: int | None  # of the backbone, where its declaration says
    download: int | None  # bytes of its weights, likewise
    seconds: float | None  # a fit that takes longer fails
    data: str  # the digest its prepared data lie under
    inputs: str  # and its inputs, which several tasks and folds may share
    provisional: tuple[str, ...]  # why a result of it would not yet be one about the published data

    @property
    def task(self) -> Mapping[str, Any]:
        """The resolved task, with its source."""
        return {**self.spec["task"], "source": self.source}

    @property
    def replicate(self) -> int:
        """The seed's number."""
        return int(self.spec["replicate"])

    @property
    def fold(self) -> str | None:
        """What this run holds out, where the task stands for several folds."""
        return None if self.spec["fold"] is None else str(self.spec["fold"])

    @property
    def label(self) -> str:
        """For people: method = task, what was overridden, the seed."""
        return label(self.request)


def label(request: Mapping[str, Any]) -> str:
    """`lora = glue/rte [task.budget.epochs=5] seed 0`, `erm = dg/pacs without sketch seed 0`"""
    overrides = " ".join(request["overrides"])
    noted = f" [{overrides}]" if overrides else ""
    fold = f" without {request['fold']}" if request.get("fold") else ""
    return f"{request['method']} = {request['task']}{noted}{fold} seed {request['replicate']}"
