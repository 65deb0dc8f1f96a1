"""Shell completion of METHODS=TASKS."""

from __future__ import annotations

from typing import Any


def complete_expression(ctx: Any, param: Any, incomplete: str) -> list[str]:
    """Methods before the `=`, tasks and suites after it; the last name of a list is completed."""
    from bench.declarations.catalog import Catalog

    try:
        catalog = Catalog.find()
        left, equals, right = incomplete.partition("=")
        if not equals:
            head, names = _last(left, ",+"), catalog.methods()
            return [f"{head}{name}" for name in names if f"{head}{name}".startswith(left)]
        head, names = _last(right, ","), [*catalog.tasks(), *catalog.suites()]
        return [f"{left}={head}{name}" for name in names if f"{head}{name}".startswith(right)]
    except Exception:  # a completion never prints an error into the person's line
        return []


def complete_name(ctx: Any, param: Any, incomplete: str) -> list[str]:
    """Any declared name."""
    from bench.declarations.catalog import Catalog

    try:
        catalog = Catalog.find()
        names = [*catalog.methods(), *catalog.tasks(), *catalog.backbones(), *catalog.suites()]
        return [name for name in names if name.startswith(incomplete)]
    except Exception:
        return []


def _last(text: str, marks: str) -> str:
    """Everything up to and with the last separator."""
    return text[: max(text.rfind(mark) for mark in marks) + 1]
