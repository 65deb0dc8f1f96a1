from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from bench.core.errors import UserError
from bench.declarations.catalog import Catalog
from bench.declarations.expressions import expand, split_arguments

Changed = Callable[[Mapping[str, str]], Catalog]


def test_a_dot_in_the_key_makes_an_override() -> None:
    arguments = ["lora=glue/rte", "optimizer.lr=1e-3", "a+b=c.d/e", "task.backbone=x=y.z"]
    assert split_arguments(arguments) == (
        [("lora", "glue/rte"), ("a+b", "c.d/e")],
        ["optimizer.lr=1e-3", "task.backbone=x=y.z"],
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("lora", '"lora" has no "=": write methods=tasks, such as "lora=glue/rte"'),
        ("optimizer.lr", 'has no "="'),
        ("=glue/rte", 'nothing left of its "="'),
        ("lora=", 'nothing right of its "="'),
        ("lora= ", 'nothing right of its "="'),
        ("optimizer.lr=", 'nothing right of its "="'),
        ("+optimizer.lr=1", "keys can be neither added nor deleted"),
        ("~optimizer.lr", "keys can be neither added nor deleted"),
        ("++a.b=1", "neither added"),
    ],
)
def test_arguments_that_are_neither(argument: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        split_arguments([argument])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("methods", "tasks", "pairs"),
    [
        ("lora", "glue/rte", [("lora", "glue/rte")]),
        ("lora,full", "glue/rte", [("lora", "glue/rte"), ("full", "glue/rte")]),
        ("lora*", "glue/rte", [("lora", "glue/rte"), ("lora-pro", "glue/rte")]),
        ("full", "*", [("full", "digits/small"), ("full", "glue/cola"), ("full", "glue/rte")]),
        ("full", "glue/*", [("full", "glue/cola"), ("full", "glue/rte")]),
        ("full", "glue", [("full", "glue/rte"), ("full", "glue/cola")]),  # the suite's own order
        ("full", "glue/cola,glue", [("full", "glue/cola"), ("full", "glue/rte")]),
        ("fish+lora", "glue/rte", [("fish+lora", "glue/rte")]),
        ("lora+fish , fish+lora", "glue/rte", [("lora+fish", "glue/rte")]),
        ("full,full", "glue/r?e", [("full", "glue/rte")]),
        (
            "f*,lora",
            "digits/[s]*",
            [("fish", "digits/small"), ("full", "digits/small"), ("lora", "digits/small")],
        ),
    ],
)
def test_expand(catalog: Catalog, methods: str, tasks: str, pairs: list[tuple[str, str]]) -> None:
    assert [("+".join(parts), task) for parts, task in expand(catalog, [(methods, tasks)])] == pairs


def test_several_expressions_keep_their_order_and_repeat_nothing(catalog: Catalog) -> None:
    grid = [("lora", "glue/rte"), ("full", "glue/rte"), ("lora", "glue/*")]
    assert expand(catalog, grid) == [
        (("lora",), "glue/rte"),
        (("full",), "glue/rte"),
        (("lora",), "glue/cola"),
    ]


@pytest.mark.parametrize(
    ("methods", "tasks", "message"),
    [
        ("lorra", "glue/rte", 'There is no method "lorra". Did you mean "lora"'),
        ("lora", "gleu/rte", 'There is no task "gleu/rte". Did you mean "glue/rte"'),
        ("lora", "digits", 'There is no task "digits". Write "digits/*" for its 1 tasks.'),
        ("zz*", "glue/rte", 'The pattern "zz*" matches no method.'),
        ("lora", "gluee/*", 'The pattern "gluee/*" matches no task. Did you mean'),
        ("fish+l*", "glue/rte", 'holds the pattern "l*": a part of a combination must be a name'),
        ("fish+", "glue/rte", "has an empty part"),
        ("lora+lora", "glue/rte", 'names "lora" twice'),
        ("fish+lorra", "glue/rte", 'There is no method "lorra"'),
        ("lora,,full", "glue/rte", "empty name between commas"),
        ("lora", "glue/rte,", "empty name between commas"),
        ("tiny-bert", "glue/rte", 'There is no method "tiny-bert"'),
    ],
)
def test_expand_refuses(catalog: Catalog, methods: str, tasks: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        expand(catalog, [(methods, tasks)])
    assert message in str(caught.value)


def test_a_suite_with_a_task_that_is_none(changed: Changed) -> None:
    catalog = changed({"tasks/glue/_suite.yaml": "tasks: [rte, coal]"})
    with pytest.raises(UserError, match=r'_suite.yaml: "tasks" names "coal".* Did you mean "glue/cola"'):
        expand(catalog, [("lora", "glue")])
