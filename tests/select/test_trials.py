"""Choosing among trials."""

from __future__ import annotations

import pytest

from bench.core.errors import UserError
from bench.select.trials import Trial, choose


def trial(number: int, state: str, value: float | None, steps: int = 10) -> Trial:
    return Trial(number, state, value, (f"optimizer.lr={number}",), f"{number:064x}", steps, 1.5)


def test_the_highest_score_wins_and_the_earlier_of_two() -> None:
    trials = [trial(0, "done", 0.5), trial(1, "done", 0.8), trial(2, "pruned", None), trial(3, "done", 0.8)]
    chosen = choose("val", trials)
    assert (chosen.winner, chosen.value, chosen.key) == (1, 0.8, f"{1:064x}")
    assert [one["number"] for one in chosen.trials] == [0, 1, 2, 3], "all that were considered"
    assert chosen.spent == {"trials": 4, "done": 3, "pruned": 1, "steps": 40, "seconds": 6.0}


def test_pruned_and_failed_trials_are_never_chosen() -> None:
    assert choose("val", [trial(0, "failed", None), trial(1, "done", 0.1), trial(2, "pruned", None)]).winner == 1
    with pytest.raises(UserError, match="nothing to choose"):
        choose("val", [trial(0, "failed", None)])
