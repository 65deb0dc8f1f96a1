from __future__ import annotations

import pytest

from bench.core.patterns import matches


@pytest.mark.parametrize(
    ("name", "pattern", "meant"),
    [
        ("glue/rte", "glue/*", True),
        ("glue/fewshot/rte", "glue/*", False),
        ("glue/fewshot/rte", "glue/**", True),
        ("glue/rte", "**", True),
        ("glue/rte", "*", True),
        ("glue/rte", "r*", False),
        ("lora", "*", True),
        ("glue/rte", "*/r?e", True),
        ("glue/rte", "glue/[c-s]te", True),
        ("glue/Rte", "glue/rte", False),
        ("glue/fewshot/rte", "*/*/rte", True),
    ],
)
def test_a_star_stays_in_its_folder(name: str, pattern: str, meant: bool) -> None:
    assert matches(name, pattern) is meant
