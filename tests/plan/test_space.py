"""The space of a search: values, conditions, grids, edges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.declarations.yaml12 import parse
from bench.plan.space import Space, make_space, overrides

VALUES = {"optimizer.lr": 1e-3, "adaptation.params.rank": 8, "optimizer.schedule": "constant", "optimizer.warmup": 0.0}


def space(declared: Mapping[str, Any], fixed: tuple[str, ...] = ()) -> Space:
    return make_space(declared, VALUES, fixed, "lora")


def test_ranges_cover_their_ends_and_nothing_beyond() -> None:
    made = space(
        {
            "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
            "adaptation.params.rank": {"low": 2.0, "high": 16.0, "step": 2.0},
            "optimizer.schedule": {"choices": ["constant", "linear", "cosine"]},
        }
    )
    assert made.at([0.0, 0.0, 0.0]) == {
        "optimizer.lr": 1e-4, "adaptation.params.rank": 2, "optimizer.schedule": "constant",
    }  # fmt: skip
    assert made.at([1.0, 0.999999, 0.999]) == {
        "optimizer.lr": 1e-2, "adaptation.params.rank": 16, "optimizer.schedule": "cosine",
    }  # fmt: skip
    middle = made.at([0.5, 0.5, 0.5])
    assert middle["optimizer.lr"] == pytest.approx(1e-3)
    assert type(middle["adaptation.params.rank"]) is int, "whole where the declared value is"
    seen = {made.at([0, place / 97, 0])["adaptation.params.rank"] for place in range(97)}
    assert seen == set(range(2, 17, 2))


def test_values_survive_the_command_line() -> None:
    values = {"a.b": 0.000123457, "c.d": 8, "e.f": "linear", "g.h": True, "i.j": None, "k.l": [1, 2], "m.n": "1e3"}
    typed = overrides(values)
    assert {one.partition("=")[0]: parse(one.partition("=")[2], one, lines=False) for one in typed} == values


def test_conditions_leave_parameters_out() -> None:
    made = space(
        {
            "optimizer.warmup": {"low": 0.0, "high": 0.5, "when": {"optimizer.schedule": ["linear", "cosine"]}},
            "optimizer.schedule": {"choices": ["constant", "linear", "cosine"]},
        }
    )
    assert [one.key for one in made.parameters] == ["optimizer.schedule", "optimizer.warmup"], "what it hangs on first"
    assert made.at([0.0, 0.5]) == {"optimizer.schedule": "constant"}
    assert made.at([0.5, 0.5]) == {"optimizer.schedule": "linear", "optimizer.warmup": 0.25}
    assert made.defaults() == {"optimizer.schedule": "constant"}
    grid = list(made.grid())
    assert len(grid) == 1 + 2 * 5
    assert grid[0] == {"optimizer.schedule": "constant"}


def test_a_condition_on_a_fixed_value() -> None:
    warm = {"optimizer.warmup": {"low": 0.0, "high": 0.5, "when": {"optimizer.schedule": "linear"}}}
    assert space(warm).parameters == (), "the declared schedule is constant"
    linear = {**VALUES, "optimizer.schedule": "linear"}
    assert [one.key for one in make_space(warm, linear, (), "lora").parameters] == ["optimizer.warmup"]


def test_what_the_command_line_sets_is_not_searched() -> None:
    assert space({"adaptation.params.rank": {"choices": [2, 4]}}, ("adaptation.params",)).parameters == ()
    assert space({"optimizer.lr": {"low": 1e-4, "high": 1e-2}}, ("optimizer.lr",)).parameters == ()


def test_defaults_outside_the_space_are_left_out() -> None:
    assert space(
        {"optimizer.lr": {"low": 0.1, "high": 1.0}, "adaptation.params.rank": {"choices": [8]}}
    ).defaults() == {"adaptation.params.rank": 8}


def test_a_stepped_range_ends_at_its_last_point() -> None:
    (one,) = space({"adaptation.params.rank": {"low": 2.0, "high": 16.0, "step": 4.0}}).parameters
    assert one.high == 14
    assert one.edge(14) == "upper"


def test_edges() -> None:
    made = space(
        {
            "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
            "adaptation.params.rank": {"choices": [2, 4, 8]},
            "optimizer.warmup": {"low": 0.0, "high": 0.5},
            "optimizer.schedule": {"choices": ["linear", "cosine"]},
        }
    )
    assert made.edges({"optimizer.lr": 9.9e-3}) == [
        "optimizer.lr = 0.0099 lies at the upper edge of its space (0.0001 to 0.01 (log))"
    ]
    assert len(made.edges({"adaptation.params.rank": 2})) == 1
    inside = {"optimizer.lr": math.sqrt(1e-6), "adaptation.params.rank": 4, "optimizer.schedule": "linear"}
    assert made.edges(inside) == [], "choices without an order have no edge"
    assert made.edges({"optimizer.warmup": 0.0}) == [], "nothing lies below nought"


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"optimizer.lrr": {"low": 0.1, "high": 1.0}}, 'Did you mean "optimizer.lr"'),
        ({"optimizer.lr": {"low": 0.1, "high": 1.0, "when": {"optimizer.shedule": "linear"}}}, "optimizer.schedule"),
        (
            {
                "optimizer.schedule": {"choices": ["constant", "linear"]},
                "optimizer.warmup": {"low": 0.0, "high": 0.5, "when": {"optimizer.schedule": "liner"}},
            },
            "does not hold",
        ),
        ({"adaptation.params.rank": {"low": 1.5, "high": 3.0}}, "whole number"),
        (
            {
                "optimizer.lr": {"low": 0.1, "high": 1.0, "when": {"optimizer.warmup": 0.1}},
                "optimizer.warmup": {"low": 0.1, "high": 1.0, "when": {"optimizer.lr": 0.1}},
            },
            "depend on each other",
        ),
    ],
)
def test_mistakes_are_sentences(declared: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        space(declared)
