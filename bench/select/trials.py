"""Selection among trials: which sample of a search counts, decided from validation alone.

The choice is written before any test label is joined with a prediction of the study, and never again: a study with a
choice is sealed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.core.errors import UserError


@dataclass(frozen=True)
class Trial:
    """One sample of a search, as it ended. `value` is its validation score: higher is better, None unless done."""

    number: int
    state: str  # done, pruned, failed, running
    value: float | None
    overrides: tuple[str, ...]  # its parameters as they are typed; none for the declared ones
    key: str | None  # of the run that is reported
    steps: int = 0  # optimizer steps that were made for it
    seconds: float = 0.0
    reused: bool = False  # whether its run was there before
    error: str | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Trial:
        """From what `asdict` made of it."""
        return cls(**{**body, "overrides": tuple(body["overrides"])})


@dataclass(frozen=True)
class Choice:
    """What was chosen among which trials, under which rule, and what the search spent."""

    rule: str
    reads: str  # what the rule looked at
    trials: list[dict[str, Any]]
    winner: int
    key: str
    value: float
    overrides: tuple[str, ...]
    spent: Mapping[str, float]
    scored_before: int  # considered runs whose test score stood in the store before: they were made by other commands
    edges: Sequence[str] = ()  # chosen values at the edge of their space


READS = {
    "val": "validation rows",
    "last": "validation rows at the last step",
    "oracle": "the held-out domain's own small piece (target-val), at the last step",
    "leave-one-domain-out": "each other domain, held out as well, at the last step",
}


def choose(rule: str, trials: Sequence[Trial], edges: Sequence[str] = (), scored_before: int = 0) -> Choice:
    """The trial with the highest validation score, the earlier one on a tie. UserError when none is done."""
    best = best_of(trials)
    if best is None or best.key is None or best.value is None:
        raise UserError(f"None of {len(trials)} trials has ended with a validation score; there is nothing to choose.")
    return Choice(
        rule,
        READS[rule],
        [asdict(one) for one in trials],
        best.number,
        best.key,
        best.value,
        best.overrides,
        spent(trials),
        scored_before,
        list(edges),
    )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The done trial with the highest validation score, the earlier one on a tie."""
    done = [one for one in trials if one.state == "done" and one.value is not None]
    return min(done, key=lambda one: (-(one.value or 0.0), one.number), default=None)


def spent(trials: Sequence[Trial]) -> dict[str, float]:
    """What a search cost: trials by how they ended, optimizer steps, seconds of all workers."""
    states = {state: sum(one.state == state for one in trials) for state in ("done", "pruned", "failed")}
    return {
        "trials": len(trials),
        **{state: count for state, count in states.items() if count},
        "steps": sum(one.steps for one in trials),
        "seconds": round(sum(one.seconds for one in trials), 3),
    }
