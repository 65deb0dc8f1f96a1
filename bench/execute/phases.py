"""Phases: a run divided into stretches that train different things, under one count of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.core.errors import UserError


@dataclass(frozen=True)
class Phase:
    """A stretch of a run.

    `train`: what trains in it, as roles (`head`, `backbone`, `added`, `objective`, `method`) or patterns of parameter
    names (`head.*`, `*.gate`), each of which must name something; None is all that the slots let move. `rows`: names
    and shares of the training rows, of which the first gives the batches and the others are at hand as
    `batch.others[NAME]`; empty is all of them. `optimizer`: keys of the optimizer slot that differ here; an `lr` is
    the head's too. A closed-form phase takes no step of the budget: the method's `solve` is called with it.
    """

    name: str
    share: float = 1.0  # of the budget's steps, in proportion to the other phases'
    train: tuple[str, ...] | None = None
    rows: Mapping[str, float] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    closed_form: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.train, str):
            object.__setattr__(self, "train", (self.train,))


@dataclass(frozen=True)
class Span:
    """The steps of a phase: from `start` on, before `stop`. A closed-form phase has none."""

    phase: Phase
    start: int
    stop: int

    @property
    def steps(self) -> int:
        return self.stop - self.start


def spans(phases: Sequence[Phase], steps: int, who: str) -> tuple[Span, ...]:
    """The phases over a budget of `steps`; UserError where the budget or the phases make no sense."""
    _check(phases, who)
    trained = [phase for phase in phases if not phase.closed_form]
    if trained and steps < len(trained):
        raise UserError(f"{who} has {len(trained)} phases of training, more than the budget has steps ({steps}).")
    whole, placed, start = sum(phase.share for phase in trained), 0.0, 0
    found, left = [], len(trained)
    for phase in phases:
        if phase.closed_form:
            found.append(Span(phase, start, start))
            continue
        placed, left = placed + phase.share, left - 1
        stop = min(max(round(steps * placed / whole), start + 1), steps - left)
        found.append(Span(phase, start, stop))
        start = stop
    return tuple(found)


def _check(phases: Sequence[Phase], who: str) -> None:
    names = [phase.name for phase in phases]
    if not phases or len(set(names)) < len(names):
        raise UserError(f"{who} needs phases of different names, and has {', '.join(names) or 'none'}.")
    for phase in phases:
        if not phase.closed_form and not phase.share > 0:
            raise UserError(f"The phase {phase.name!r} of {who} has a share of {phase.share}; expected more than 0.")
        if any(not share > 0 for share in phase.rows.values()):
            raise UserError(f"The phase {phase.name!r} of {who} takes a share of rows that is not above 0.")
        if sum(phase.rows.values()) > 1 + 1e-9:
            raise UserError(f"The phase {phase.name!r} of {who} takes more than all rows: its shares add up to over 1.")
