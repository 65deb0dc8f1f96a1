"""From names to what will be run: family, task, method and command line merged and checked, the backbone
found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.core.printable import printable
from bench.declarations.backbones import resolve_backbone
from bench.declarations.combine import Combined, combine
from bench.declarations.fields import Field
from bench.declarations.overrides import apply
from bench.declarations.schema import METHOD, check, modality_and_kind, split_meta, task_schema
from bench.declarations.wording import found, quoted

if TYPE_CHECKING:
    from bench.declarations.catalog import Catalog, Declaration

ExtraFields = Callable[[str], Mapping[str, Field]]


@dataclass(frozen=True)
class Resolved:
    """A method on a task, without the notes: what a run's identity is made of.

    `task` holds no `backbone`: that is `backbone` (None when the task names none), and `backbone_name` says
    what was written. `meta` keeps the notes of "task", "method" and "backbone". `homes` says where
    "file:Class" is looked up, for "method", each slot, "task" and "backbone" (the folder of local weights,
    where the library is local). `paths` are the declaration files that took part.
    """

    method_name: str
    task_name: str
    backbone_name: str | None
    method: dict[str, Any]
    task: dict[str, Any]
    backbone: dict[str, Any] | None
    meta: dict[str, dict[str, Any]]
    homes: dict[str, Path]
    paths: tuple[Path, ...]


def resolve(
    catalog: Catalog,
    method_parts: Sequence[str],
    task_name: str,
    overrides: Sequence[str],
    extra_fields: ExtraFields,
) -> Resolved:
    """The method made of `method_parts` on the task `task_name`, with `overrides` from the command line.

    `extra_fields` gives the task keys that a problem ("text-classification") declares. A UserError for
    every mistake.
    """
    declared = catalog.task(task_name)
    combined = combine([catalog.method(part) for part in method_parts])
    schema = task_schema(extra_fields(_problem(declared)))
    task = check(declared.body, schema, declared.place)
    method = check(combined.body, METHOD, combined.place)
    backbone_place = declared.place("backbone")
    if overrides:
        applied = apply(task, method, overrides, schema)
        task = check(applied.task, schema, lambda key: applied.place(f"task.{key}"))
        method = check(applied.method, METHOD, applied.place)
        if "task.backbone" in applied.places:
            backbone_place = applied.places["task.backbone"]
    _check_problem(combined, method, declared, task["problem"])
    method, method_notes = split_meta(method, METHOD)
    task, task_notes = split_meta(task, schema)
    homes = {**combined.homes, "task": _task_home(declared)}
    paths = [
        *(path for part in combined.parts for path, _ in part.layers),
        *(path for path, _ in declared.layers),
    ]
    name, own = task.pop("backbone", None), method.pop("backbone", None)
    if own is not None and not any(one.partition("=")[0] == "task.backbone" for one in overrides):
        name, backbone_place = own, combined.place("backbone")
    body, notes = None, {}
    if name is not None:
        backbone = resolve_backbone(catalog, name, modality_and_kind(task["problem"])[0], backbone_place)
        body, notes = backbone.body, backbone.meta
        homes |= {"backbone": backbone.home} if backbone.home else {}
        paths += [backbone.path] if backbone.path else []
    return Resolved(
        method_name=combined.name,
        task_name=task_name,
        backbone_name=name,
        method=method,
        task=task,
        backbone=body,
        meta={"task": task_notes, "method": method_notes, "backbone": notes},
        homes=homes,
        paths=tuple(paths),
    )


def resolve_task(
    catalog: Catalog, task_name: str, overrides: Sequence[str], extra_fields: ExtraFields
) -> tuple[dict[str, Any], Path]:
    """A task alone, without the notes, and the folder in which its "file:function" is looked up."""
    declared = catalog.task(task_name)
    schema = task_schema(extra_fields(_problem(declared)))
    task = check(declared.body, schema, declared.place)
    if overrides:
        applied = apply(task, {}, overrides, schema)
        task = check(applied.task, schema, lambda key: applied.place(f"task.{key}"))
    return split_meta(task, schema)[0], _task_home(declared)


def works_on(method: Mapping[str, Any], problem: str) -> bool:
    """Whether a method's body (notes included) may be run on `problem`; for globs, which leave the others
    out.
    """
    kinds = method.get("problems")
    return kinds is None or modality_and_kind(problem)[1] in kinds


def _problem(task: Declaration) -> str:
    """The task's problem, before the rest of it can be checked."""
    problem = task.body.get("problem")
    if not isinstance(problem, str):
        raise UserError(
            f'{task.place("problem")}: "problem" must be MODALITY-KIND, such as text-classification, '
            f"found {found(problem)}."
        )
    return problem


def _check_problem(combined: Combined, method: Mapping[str, Any], task: Declaration, problem: str) -> None:
    if not works_on(method, problem):
        kinds = printable(", ".join(method["problems"]))
        raise UserError(
            f"The method {quoted(combined.name)} works on {kinds}, and the task "
            f"{quoted(task.name)} is of the kind {modality_and_kind(problem)[1]}."
        )


def _task_home(task: Declaration) -> Path:
    """Beside the file that names a function of the source: the task's own, or that of a family."""
    giver = task.giver("source.generator") or task.giver("source.through")
    return giver.parent if giver else task.home
