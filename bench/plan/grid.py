"""From what a person typed to runs: the grid of methods, tasks and replicates, each with its key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.core.canonical import digest
from bench.core.errors import UserError, nearest
from bench.core.loading import source_path
from bench.data.access import Access
from bench.data.prepare import Wanted, data_digest, inputs_digest
from bench.data.sources import sized
from bench.data.splits import twin_splits
from bench.declarations.catalog import Catalog
from bench.declarations.expressions import expand, split_arguments
from bench.declarations.resolve import Resolved, resolve, resolve_task, works_on
from bench.declarations.schema import LIBRARY_SCHEDULES
from bench.metrics import metric, metric_names, names, reported_names
from bench.metrics import path as metric_path
from bench.plan.fingerprint import Known
from bench.plan.run import ENGINE, Run
from bench.plan.sourcecode import digests
from bench.problems import Problem, extra_fields, problem_of

PRECISIONS = ("32", "bf16", "16")
TWIN_STEPS = 8

_CLASSES = {
    "method": ("method",),
    "objective": ("objective",),
    "adaptation": ("adapter", "adaptation"),
    "head": ("head",),
    "optimizer": ("optimizer",),
}


def plan(
    arguments: Sequence[str],
    *,
    seeds: Iterable[int] = (0,),
    precision: str = "32",
    twin: bool = False,
    folds: Sequence[str] | None = None,
    catalog: Catalog | None = None,
    access: Access | None = None,
) -> list[Run]:
    """The runs that arguments such as `lora,full=glue/*` and `optimizer.lr=1e-3` mean, in order, each once.

    A task that stands for folds gives a run for each, and for those that its selection rule needs beside them; `folds`
    names some of them instead.
    """
    catalog = catalog or Catalog.find()
    access = access or Access.from_environment()
    if precision not in PRECISIONS:
        raise UserError(f"--precision is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
    grid, overrides = split_arguments(arguments)
    pairs = suited(expand(catalog, grid), grid, catalog)
    runs: dict[str, Run] = {}
    known = Known(access)
    for parts, task in pairs:
        resolved = resolve(catalog, parts, task, overrides, extra_fields)
        for replicate in seeds:
            for fold in folds_of(resolved, folds):
                run = make_run(resolved, tuple(overrides), replicate, precision, twin, known, fold)
                runs.setdefault(run.key, run)
    return list(runs.values())


def folds_of(resolved: Resolved, wanted: Sequence[str] | None, pairs: bool = True) -> list[str] | list[None]:
    """The folds to be run: those reported and (`pairs`) those the rule needs, or the ones that are asked for."""
    problem = problem_of({"name": resolved.task_name, **resolved.task})
    rule = str(resolved.task["selection"])
    if rule not in problem.selections:
        legal = ", ".join(problem.selections)
        raise UserError(f"selection of {resolved.task_name} is {rule!r}; expected one of {legal}.")
    if not problem.folds():
        if wanted:
            raise UserError(f"{resolved.task_name} is one run and has no folds; leave out --folds.")
        return [None]
    needed = problem.extra_folds(rule) if pairs else []
    if wanted is None:
        return [*problem.folds(), *needed]
    others = [fold for rule in problem.selections for fold in problem.extra_folds(rule)] if pairs else []
    possible = [*problem.folds(), *others]
    for fold in wanted:
        if fold not in possible:
            raise UserError(f"{resolved.task_name} has no fold {fold!r}.{nearest(fold, problem.folds())}")
    return list(wanted)


def suited(
    pairs: list[tuple[tuple[str, ...], str]], grid: Sequence[tuple[str, str]], catalog: Catalog
) -> list[tuple[tuple[str, ...], str]]:
    """Where a pattern or a suite was asked for, leave out tasks that a method says it does not work on."""
    if not any(mark in side for pair in grid for side in pair for mark in "*?[") and not any(
        name in catalog.suites() for _, tasks in grid for name in tasks.split(",")
    ):
        return pairs
    kept = [
        (parts, task)
        for parts, task in pairs
        if all(works_on(catalog.method(part).body, catalog.task(task).body["problem"]) for part in parts)
    ]
    return kept or pairs  # nothing left: let the first pair say why


def again(request: Mapping[str, Any], catalog: Catalog, access: Access) -> Run:
    """The run that a recorded request means today."""
    arguments = [f"{request['method']}={request['task']}", *request["overrides"]]
    (run,) = plan(
        arguments,
        seeds=[request["replicate"]],
        precision=request["precision"],
        twin=request["twin"],
        folds=[request["fold"]] if request.get("fold") else None,
        catalog=catalog,
        access=access,
    )
    return run


def make_run(
    resolved: Resolved,
    overrides: tuple[str, ...],
    replicate: int,
    precision: str,
    twin: bool,
    known: Known,
    fold: str | None = None,
) -> Run:
    """One run of a resolved method and task."""
    homes = resolved.homes
    task = {"name": resolved.task_name, **resolved.task}
    task = _sized(task)
    task = _twin(task) if twin else task
    method = {"name": resolved.method_name, **resolved.method}
    problem = problem_of(task)
    _check_metrics(task, problem)
    if resolved.backbone is None:
        raise UserError(f"{resolved.task_name} names no backbone; add task.backbone=NAME (`bench list backbones`).")
    if task["selection"] == "val" and not problem.validated():
        raise UserError(f"{resolved.task_name} selects on val and has no splits.val; declare it, or selection: last.")
    backbone = resolved.backbone
    data = known.data(task, homes["task"], twin)
    weights = known.weights(backbone, homes.get("backbone"), twin)
    spec = {
        "engine": ENGINE,
        "task": _hashed_task(task, twin, problem.afterwards),
        "method": method,
        "backbone": _hashed_backbone(backbone, twin),
        "data": data.fingerprint,
        "weights": weights.fingerprint,
        "code": code_digests(method, backbone, task, homes),
        "libraries": _libraries(method, backbone),
        "fold": fold,
        "replicate": replicate,
        "precision": precision,
        "twin": twin,
    }
    request = {
        "method": resolved.method_name,
        "task": task["name"],
        "overrides": [one for one in overrides if not (problem.afterwards and one.startswith("task.selection="))],
        "replicate": replicate,
        "fold": fold,
        "folds": problem.folds(),
        "precision": precision,
        "twin": twin,
    }
    inputs = inputs_digest(task, data.fingerprint, digests(_generator(task, homes["task"])), twin)
    return Run(
        key=digest(spec),
        spec=spec,
        request=request,
        homes=homes,
        source=task["source"],
        backbone=backbone,
        parameters=resolved.meta["backbone"].get("parameters"),
        download=resolved.meta["backbone"].get("download"),
        seconds=task["budget"].get("seconds"),
        data=data_digest(task, inputs, extra_fields(task["problem"]), fold),
        inputs=inputs,
        provisional=data.provisional + weights.provisional,
    )


def task_data(catalog: Catalog, name: str, overrides: Sequence[str], twin: bool, access: Access) -> list[Wanted]:
    """The data of a task without a method: one for each fold, all of one task share their inputs."""
    body, home = resolve_task(catalog, name, overrides, extra_fields)
    task = _sized({"name": name, **body})
    task = _twin(task) if twin else task
    problem, fingerprint = problem_of(task), Known(access).data(task, home, twin).fingerprint
    inputs = inputs_digest(task, fingerprint, digests(_generator(task, home)), twin)
    keys = extra_fields(task["problem"])
    folds: list[str | None] = [*problem.folds()] or [None]
    return [Wanted(task, one, problem, home, twin, inputs, data_digest(task, inputs, keys, one)) for one in folds]


def wanted_data(run: Run) -> Wanted:
    """What preparation needs to know of a run."""
    problem = problem_of(run.task)
    return Wanted(run.task, run.fold, problem, run.homes["task"], bool(run.spec["twin"]), run.inputs, run.data)


def _sized(task: Mapping[str, Any]) -> dict[str, Any]:
    return {**task, "source": sized(task["source"], (task.get("image") or {}).get("size"))}


def _hashed_task(task: Mapping[str, Any], twin: bool, afterwards: bool) -> dict[str, Any]:
    """The task without what does not change a run: where data lie, what only a sweep or an abort looks at.

    The data's identity stands in the spec beside it. A selection that is made after the runs is no part of them.
    """
    dropped = {"source", *(() if twin else ("twin",)), *(("selection",) if afterwards else ())}
    budget = {key: value for key, value in task["budget"].items() if key not in ("trials", "seconds")}
    return {**{key: value for key, value in task.items() if key not in dropped}, "budget": budget}


def _hashed_backbone(backbone: Mapping[str, Any], twin: bool) -> dict[str, Any]:
    return {key: value for key, value in backbone.items() if twin or key != "twin"}


def _twin(task: Mapping[str, Any]) -> dict[str, Any]:
    """A twin is for trying things out: a few steps, however long the task's own budget is.

    Slices counted in rows would leave its few rows to one part, so a quarter is then taken for validation.
    """
    budget = {key: value for key, value in task["budget"].items() if key not in ("epochs", "steps")}
    declared = task["budget"].get("steps") or TWIN_STEPS
    budget.update(steps=min(TWIN_STEPS, declared), batch_size=min(8, budget["batch_size"]))
    return {**task, "budget": budget, "splits": twin_splits(task["splits"])}


def _files(method: Mapping[str, Any], backbone: Mapping[str, Any], homes: Mapping[str, Path]) -> list[Path]:
    """The Python files that the declarations name."""
    named = [(slot, (method.get(slot) or {}).get(key)) for slot, keys in _CLASSES.items() for key in keys]
    named.append(("backbone", backbone.get("class")))
    return [source_path(ref, homes[slot]) for slot, ref in named if ref and ":" in ref]


def _check_metrics(task: Mapping[str, Any], problem: Problem) -> None:
    """A metric must read what the problem saves and get what it needs; said now, not after hours of training."""
    given = {"groups": bool(task.get("group")), "known": problem.known() is not None, "": problem.known() is None}
    for name in [*metric_names(task), *reported_names(task)]:
        found = metric(name)
        if found.reads != problem.saves or not given[found.needs]:
            every = [metric(other) for other in names()]
            fitting = ", ".join(one.name for one in every if one.reads == problem.saves and given[one.needs])
            raise UserError(f"{task['name']}: the metric {name} is not for this {task['problem']} task; {fitting} are.")


def code_digests(
    method: Mapping[str, Any], backbone: Mapping[str, Any], task: Mapping[str, Any], homes: Mapping[str, Path]
) -> dict[str, str]:
    """The digests of every file that the method, the backbone, the generator and the metrics reach."""
    metrics = [metric_path(name) for name in [*metric_names(task), *reported_names(task)]]
    return digests([*_files(method, backbone, homes), *_generator(task, homes["task"]), *metrics])


def check_code(run: Run) -> None:
    """UserError when a file was edited after the run was planned: its key would not be that of what is run."""
    now = code_digests(run.spec["method"], run.backbone, run.task, run.homes)
    edited = sorted(name for name in {*now, *run.spec["code"]} if now.get(name) != run.spec["code"].get(name))
    if edited:
        raise UserError(f"{edited[0]} changed after {run.label} was planned; give the command again.")


def _generator(task: Mapping[str, Any], home: Path) -> list[Path]:
    reference = task["source"].get("generator") or task["source"].get("through")
    return [source_path(reference, home)] if reference else []


def _libraries(method: Mapping[str, Any], backbone: Mapping[str, Any]) -> dict[str, str]:
    """The libraries whose own code is the method, or a network that no published weights fix."""
    used = [*(["peft"] if (method.get("adaptation") or {}).get("peft") else [])]
    used += ["monai"] if backbone.get("library") == "monai" else []
    used += ["transformers"] if (method.get("optimizer") or {}).get("schedule") in LIBRARY_SCHEDULES else []
    return {name: metadata.version(name) for name in used}
