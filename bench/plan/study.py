"""A study: the search of one method on one task, fold and replicate, as a plan; which trials it asks for comes later.

Its name is the digest of what it means: the run of the declared parameters, the space, the sampler, the budget and
the rule that will choose. The same command means the same study, so a sweep that was killed goes on where it stopped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from bench.core.canonical import digest
from bench.core.errors import UserError, nearest
from bench.data.access import Access
from bench.declarations.catalog import Catalog
from bench.declarations.expressions import expand, split_arguments
from bench.declarations.keys import settable
from bench.declarations.resolve import Resolved, resolve
from bench.declarations.schema import METHOD, task_schema
from bench.plan.fingerprint import Known
from bench.plan.grid import PRECISIONS, folds_of, make_run, suited
from bench.plan.run import Run, label
from bench.plan.space import Space, Values, make_space, overrides
from bench.problems import Problem, extra_fields, problem_of

SAMPLERS = ("tpe", "random", "quasi-random", "grid", "gp", "cma-es")
PRUNERS = ("none", "median", "asha", "hyperband")
PAIRED = "leave-one-domain-out"
TRIALS = 20  # where neither the task nor the command line says


@dataclass(frozen=True)
class Search:
    """How every method of one sweep is searched."""

    sampler: str = "tpe"
    sampler_seed: int = 0
    pruner: str = "none"
    trials: int | None = None  # None: as many as the task's budget says
    seconds: float | None = None  # a study ends between trials once it has spent so much

    def check(self) -> None:
        """UserError for a word that means nothing."""
        for flag, value, legal in (("sampler", self.sampler, SAMPLERS), ("pruner", self.pruner, PRUNERS)):
            if value not in legal:
                raise UserError(f"--{flag} is {value!r}; expected one of {', '.join(legal)}.{nearest(value, legal)}")
        if self.trials is not None and self.trials < 1:
            raise UserError(f"--trials is {self.trials}; expected at least 1: the declared parameters.")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise UserError(f"--seconds is {self.seconds:g}; expected more than 0.")


@dataclass(frozen=True)
class Study:
    """One search as planned. `base` is the run of the declared parameters: trial 0."""

    name: str
    spec: Mapping[str, Any]
    base: Run
    space: Space
    problem: Problem
    resolved: Resolved
    typed: tuple[str, ...]  # overrides of the command line
    parts: tuple[str, ...]
    catalog: Catalog
    known: Known

    @property
    def trials(self) -> int:
        return int(self.spec["trials"])

    @property
    def rule(self) -> str:
        """The selection rule that chooses among its trials."""
        return str(self.spec["rule"])

    @property
    def label(self) -> str:
        """For people: method = task, what was overridden, the fold, the seed."""
        return label(self.base.request)

    def runs(self, values: Values | None) -> list[Run]:
        """The runs of a trial, the one that is reported first; None stands for the declared parameters.

        `leave-one-domain-out` looks at runs that hold out a second domain as well.
        """
        fold, replicate = self.base.fold, self.base.replicate
        folds: list[str | None] = [fold]
        if self.rule == PAIRED and fold is not None:
            folds += [pair for pair in self.problem.extra_folds(PAIRED) if fold in pair.split("+")]
        return [self.run(values, replicate, one) for one in folds]

    def run(self, values: Values | None, replicate: int, fold: str | None) -> Run:
        """One run with a trial's values, marked as the study's unless the values are the declared ones."""
        if values is None and (replicate, fold) == (self.base.replicate, self.base.fold):
            return self.base
        given = (*self.typed, *overrides(values or {}))
        resolved = self.resolved
        if values:
            resolved = resolve(self.catalog, self.parts, self.resolved.task_name, given, extra_fields)
        twin, precision = bool(self.spec["twin"]), str(self.spec["precision"])
        made = make_run(resolved, given, replicate, precision, twin, self.known, fold)
        return made if not values else replace(made, request={**made.request, "study": self.name})


def plan_studies(
    arguments: Sequence[str],
    search: Search,
    *,
    seeds: Iterable[int] = (0,),
    precision: str = "32",
    twin: bool = False,
    folds: Sequence[str] | None = None,
    catalog: Catalog | None = None,
    access: Access | None = None,
) -> list[Study]:
    """The studies that arguments such as `lora,probe=glue/*` mean: one per method, task, fold and search seed."""
    search.check()
    catalog = catalog or Catalog.find()
    access = access or Access.from_environment()
    if precision not in PRECISIONS:
        raise UserError(f"--precision is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
    grid, typed = split_arguments(arguments)
    known = Known(access)
    studies: dict[str, Study] = {}
    for parts, task in suited(expand(catalog, grid), grid, catalog):
        resolved = resolve(catalog, parts, task, typed, extra_fields)
        space = _space(resolved, typed)
        tried = _try_edges(space, catalog, parts, task, typed)
        for replicate in seeds:
            for fold in folds_of(resolved, folds, pairs=False):
                base = make_run(resolved, tuple(typed), replicate, precision, twin, known, fold)
                code = _code_of(tried, tuple(typed), replicate, precision, twin, known, fold)
                made = _study(base, space, resolved, search, tuple(typed), parts, catalog, known, code)
                studies.setdefault(made.name, made)
    return list(studies.values())


def _study(
    base: Run,
    space: Space,
    resolved: Resolved,
    search: Search,
    typed: tuple[str, ...],
    parts: tuple[str, ...],
    catalog: Catalog,
    known: Known,
    code: str,
) -> Study:
    problem = problem_of(base.task)
    rule = str(resolved.task["selection"])
    _check_validated(base, problem, rule)
    if rule == PAIRED and search.pruner != "none":
        raise UserError(f"--pruner {search.pruner}: {PAIRED} scores several runs of a trial; none of them is pruned.")
    trials = asked = int(search.trials or resolved.task["budget"].get("trials") or TRIALS)
    if search.sampler == "grid":  # it may hold fewer points
        trials = 1 + len(list(islice(space.grid(), trials - 1)))
    spec = {
        "base": base.key,
        "variant": digest({name: value for name, value in base.spec.items() if name not in ("replicate", "fold")}),
        "choices": code,
        "method": base.request["method"],
        "task": base.request["task"],
        "overrides": sorted(base.request["overrides"]),
        "fold": base.fold,
        "replicate": base.replicate,
        "precision": base.request["precision"],
        "twin": base.request["twin"],
        "space": space.form(),
        "rule": rule,
        "sampler": search.sampler,
        "sampler_seed": search.sampler_seed,
        "pruner": search.pruner,
        "trials": trials if space.parameters else 1,
        "asked": asked,
        "seconds": search.seconds,
        "folds": base.request["folds"],
    }
    return Study(_name(spec), spec, base, space, problem, resolved, typed, parts, catalog, known)


def _check_validated(base: Run, problem: Problem, rule: str) -> None:
    """Trials are compared on validation rows: without them a search would have to look at the test."""
    if not problem.validated():
        task, kind = base.task["name"], str(base.task["problem"])
        hint = "hide known classes (task.hidden=2)" if kind.endswith("category-discovery") else "declare splits.val"
        raise UserError(
            f"{task} has no validation rows, so that trials could only be compared on its test; {hint} to sweep it, "
            f"or `bench run` its declared parameters under the rule {rule}."
        )


def _space(resolved: Resolved, typed: Sequence[str]) -> Space:
    """What the method and the task declare under `search`, without what the command line sets."""
    schema = task_schema(extra_fields(resolved.task["problem"]))
    value_of = {key: _value(resolved.method, key) for key in settable(METHOD, resolved.method)}
    budget = {
        f"task.{key}": _value(resolved.task, key) for key in settable(schema, resolved.task) if key.startswith("budget")
    }
    fixed = [one.partition("=")[0] for one in typed]
    of_method = resolved.meta["method"].get("search") or {}
    of_task = {f"task.{key}": body for key, body in (resolved.meta["task"].get("search") or {}).items()}
    own = make_space(of_method, value_of, fixed, resolved.method_name)
    shared = make_space(of_task, budget, fixed, resolved.task_name)
    return Space((*own.parameters, *shared.parameters), {**own.fixed, **shared.fixed})


def _try_edges(
    space: Space, catalog: Catalog, parts: tuple[str, ...], task: str, typed: Sequence[str]
) -> list[Resolved]:
    """Every choice and the ends of every range must be legal values, found out before hours are spent.

    Gives what is resolved with the choices that name other files: their code is part of what a study is.
    """
    found = []
    for one in space.parameters:
        for value in one.choices or (one.at(0.0), one.at(1.0)):
            made = resolve(catalog, parts, task, (*typed, *overrides({one.key: value})), extra_fields)
            if isinstance(value, str) and ":" in value:
                found.append(made)
    return found


def _code_of(
    tried: Sequence[Resolved],
    typed: tuple[str, ...],
    replicate: int,
    precision: str,
    twin: bool,
    known: Known,
    fold: str | None,
) -> str:
    """The digest of the code that searched choices reach beyond the declared one; '' where none does."""
    made = [make_run(one, typed, replicate, precision, twin, known, fold).spec["code"] for one in tried]
    return digest(made) if made else ""


def _value(body: Mapping[str, Any], key: str) -> Any:
    found: Any = body
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _name(spec: Mapping[str, Any]) -> str:
    """`lora.demo-digits.0f3a…`: for people to find, and unlike any other study's."""
    words = [str(spec["method"]), str(spec["task"]), *([str(spec["fold"])] if spec["fold"] else [])]
    slug = ".".join(re.sub(r"[^A-Za-z0-9+]+", "-", word).strip("-") for word in words)
    return f"{slug[:80]}.{digest(dict(spec))[:12]}"
