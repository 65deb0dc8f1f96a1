from __future__ import annotations

from typing import Any

import pytest

from bench.core.errors import UserError
from bench.declarations.fields import Field, OneOf, check_value, describe

NUMBER = Field("number", above=0, high=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (Field("number"), 1),
        (Field("number"), 0.5),
        (Field("integer", low=1), 1),
        (Field("text"), "yes"),
        (Field("boolean"), False),
        (NUMBER, 1.0),
        (Field(("text", "list"), item=Field("text")), ["a"]),
        (Field("list", item=Field("number"), length=2), [0, 1.5]),
        (Field("list", empty=True), []),
        (Field("any"), [{"a": None}]),
        (Field("mapping"), {"free": {"form": [None, 1.5]}}),
        (Field("text", choices=("a", "b")), "b"),
    ],
)
def test_accepts(field: Field, value: Any) -> None:
    assert check_value(value, field, "k", "f.yaml") == value


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            Field("integer", low=1),
            "ten",
            'f.yaml: "k" must be an integer of at least 1, found the text "ten".',
        ),
        (Field("integer"), 1.0, 'f.yaml: "k" must be an integer, found the number 1.0.'),
        (Field("integer"), True, 'f.yaml: "k" must be an integer, found the truth value true.'),
        (Field("number"), True, 'f.yaml: "k" must be a number, found the truth value true.'),
        (
            Field("number"),
            "1e-3",
            'f.yaml: "k" must be a number, found the text "1e-3". Write it without quotes.',
        ),
        (Field("boolean"), 1, 'f.yaml: "k" must be true or false, found the integer 1.'),
        (Field("text"), 1234567, 'f.yaml: "k" must be text, found the integer 1234567. Write it in quotes.'),
        (NUMBER, 0, 'f.yaml: "k" must be a number of above 0 and at most 1, found the integer 0.'),
        (NUMBER, 1.5, 'f.yaml: "k" must be a number of above 0 and at most 1, found the number 1.5.'),
        (Field("number"), float("nan"), 'f.yaml: "k" must be a number, found the number nan.'),
        (
            Field("text", choices=("linear", "cosine")),
            "linaer",
            'f.yaml: "k" must be one of linear, cosine, found the text "linaer". Did you mean "linear"?',
        ),
        (
            Field(("text", "list"), choices=("all", "none"), item=Field("text")),
            3,
            'f.yaml: "k" must be one of all, none or a list of items, each text, found the integer 3.',
        ),
        (Field("list", item=Field("text")), ["a", 2], '"k[1]" must be text, found the integer 2'),
        (Field("list", item=Field("text")), [], "found an empty list"),
        (
            Field("list", item=Field("number"), length=2),
            [1],
            "a list of 2 items, each a number, found a list of 1",
        ),
        (Field("list"), "a", 'must be a list, found the text "a"'),
        (Field("mapping"), [], "must be a mapping, found an empty list"),
        (Field("mapping"), {"a": [float("inf")]}, '"k.a[0]" must be a plain value, found the number inf'),
        (Field("any"), {1, 2}, "found a Python set"),
        (Field("mapping"), {1: 2}, 'every key of "k" must be text, found the integer 1'),
        (Field("text", test=lambda value: "short"), "long", '"k" must be short, found the text "long"'),
    ],
)
def test_refuses(field: Field, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_value(value, field, "k", "f.yaml")
    assert message in str(caught.value)


SECTION = Field(
    "mapping",
    fields={
        "epochs": Field("integer"),
        "steps": Field("integer"),
        "size": Field("integer", default=32),
        "name": Field("text", required=True),
        "inner": Field("mapping", default={}, fields={"rate": Field("number", default=0.1)}),
        "late": Field("mapping", fields={"rate": Field("number", default=0.1)}),
    },
    groups=(OneOf({"epochs": ("size",), "steps": ()}),),
)


def test_defaults_are_filled_all_the_way_down_and_the_body_is_left_alone() -> None:
    body = {"name": "x"}
    assert check_value(body, SECTION, "", "f") == {"name": "x", "size": 32, "inner": {"rate": 0.1}}
    assert body == {"name": "x"}
    assert check_value({"name": "x", "late": {}}, SECTION, "", "f")["late"] == {"rate": 0.1}


def test_without_defaults_nothing_is_filled_or_missed() -> None:
    assert check_value({"epochs": 1}, SECTION, "", "f", defaults=False) == {"epochs": 1}


def test_null_means_not_set() -> None:
    assert check_value({"name": "x", "size": None, "epochs": None}, SECTION, "", "f")["size"] == 32
    with pytest.raises(UserError, match='the key "name" is missing; expected text'):
        check_value({"name": None}, SECTION, "", "f")


def test_unknown_keys_name_the_nearest() -> None:
    with pytest.raises(UserError, match=r'"epoch" is an unknown key; .*Did you mean "epochs"?'):
        check_value({"name": "x", "epoch": 1}, SECTION, "", "f")
    with pytest.raises(UserError, match=r'"inner.q" is an unknown key of "inner"; .* Legal: rate\.'):
        check_value({"name": "x", "inner": {"q": 1}}, SECTION, "", "f")


def test_exclusive_keys_and_companions() -> None:
    with pytest.raises(UserError, match='only one of epochs, steps, found "epochs" and "steps"'):
        check_value({"name": "x", "epochs": 1, "steps": 1}, SECTION, "", "f")
    with pytest.raises(UserError, match='"size" does not go with "steps"'):
        check_value({"name": "x", "steps": 1, "size": 1}, SECTION, "", "f")


def test_where_may_depend_on_the_key() -> None:
    with pytest.raises(UserError, match=r"^file of inner.rate: "):
        check_value({"name": "x", "inner": {"rate": "y"}}, SECTION, "", lambda key: f"file of {key}")


def test_long_and_hostile_values_are_shown_short_and_safe() -> None:
    with pytest.raises(UserError) as caught:
        check_value("\x1b[2J" + "x" * 500, Field("integer"), "k", "f")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_field_of_an_unknown_kind_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="string"):
        Field("string")
    assert describe(Field(("integer", "text"))) == "an integer or text"
