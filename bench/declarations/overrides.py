"""Overrides from the command line: `adaptation.params.rank=16` for the method, `task.budget.epochs=5` for
the task.

Syntax and setting are OmegaConf's, imported only when there is an override; values are read by the same
YAML 1.2 reader as files, so that nothing means something else on the command line, and no interpolation
gets in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.core.errors import UserError
from bench.declarations import yaml12
from bench.declarations.fields import Field, check_value, strangers
from bench.declarations.keys import Target, locate, nearest_key, same_kind, settable, split_key
from bench.declarations.schema import METHOD
from bench.declarations.wording import found, quoted

_TASK = "task."


@dataclass
class Applied:
    """Both bodies after the overrides; `places` says which override set which dotted key (`task.` before
    the task's).
    """

    task: dict[str, Any]
    method: dict[str, Any]
    places: dict[str, str] = field(default_factory=dict)

    def place(self, key: str) -> str:
        """The override that set `key`, or something above or below it, for errors."""
        for other, override in reversed(self.places.items()):
            if other == key or other.startswith((f"{key}.", f"{key}[")) or key.startswith((f"{other}.", f"{other}[")):
                return override
        return f"After {', '.join(dict.fromkeys(self.places.values()))}"


def refuse_hydra(argument: str) -> None:
    """Refuse `+key=value` and `~key`, which Hydra uses to add and to delete keys."""
    if argument.startswith(("+", "~")):
        raise UserError(
            f"{quoted(argument)} begins with {quoted(argument[0])}: keys can be neither added nor deleted; "
            f"write key=value, or key=null to unset one."
        )


def apply(
    task_body: dict[str, Any],
    method_body: dict[str, Any],
    overrides: Sequence[str],
    task_schema: Field,
    method_schema: Field = METHOD,
) -> Applied:
    """Both bodies with `overrides` set in order, the given ones unchanged.

    A key must be known (a free-form parameter: listed in the declaration), and its value of the right kind.
    A null unsets; a key that excludes others removes them. A UserError names the override as typed.
    """
    task, method = _Side(_TASK, task_schema, dict(task_body)), _Side("", method_schema, dict(method_body))
    places: dict[str, str] = {}
    for override in overrides:
        refuse_hydra(override)
        where = f"The override {quoted(override)}"
        key, equals, text = override.partition("=")
        if not equals or "." not in key:
            raise UserError(f'{where} must have the form key=value, such as "optimizer.lr=1e-4".')
        side = task if key.startswith(_TASK) else method
        for typed, value in _assignments(key, _value(text, where)):
            target = side.target(typed, where)
            if isinstance(target, str):
                legal = [*method.settable(), *task.settable()]
                raise UserError(f"{where} sets {quoted(typed)}, and {target}.{nearest_key(typed, legal)}")
            _check(target, value, typed, where)
            _set(side.body, typed.removeprefix(side.prefix), _as_declared(target, value), target)
            places[typed] = where
    return Applied(task.body, method.body, places)


@dataclass
class _Side:
    """The task or the method: the prefix of its keys on the command line, its schema, its body so far."""

    prefix: str
    schema: Field
    body: dict[str, Any]

    def settable(self) -> Iterator[str]:
        return settable(self.schema, self.body, self.prefix)

    def target(self, typed: str, where: str) -> Target | str:
        """What the key leads to, or a clause that says why nowhere."""
        segments = split_key(typed.removeprefix(self.prefix))
        if segments is None:
            raise UserError(f'{where} must have a key of names between dots, such as "optimizer.lr".')
        if self.prefix == _TASK and segments == ["problem"]:
            raise UserError(f"{where} changes what the task is; declare another task instead.")
        return locate(self.schema, self.body, segments)


def _value(text: str, where: str) -> Any:
    value = yaml12.parse(text, where, lines=False)
    if value is None and text.strip() not in ("null", "Null", "NULL", "~"):
        raise UserError(f"{where} has no value; write null to unset the key.")
    if value == {}:
        raise UserError(f"{where} changes nothing; write null to unset the key.")
    return value


def _assignments(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A mapping given as a value sets each of its keys, as OmegaConf's merge does."""
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, each in value.items():
        yield from _assignments(f"{key}.{name}", each)


def _check(target: Target, value: Any, typed: str, where: str) -> None:
    if value is None:
        return
    if target.field is not None:
        check_value(value, target.field, typed, where, defaults=False)
    elif expected := same_kind(target.value, value):
        raise UserError(f"{where}: {quoted(typed)} must be {expected}, found {found(value)}.")


def _as_declared(target: Target, value: Any) -> Any:
    """A free-form number in the form of the declared one: `16` where 8.0 stands is 16.0, and `16.0` for 8 is 16."""
    if target.field is None and isinstance(target.value, float) and type(value) is int:
        return float(value)
    if target.field is None and type(target.value) is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _set(body: dict[str, Any], key: str, value: Any, target: Target) -> None:
    """Set `key` in place, by way of OmegaConf, in the one section of `body` that it is in."""
    from omegaconf import OmegaConf

    segments = split_key(key) or [key]
    section = segments[0]
    config = OmegaConf.create({section: body[section]} if body.get(section) is not None else {})
    OmegaConf.update(config, key, value, merge=False, force_add=True)
    changed: Any = OmegaConf.to_container(config, resolve=False)
    body[section] = changed[section]
    if value is None or target.parent is None:
        return
    parent = body
    for segment in segments[:-1]:
        parent = parent[int(segment)] if isinstance(parent, list) else parent[segment]
    for group in target.parent.groups:
        if segments[-1] in group.keys:
            for name in strangers(group, segments[-1], list(parent)):
                del parent[name]
