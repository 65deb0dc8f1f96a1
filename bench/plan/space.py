"""The space a sweep searches: what a method (and, where it says so, a task) declares under `search`.

Every parameter maps the unit interval onto its values, so that a sampler may draw points of a cube. A parameter with
`when` is there only while others have the values it names; otherwise the declared value stands.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.core.canonical import canonical
from bench.core.errors import UserError, nearest

GRID_POINTS = 5  # of a range without steps
_WHOLE = ("task.budget.steps", "task.budget.epochs", "task.budget.batch_size", "task.budget.validations")
_EDGE = 0.02  # the part of a range, at either end, that counts as its edge

Values = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One searched key, as it is typed on the command line, and the values it may take."""

    key: str
    default: Any  # what the declarations say without a search
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    whole: bool = False  # a whole number that is declared as unset

    @property
    def integer(self) -> bool:
        """Whether its values are whole numbers: they are where the declared one is."""
        return self.whole or type(self.default) is int

    @property
    def ordered(self) -> bool:
        """Whether it is a range, or choices that are numbers in order."""
        numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in self.choices)
        return not self.choices or (numbers and len(self.choices) > 1 and list(self.choices) == sorted(self.choices))

    def at(self, place: float) -> Any:
        """The value at `place` in [0, 1)."""
        if self.choices:
            return self.choices[min(int(place * len(self.choices)), len(self.choices) - 1)]
        if self.step is not None or (self.integer and not self.log):
            step = self.step or 1
            count = math.floor((self.high - self.low) / step + 1e-9) + 1
            return self._number(self.low + step * min(int(place * count), count - 1))
        if self.log:
            return self._number(math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low))))
        return self._number(self.low + place * (self.high - self.low))

    def place(self, value: float) -> float:
        """Where a number of its range lies in [0, 1]."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: Any) -> bool:
        """Whether it could take this value."""
        if self.choices:
            return any(_same(one, value) for one in self.choices)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step is not None else 0.0
        return abs(steps - round(steps)) < 1e-9

    def points(self) -> list[Any]:
        """Its values on a grid: all of them, or some that are evenly spaced where it is continuous."""
        if self.choices:
            return list(self.choices)
        if self.step is not None or (self.integer and not self.log):
            step = self.step or 1
            count = math.floor((self.high - self.low) / step + 1e-9) + 1
            return [self._number(self.low + step * place) for place in range(count)]
        found = [self.at(place / (GRID_POINTS - 1)) for place in range(GRID_POINTS)]
        return list(dict.fromkeys(found))

    def edge(self, value: Any) -> str:
        """`lower` or `upper` where a value lies at an edge of the range, else ''."""
        if not self.ordered or not self.holds(value):
            return ""
        if value == 0:
            return ""  # where the range of such a parameter ends by nature
        if self.choices:
            return "lower" if value == self.choices[0] else "upper" if value == self.choices[-1] else ""
        place = self.place(float(value))
        return "lower" if place < _EDGE else "upper" if place > 1 - _EDGE else ""

    def describe(self) -> str:
        """`0.0001 to 0.01 (log)`, `2, 4, 8`"""
        if self.choices:
            return ", ".join(_text(one) for one in self.choices)
        return f"{self.low:g} to {self.high:g}" + (" (log)" if self.log else "")

    def _number(self, value: float) -> Any:
        """A value of the range, with as many digits as a person would type."""
        if self.integer:
            return round(min(max(value, self.low), self.high))
        return min(max(float(f"{value:.6g}"), self.low), self.high)


@dataclass(frozen=True)
class Space:
    """The parameters of a search, those that others depend on first, and the fixed values that conditions name."""

    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def active(self, parameter: Parameter, values: Mapping[str, Any]) -> bool:
        """Whether a parameter is searched, given the values of those before it."""
        by_key = {one.key: one for one in self.parameters}
        for key, legal in parameter.when.items():
            if key in by_key and key not in values and not self.active(by_key[key], values):
                return False  # what it depends on is itself not there
            value = values[key] if key in values else by_key[key].default if key in by_key else self.fixed[key]
            if not any(_same(value, one) for one in legal):
                return False
        return True

    def at(self, point: Sequence[float]) -> Values:
        """The values at a point of the unit cube, one coordinate for each parameter; conditions leave some out."""
        values: Values = {}
        for parameter, place in zip(self.parameters, point, strict=True):
            if self.active(parameter, values):
                values[parameter.key] = parameter.at(place)
        return values

    def defaults(self) -> Values:
        """The declared values, those that the space holds."""
        declared = {one.key: one.default for one in self.parameters}
        return {
            one.key: one.default for one in self.parameters if one.holds(one.default) and self.active(one, declared)
        }

    def grid(self) -> Iterator[Values]:
        """Every combination of the parameters' points, each once though conditions leave some out."""
        seen = set()
        for point in itertools.product(*(one.points() for one in self.parameters)):
            values: Values = {}
            for parameter, value in zip(self.parameters, point, strict=True):
                if self.active(parameter, values):
                    values[parameter.key] = value
            if (text := canonical(values)) not in seen:
                seen.add(text)
                yield values

    def edges(self, values: Mapping[str, Any]) -> list[str]:
        """A sentence for every chosen value that lies at the edge of its range: the best may lie beyond it."""
        found = []
        for one in self.parameters:
            if one.key in values and (side := one.edge(values[one.key])):
                found.append(
                    f"{one.key} = {_text(values[one.key])} lies at the {side} edge of its space ({one.describe()})"
                )
        return found

    def form(self) -> list[Any]:
        """What a study's identity holds of it."""
        return [
            {
                "key": one.key,
                "default": one.default,
                **({"choices": list(one.choices)} if one.choices else {"low": one.low, "high": one.high}),
                "log": one.log,
                "step": one.step,
                "when": {key: list(legal) for key, legal in one.when.items()},
            }
            for one in self.parameters
        ]


