from __future__ import annotations

import pytest

from bench.core.canonical import canonical, digest
from bench.core.errors import nearest
from bench.core.printable import printable
from bench.core.streams import generator, seed


def test_equal_meanings_have_one_form() -> None:
    assert canonical({"b": 1, "a": (1, "ä")}) == canonical({"a": [1, "ä"], "b": 1}) == '{"a":[1,"\\u00e4"],"b":1}'
    assert canonical(1.0) != canonical(1)
    assert digest({"a": 0.1}) != digest({"a": 0.2})
    assert canonical(True) != canonical(1)


@pytest.mark.parametrize("value", [{1: 2}, {"a": float("nan")}, {"a": float("inf")}, {"a": object()}])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical(value)


def test_streams_are_functions_of_their_coordinates() -> None:
    """The numbers are written down here: a change of them changes every result."""
    assert seed("order", "glue/rte", 0, 3) == seed("order", "glue/rte", 0, 3)
    assert len({seed(stream, "t", place) for stream in ("order", "split", "init") for place in range(50)}) == 150
    assert seed("order", "demo/digits", 0) == 4873403534733986450
    assert generator("split", "demo/digits", 0).integers(1000, size=3).tolist() == [665, 302, 555]
    with pytest.raises(ValueError, match="named stream"):
        seed("whim", 1)


def test_hints_and_safe_text() -> None:
    assert nearest("lara", ["lora", "full"]) == ' Did you mean "lora"?'
    assert nearest("xyz", ["lora"]) == ""
    assert printable("a\x1b[31mb\u202e\n") == "a\\x1b[31mb\\u202e\\n"
    assert printable("a\n\tb", newlines=True) == "a\n\tb"
