"""Problems: the contract between tasks and methods. One file per kind of problem.

A task's `problem` is MODALITY-KIND, for example `text-classification`: the modality says what inputs are
(`bench.data.modalities`), the kind says what the head outputs, what is minimised and what is predicted.
Nothing here imports torch before a loss is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, nearest
from bench.data.modalities import MODALITIES, modality
from bench.declarations.fields import Field
from bench.problems._base import Base as Problem

__all__ = ["Problem", "extra_fields", "kinds", "problem_of", "split_name", "usual_method"]


def kinds() -> list[str]:
    """The kinds of problem, from the files here."""
    return sorted(path.stem.replace("_", "-") for path in Path(__file__).parent.glob("[a-z]*.py"))


def split_name(problem: str) -> tuple[str, str]:
    """`text-classification` -> ("text", "classification"); UserError for a problem that does not exist."""
    head, _, kind = str(problem).partition("-")
    if head not in MODALITIES or kind not in kinds():
        legal = [f"{name}-{kind}" for name in MODALITIES for kind in kinds()]
        raise UserError(f"problem is {problem!r}; expected one of {', '.join(legal)}.{nearest(str(problem), legal)}")
    return head, kind


@lru_cache(maxsize=64)
def extra_fields(problem: str) -> dict[str, Field]:
    """The task keys that a problem and its modality add to those of every task."""
    head, kind = split_name(problem)
    return {**modality(head).fields, **_module(kind).PROBLEM.fields}


def problem_of(task: Mapping[str, Any]) -> Problem:
    """The problem of a resolved task."""
    made: Problem = _module(split_name(task["problem"])[1]).PROBLEM(task)
    return made


def usual_method(problem: str) -> str:
    """The method that tasks of a problem are checked with: one of the built-in ones, by name."""
    return str(_module(split_name(problem)[1]).PROBLEM.usual)


def _module(kind: str) -> Any:
    return importlib.import_module(f"bench.problems.{kind.replace('-', '_')}")
