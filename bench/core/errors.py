"""Mistakes that a person can mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in what was asked for: one sentence that says what is wrong, where, and what was expected.

    The command line prints the sentence without a traceback and exits with 2.
    """


class Interrupted(Exception):
    """A person stopped the work; what was done so far is kept and the same command goes on from it."""


class Pruned(Exception):
    """A search ended this run early: what is known of it promises too little. `steps` were made."""

    def __init__(self, steps: int) -> None:
        super().__init__(f"pruned after step {steps}")
        self.steps = steps


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def nearest(word: str, legal: Iterable[str]) -> str:
    """A hint such as ' Did you mean "lora"?', or '' when nothing legal is close to `word`."""
    close = get_close_matches(word, list(legal), n=2, cutoff=0.6)
    quoted = " or ".join(f'"{name}"' for name in close)
    return f" Did you mean {quoted}?" if close else ""
