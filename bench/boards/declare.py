"""A board's declaration: `leaderboards/NAME.yaml`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.declarations import yaml12
from bench.declarations.fields import Field
from bench.declarations.schema import check, is_plain_name
from bench.declarations.wording import place

INTERVALS = ("crossed", "t", "bootstrap", "interquartile")
MISSING = ("none", "worst", "drop-task")
SUFFIX = ".yaml"

_TEXTS = Field("list", required=True, item=Field("text"))
_REPORTED = Field(
    "mapping",
    fields={
        "method": Field("text", required=True),
        "task": Field("text", required=True),
        "value": Field("number", required=True),  # in the metric's own unit: a share, not per cent
        "half": Field("number", low=0),
        "seeds": Field("integer", low=1),
        "citation": Field("text", required=True),
        "link": Field("text"),
        "protocol": Field("text", required=True),  # how it differs from this board's
    },
)

BOARD = Field(
    "mapping",
    fields={
        "title": Field("text", required=True),
        "caption": Field("text", default=""),
        "methods": _TEXTS,
        "tasks": _TEXTS,
        "overrides": Field("list", default=[], item=Field("text"), empty=True),
        "seeds": Field("integer", low=1, default=5),
        "precision": Field("text", choices=("32", "bf16", "16"), default="32"),
        "twin": Field("boolean", default=False),
        "tune": Field(
            "mapping",
            fields={
                "trials": Field("integer", low=1, required=True),
                "sampler": Field("text", default="tpe"),
                "sampler_seed": Field("integer", low=0, default=0),
                "pruner": Field("text", default="none"),
                "seconds": Field("number", above=0),
            },
        ),
        "interval": Field("text", choices=INTERVALS, default="crossed"),
        "missing": Field("text", choices=MISSING, default="none"),
        "baseline": Field("text"),
        "reported": Field("list", default=[], item=_REPORTED, empty=True),
    },
)


@dataclass(frozen=True)
class Board:
    """A declared board. `name` is its file's, `path` the file; `body` is checked, with defaults."""

    name: str
    path: Path
    body: Mapping[str, Any]

    def beside(self, ending: str) -> Path:
        """A file of the board: `NAME.md` and the like, beside the declaration."""
        return self.path.with_name(f"{self.name}.{ending}")

    def methods(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each method as (expression, overrides of its own): `lora adaptation.params.rank=16` has one."""
        found = []
        for text in self.body["methods"]:
            words = _words(text, self.path)
            found.append((words[0], tuple(words[1:])))
        return found


def read_board(path: Path) -> Board:
    """The board declared in a file; UserError for what it may not say."""
    if path.suffix != SUFFIX:
        raise UserError(f"{path} is no board; expected a file such as leaderboards/glue.yaml.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if not is_plain_name(path.stem) or "/" in path.stem:
        raise UserError(f"{path}: a board's name has letters, digits, '_', '-' and '.'.")
    body = check(yaml12.parse(text, place(path)), BOARD, place(path))
    board = Board(path.stem, path, body)
    for method, own in board.methods():
        if "=" in method or not all("=" in one and "." in one.partition("=")[0] for one in own):
            raise UserError(f"{path}: methods holds {method!r}; expected NAME, A+B, or NAME KEY=VALUE.")
    return board


def _words(text: str, path: Path) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"{path}: methods holds {text!r}: {error}.") from None
    if not words:
        raise UserError(f"{path}: methods holds an empty name.")
    return words
