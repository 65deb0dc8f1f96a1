"""Classes, and the coarse classes that a task may group them into."""

from __future__ import annotations

from typing import Any

import pytest

from bench.core.errors import UserError
from bench.problems import problem_of


def task(**more: Any) -> dict[str, Any]:
    return {"name": "t/animals", "problem": "image-classification", "classes": ["cat", "dog", "carp", "eel"], **more}


def test_a_hierarchy_gives_each_class_its_coarse_class() -> None:
    assert problem_of(task()).tree() is None
    tree = problem_of(task(hierarchy={"fish": ["eel", "carp"], "mammals": ["cat", "dog"]})).tree()
    assert tree == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("hierarchy", "said"),
    [
        ({"fish": ["eel", "carp"], "mammals": ["cat"]}, "hierarchy of t/animals leaves out the class 'dog'"),
        ({"fish": ["eel", "carp", "cat"], "mammals": ["cat", "dog"]}, "has the class 'cat' twice"),
        ({"fish": ["eel", "crap"], "mammals": ["cat", "dog"]}, "has 'crap', not in classes. Did you mean \"carp\""),
    ],
)
def test_a_hierarchy_that_does_not_fit_is_a_sentence(hierarchy: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        problem_of(task(hierarchy=hierarchy))
