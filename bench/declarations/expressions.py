"""The command line's own notation: `methods=tasks` with commas, globs and `a+b`, beside dotted overrides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.core.errors import UserError, nearest
from bench.core.patterns import matches
from bench.declarations.overrides import refuse_hydra
from bench.declarations.wording import quoted

if TYPE_CHECKING:
    from bench.declarations.catalog import Catalog

_EXAMPLE = 'write methods=tasks, such as "lora=glue/rte", or an override, such as "adaptation.params.rank=16"'


def split_arguments(args: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The arguments as (methods, tasks) expressions and overrides: an override is one with a dot in its
    key.
    """
    grid: list[tuple[str, str]] = []
    overrides: list[str] = []
    for argument in args:
        refuse_hydra(argument)
        key, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f'{quoted(argument)} has no "=": {_EXAMPLE}.')
        if not key.strip() or not value.strip():
            side = "left" if not key.strip() else "right"
            raise UserError(f'{quoted(argument)} has nothing {side} of its "=": {_EXAMPLE}.')
        if "." in key:
            overrides.append(argument)
        else:
            grid.append((key.strip(), value.strip()))
    return grid, overrides


def expand(catalog: Catalog, grid: Iterable[tuple[str, str]]) -> list[tuple[tuple[str, ...], str]]:
    """Every (method parts, task) the grid stands for, in the order written, each once.

    Parts stand as they were typed; `fish+lora` and `lora+fish` count as one.
    """
    pairs: dict[tuple[frozenset[str], str], tuple[tuple[str, ...], str]] = {}
    for methods, tasks in grid:
        parts = [each for item in _items(methods) for each in expand_methods(catalog, item)]
        names = [each for item in _items(tasks) for each in expand_tasks(catalog, item)]
        for part in parts:
            for name in names:
                pairs.setdefault((frozenset(part), name), (part, name))
    return list(pairs.values())


def expand_methods(catalog: Catalog, item: str) -> list[tuple[str, ...]]:
    """The methods of one item: a name, a glob, or `a+b`."""
    parts = tuple(part.strip() for part in item.split("+"))
    if len(parts) == 1:
        return [(name,) for name in _matching("method", parts[0], catalog.methods())]
    for part in parts:
        if not part:
            raise UserError(f'{quoted(item)} has an empty part: write two methods, such as "fish+lora".')
        if _is_glob(part):
            raise UserError(f"{quoted(item)} holds the pattern {quoted(part)}: a part of a combination must be a name.")
        if parts.count(part) > 1:
            raise UserError(f"{quoted(item)} names {quoted(part)} twice: a method can fill its slots only once.")
    return [tuple(catalog.method(part).name for part in parts)]


def expand_tasks(catalog: Catalog, item: str) -> list[str]:
    """The tasks of one item: a name, a glob over tasks, or a suite."""
    if item in catalog.suites():
        return list(catalog.suite(item).body["tasks"])
    return _matching("task", item, catalog.tasks(), catalog.suites())


def _items(expression: str) -> list[str]:
    items = [item.strip() for item in expression.split(",")]
    if not all(items):
        raise UserError(f'{quoted(expression)} has an empty name between commas: write names, such as "lora,salt".')
    return items


def _is_glob(text: str) -> bool:
    return any(mark in text for mark in "*?[")


def _matching(kind: str, item: str, names: list[str], others: Sequence[str] = ()) -> list[str]:
    if _is_glob(item):
        found = [name for name in names if matches(name, item)]
        if not found:
            raise UserError(f"The pattern {quoted(item)} matches no {kind}.{nearest(item, [*names, *others])}")
        return found
    if item not in names:
        raise _unknown(kind, item, names, others)
    return [item]


def _unknown(kind: str, item: str, names: Sequence[str], others: Sequence[str]) -> UserError:
    family = [name for name in names if name.startswith(f"{item}/")]
    hint = f' Write "{item}/*" for its {len(family)} tasks.' if family else nearest(item, [*names, *others])
    hint = hint or f" `bench list {kind}s` shows all {len(names)}."
    return UserError(f"There is no {kind} {quoted(item)}.{hint}")
