"""Patterns of names, as a shell has them for files: `*` stays within a folder, `**` does not."""

from __future__ import annotations

from fnmatch import fnmatchcase


def matches(name: str, pattern: str) -> bool:
    """Whether a name is meant by a pattern: `glue/*` leaves `glue/fewshot/rte` out, `glue/**` and `*` alone do not."""
    if "**" in pattern or pattern == "*":
        return fnmatchcase(name, pattern.replace("**", "*"))
    return name.count("/") == pattern.count("/") and all(
        fnmatchcase(one, each) for one, each in zip(name.split("/"), pattern.split("/"), strict=True)
    )
