"""Built-in methods as runs: the steps that are declared, the same bits when they are stopped, equal in pieces."""

from __future__ import annotations

import pytest

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step


@pytest.mark.parametrize("expression", ["full=demo/digits", "lora=demo/digits", "adalora=demo/grammar"])
def test_stopped_at_every_step_it_goes_on_to_the_same_bits(go: Go, expression: str) -> None:
    record = same_bits_when_stopped_at_every_step(go, expression)
    assert record["cost"]["updates"] == {"train": {"main": STEPS}}


@pytest.mark.parametrize("expression", ["full=demo/digits", "lora=demo/digits"])
def test_pieces_of_a_step_make_the_same_step(go: Go, expression: str) -> None:
    equal_under_micro_batches(go, expression)


@pytest.mark.parametrize("expression", ["lora=demo/digits", "hag=demo/digits", "dann+lora=demo/rotated-digits"])
def test_in_mixed_precision_too(go: Go, expression: str) -> None:
    """A second forward pass inside one autocast would see old weights; a backward pass there, rounded gradients."""
    folds = ("0",) if "rotated" in expression else None
    record = same_bits_when_stopped_at_every_step(go, expression, precision="bf16", folds=folds)
    assert sum(record["cost"]["updates"]["train"].values()) >= STEPS


@pytest.mark.parametrize(
    ("expression", "updates"),
    [
        ("lp-ft+hag=demo/digits", {"probe": {"main": 4}, "fine-tune": {"main": 4, "gates": 4}}),
        ("lp-ft+dann=demo/rotated-digits", {"probe": {"main": 2, "critic": 2}, "fine-tune": {"main": 2, "critic": 2}}),
        ("adalora+dann=demo/rotated-digits", {"train": {"main": 4, "critic": 4}}),
        ("diffora+dann=demo/rotated-digits", {"search": {"main": 1, "critic": 1, "gates": 2}}),
        ("lisa+fish=demo/rotated-digits", {"train": {"main": 40}}),
    ],
)
def test_methods_that_fill_different_slots_combine(go: Go, expression: str, updates: dict[str, dict[str, int]]) -> None:
    """An optimizer whose parameters do not move in a phase is passed over there."""
    folds = ("0",) if "rotated" in expression else None
    more = ("adaptation.params.every=2", "adaptation.params.blocks=1") if "lisa" in expression else ()
    record = same_bits_when_stopped_at_every_step(go, expression, *more, folds=folds)
    assert record["cost"]["steps"] == STEPS
    for phase, counts in updates.items():
        assert record["cost"]["updates"][phase] == counts
