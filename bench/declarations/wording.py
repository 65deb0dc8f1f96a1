"""How errors speak of files and values: short, on one line, and safe to print."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.core.errors import nearest
from bench.core.printable import printable

Where = str | Callable[[str], str]
"""What an error names as its place: a text, or a function from a dotted key to a text."""


def quoted(text: object) -> str:
    """`text` in double quotes, cut at 80 characters, with nothing in it that a terminal would obey."""
    shown = printable(text)
    return f'"{shown[:77]}…"' if len(shown) > 80 else f'"{shown}"'


def found(value: Any) -> str:
    """What `value` is, for the end of a sentence: 'the integer 3', 'the text "ten"', 'an empty list'."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int):
        return f"the integer {value}" if abs(value) < 10**20 else "an integer of more than 20 digits"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    return f"a Python {type(value).__name__}"


def place(path: Path) -> str:
    """`path` as a person would type it: relative to the working directory where it lies below that."""
    try:
        return printable(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return printable(path)


def at(where: Where, key: str) -> str:
    """The place of `key` as text."""
    return where if isinstance(where, str) else where(key)


def nearest_or_all(word: str, legal: Iterable[str], most: int = 12) -> str:
    """A hint at the nearest legal name; where none is near, the legal names themselves if they are few."""
    names = sorted(legal)
    hint = nearest(word, names)
    if hint or not names or len(names) > most:
        return hint
    return f" Legal: {', '.join(names)}."