def overrides(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The values as they are typed on the command line."""
    return tuple(f"{key}={_text(value)}" for key, value in values.items())


def make_space(
    declared: Mapping[str, Mapping[str, Any]], value_of: Mapping[str, Any], fixed: Sequence[str], owner: str
) -> Space:
    """The space that declarations and the command line mean.

    `declared`: key -> its range; `value_of`: every key's declared value; `fixed`: keys set on the command line, which
    are not searched; `owner` names the declaration in errors.
    """
    made = {}
    for key, body in declared.items():
        if key not in value_of:
            raise UserError(f"search of {owner} names {key!r}, which it does not have.{nearest(key, value_of)}")
        if any(key == one or key.startswith((f"{one}.", f"{one}[")) for one in fixed):
            continue
        when = {other: _legal(one) for other, one in (body.get("when") or {}).items()}
        for other in when:
            if other not in value_of:
                raise UserError(f"search of {owner}: {key} has a condition on {other!r}.{nearest(other, value_of)}")
        made[key] = _parameter(key, body, value_of[key], when, owner)
    _check_conditions(made, owner)
    made = _reachable(made, value_of)
    others = {other: value_of[other] for one in made.values() for other in one.when if other not in made}
    return Space(tuple(_sorted(made, owner)), others)


def _check_conditions(made: Mapping[str, Parameter], owner: str) -> None:
    """UserError for a condition on a value that a searched parameter cannot take: it would never hold."""
    for key, one in made.items():
        for other, legal in one.when.items():
            if other in made and not any(made[other].holds(value) for value in legal):
                words = ", ".join(_text(value) for value in legal)
                raise UserError(
                    f"search of {owner}: {key} is there when {other} is {words}, which its space "
                    f"({made[other].describe()}) does not hold."
                )


def _reachable(made: Mapping[str, Parameter], value_of: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters whose conditions on what is not searched hold; without the others, as long as some fall away."""
    kept = dict(made)
    while True:
        left = {
            key: one
            for key, one in kept.items()
            if all(
                other in kept or any(_same(value_of[other], value) for value in legal)
                for other, legal in one.when.items()
            )
        }
        if len(left) == len(kept):
            return left
        kept = left


def _parameter(
    key: str, body: Mapping[str, Any], default: Any, when: Mapping[str, tuple[Any, ...]], owner: str
) -> Parameter:
    if "choices" in body:
        return Parameter(key, default, tuple(body["choices"]), when=when)
    low, high, step = float(body["low"]), float(body["high"]), body.get("step")
    if step is not None:
        high = float(f"{low + step * math.floor((high - low) / step + 1e-9):.12g}")  # its last point
    whole = default is None and all(one is None or float(one).is_integer() for one in (low, high, step))
    made = Parameter(key, default, (), low, high, bool(body.get("log")), step, when, whole and key in _WHOLE)
    if made.integer and any(one is not None and one != round(one) for one in (made.low, made.high, made.step)):
        raise UserError(f"search of {owner}: {key} is a whole number, and its range {made.describe()} is not of those.")
    return made


def _sorted(made: Mapping[str, Parameter], owner: str) -> list[Parameter]:
    """Parameters after those their conditions name; UserError for conditions in a circle."""
    ordered: list[Parameter] = []
    left = dict(made)
    while left:
        ready = [key for key, one in left.items() if not any(other in left for other in one.when)]
        if not ready:
            raise UserError(f"search of {owner}: the conditions of {', '.join(left)} depend on each other.")
        ordered += [left.pop(key) for key in ready]
    return ordered


def _legal(condition: Any) -> tuple[Any, ...]:
    return tuple(condition) if isinstance(condition, list) else (condition,)


def _same(one: Any, other: Any) -> bool:
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (one, other))
    return one == other if numbers else canonical(one) == canonical(other)


def _text(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else _quoted(value)


def _quoted(text: str) -> str:
    """A word as it is, anything that YAML could take for something else in quotes."""
    plain = text.replace("-", "").replace("_", "").isalpha() and text.lower() not in ("null", "true", "false")
    return text if plain else json.dumps(text)
