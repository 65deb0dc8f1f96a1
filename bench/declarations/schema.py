"""What the four kinds of declaration may say: task, suite, method, backbone.

Keys that belong to one modality or problem (`classes`, `range`, `image`, `text` …) are not listed here: a
problem declares them, and they reach `check_task` as `extra`. Keys marked `meta` are notes and no part of a
run's identity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.core.errors import UserError
from bench.declarations.fields import Field, OneOf, check_value, kind_of
from bench.declarations.references import FORM, is_reference
from bench.declarations.wording import Where, found

__all__ = [
    "BACKBONE", "IMPLEMENTING", "KINDS", "METHOD", "SLOTS", "SUITE", "TASK", "Field", "OneOf",
    "check", "check_task", "is_plain_name", "modality_and_kind", "split_meta", "task_schema",
]  # fmt: skip

LIBRARIES = ("timm", "transformers", "monai", "encoder", "mlp", "file")
"""Where a backbone's network comes from; each is a file of `bench/execute/backbones`."""

OWN_SCHEDULES = ("constant", "linear", "cosine")
LIBRARY_SCHEDULES = (
    "cosine_with_restarts", "polynomial", "inverse_sqrt", "cosine_with_min_lr", "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
)  # fmt: skip
"""Schedules of the learning rate: the harness's own, and those of transformers by their names there."""

SLOTS = ("objective", "adaptation", "head", "optimizer")
IMPLEMENTING: dict[str, tuple[str, ...]] = {
    "method": ("method",),
    "objective": ("objective",),
    "adaptation": ("adapter", "peft", "train", "adaptation"),
    "head": ("head",),
    "optimizer": ("optimizer",),
}
"""The keys of each slot that fill it; its other keys are plain values."""

_PROBLEM = re.compile(r"([a-z]+)-([a-z]+(?:-[a-z]+)*)")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_EXPRESSION = re.compile(r"[\w.\-]+(\[(-?\d+(\.\d+)?%|-?\d+)?:(-?\d+(\.\d+)?%|-?\d+)?\])?")


def _is_reference(value: Any) -> str:
    return "" if is_reference(value) else FORM


def _is_reference_or(*names: str) -> Field:
    choices = " or ".join(f'"{name}"' for name in names)
    return Field("text", test=lambda value: "" if value in names or is_reference(value) else f"{choices} or {FORM}")


def _is_problem(value: Any) -> str:
    return "" if _PROBLEM.fullmatch(value) else "MODALITY-KIND in small letters, such as text-classification"


def _is_expression(value: Any) -> str:
    if isinstance(value, dict) or _EXPRESSION.fullmatch(value):
        return ""
    return '"SPLIT" or "SPLIT[a%:b%]" or "SPLIT[a:b]"'


def _is_digest(name: str, digits: int) -> Field:
    """A checksum, or one for each image size where an address holds `{size}`."""
    expected = f"{name} of {digits} small hexadecimal digits"
    one = Field("text", test=lambda value: "" if re.fullmatch(f"[0-9a-f]{{{digits}}}", value) else expected)
    return Field(
        ("text", "mapping"),
        values=one,
        test=lambda value: "" if isinstance(value, dict) or one.test is None else one.test(value),
        expected=f"{expected}, or a mapping of image sizes to such",
    )


def is_plain_name(text: str) -> bool:
    """Whether `text` is a name or owner/name that cannot leave a folder: letters, digits, `_`, `-`, `.`."""
    return _PLAIN_NAME.fullmatch(text) is not None and ".." not in text


def _is_plain_name(value: Any) -> str:
    return "" if is_plain_name(value) else 'NAME or OWNER/NAME of letters, digits, "_", "-" and "."'


_NAME = Field("text", test=_is_plain_name)
_NOTE = Field("text", meta=True)
_TEXTS = Field("list", item=Field("text"))
_REFERENCE = Field("text", test=_is_reference)
_PARAMS = Field("mapping", default={})
_SHA256, _MD5 = _is_digest("a SHA-256", 64), _is_digest("an MD5", 32)
_EXPRESSIONS = Field(
    ("text", "mapping"),
    values=Field("text", test=_is_expression),
    test=_is_expression,
    expected='"SPLIT", "SPLIT[a%:b%]", "SPLIT[a:b]", or a mapping of parts to these',
)

_SOURCE = Field(
    "mapping",
    required=True,
    fields={
        "hub": _NAME,
        "config": Field("text"),
        "revision": _NAME,
        "url": Field("text"),
        "sha256": _SHA256,
        "md5": _MD5,
        "format": Field("text"),
        "columns": _TEXTS,
        "rows": Field("mapping", values=Field("integer", low=0)),
        "bytes": Field(("integer", "mapping"), low=0, values=Field("integer", low=0)),
        "folder": Field("text"),
        "images": Field("text"),
        "masks": Field("text"),
        "sklearn": Field("text"),
        "generator": _REFERENCE,
        "through": _REFERENCE,
        "params": Field("mapping"),
    },
    groups=(
        OneOf(
            {
                "hub": ("config", "revision", "rows", "bytes", "through", "params"),
                "url": ("sha256", "md5", "format", "columns", "rows", "bytes", "through", "params"),
                "folder": ("images", "masks", "through", "params"),
                "sklearn": ("sha256", "rows", "through", "params"),
                "generator": ("params",),
            },
            required=True,
        ),
    ),
)


def _is_search(value: Any) -> str:
    """A range with low < high, or choices."""
    if "choices" in value:
        return ""
    if "low" not in value or "high" not in value:
        return "a range {low, high} or {choices: [...]}"
    if value["low"] >= value["high"]:
        return "a range whose low is below its high"
    if value.get("log") and value["low"] <= 0:
        return "a range whose low is above 0, since it is logarithmic"
    return "either logarithmic or in steps" if value.get("log") and "step" in value else ""


_SEARCH = Field(
    "mapping",
    fields={
        "low": Field("number"),
        "high": Field("number"),
        "log": Field("boolean"),
        "step": Field("number", above=0),
        "choices": Field("list", item=Field("any")),
        "when": Field("mapping"),
    },
    groups=(OneOf({"low": ("high", "log", "step"), "choices": ()}),),
    test=_is_search,
)

TASK = Field(
    "mapping",
    fields={
        "title": _NOTE,
        "description": _NOTE,
        "citation": _NOTE,
        "licence": _NOTE,
        "homepage": _NOTE,
        "obtain": _NOTE,
        "problem": Field("text", required=True, test=_is_problem),
        "source": _SOURCE,
        "inputs": replace(_TEXTS, required=True),
        "label": Field("text", default="label"),
        "splits": Field(
            "mapping",
            required=True,
            fields={
                "train": Field("text", test=_is_expression, required=True),
                "val": Field("text", test=_is_expression),
                "test": replace(_EXPRESSIONS, required=True),
                "shuffle": Field("text", choices=("none", "random", "stratified"), default="none"),
                "shots": Field("integer", low=1),
            },
        ),
        "metric": Field(("text", "list"), required=True, item=Field("text")),
        "report": replace(_TEXTS, default=[], empty=True),
        "budget": Field(
            "mapping",
            required=True,
            fields={
                "epochs": Field("integer", low=1),
                "steps": Field("integer", low=1),
                "batch_size": Field("integer", low=1, default=32),
                "validations": Field("integer", low=1, default=10),
                "seconds": Field("number", above=0),
                "trials": Field("integer", low=1),
            },
            groups=(OneOf({"epochs": (), "steps": ()}, required=True),),
        ),
        "selection": Field("text", choices=("val", "last"), default="val"),
        # What a sweep may vary of the budget itself, alike for every method: budget.batch_size, budget.steps.
        "search": Field("mapping", values=_SEARCH, meta=True),
        "backbone": Field("text"),
        "twin": Field("mapping"),
    },
)

SUITE = Field(
    "mapping",
    fields={
        "title": _NOTE,
        "description": _NOTE,
        "citation": _NOTE,
        "tasks": Field(("list", "mapping"), required=True, item=Field("text"), values=_TEXTS),
        "average": Field("text", choices=("macro", "groups"), default="macro"),
    },
)


METHOD = Field(
    "mapping",
    fields={
        "title": _NOTE,
        "description": _NOTE,
        "citation": _NOTE,
        "link": _NOTE,
        # What a method is meant for decides whether a run may be, not what the run computes.
        "problems": replace(_TEXTS, meta=True),
        # The network a method is about, in place of the task's; it stands in the run as the backbone.
        "backbone": Field("text"),
        # A method whose phases, predictions or end are its own; the four slots are the parts that any method has.
        "method": Field("mapping", fields={"method": _REFERENCE, "params": _PARAMS}),
        "objective": Field("mapping", default={}, fields={"objective": _REFERENCE, "params": _PARAMS}),
        "adaptation": Field(
            "mapping",
            default={},
            fields={
                "adapter": _REFERENCE,
                "peft": Field("text"),
                "train": Field(("text", "list"), choices=("all", "none"), item=Field("text")),
                "adaptation": _REFERENCE,
                "params": _PARAMS,
                "targets": Field(("text", "list"), item=Field("text")),
            },
            groups=(OneOf(dict.fromkeys(IMPLEMENTING["adaptation"], ()), default=("train", "all")),),
        ),
        "head": Field(
            "mapping",
            default={},
            fields={"head": replace(_is_reference_or("linear"), default="linear"), "params": _PARAMS},
        ),
        "optimizer": Field(
            "mapping",
            default={},
            fields={
                "optimizer": replace(_is_reference_or("adamw", "adam", "sgd"), default="adamw"),
                "lr": Field("number", low=0, default=1e-3),
                "head_lr": Field("number", low=0),
                "weight_decay": Field("number", low=0, default=0.0),
                "schedule": Field("text", choices=(*OWN_SCHEDULES, *LIBRARY_SCHEDULES), default="constant"),
                "schedule_params": Field("mapping"),
                "warmup": Field("number", low=0, high=1, default=0.0),
                "clip": Field("number", above=0),
                "params": _PARAMS,
            },
        ),
        "search": Field("mapping", values=_SEARCH, meta=True),
    },
)


def _is_file_name(value: Any) -> str:
    return "" if is_plain_name(value) and "/" not in value else "the name of a file beside the declaration"


def _has_class(value: Any) -> str:
    """A backbone of library `file` names its class; one of another library its name, and no class."""
    if value.get("library") == "file":
        return "" if "class" in value else 'a mapping with "class", as its library is file'
    if "class" in value:
        return 'a mapping without "class", as only the library file has one'
    return "" if "name" in value or "library" not in value else 'a mapping with "name" (an architecture or a hub id)'


BACKBONE = Field(
    "mapping",
    fields={
        "title": _NOTE,
        "description": _NOTE,
        "citation": _NOTE,
        "licence": _NOTE,
        "homepage": _NOTE,
        "library": Field("text", choices=LIBRARIES, required=True),
        "name": _NAME,
        "revision": _NAME,
        "args": Field("mapping", default={}),
        "weights": Field("text", test=_is_file_name),
        "class": _REFERENCE,
        "modality": Field("text", choices=("image", "text", "tabular"), required=True),
        "pool": Field("text", choices=("cls", "mean", "default"), default="default"),
        "targets": Field("mapping", default={}, values=_TEXTS),
        "parameters": Field("integer", low=0, meta=True),
        "download": Field("integer", low=0, meta=True),
        "twin": Field("mapping"),
    },
    test=_has_class,
)


KINDS = {"task": TASK, "suite": SUITE, "method": METHOD, "backbone": BACKBONE}


def check(body: Any, schema: Field, where: Where, *, defaults: bool = True) -> dict[str, Any]:
    """A copy of `body` with defaults filled, or a UserError naming place, key, what was expected and found.

    With `defaults` false nothing is filled in and nothing is missed: for a part that is merged with others
    later.
    """
    if kind_of(body) != "mapping":
        place = where if isinstance(where, str) else where("")
        raise UserError(f"{place}: the declaration must be a mapping, found {found(body)}.")
    checked: dict[str, Any] = check_value(body, schema, "", where, defaults=defaults)
    return checked


def task_schema(extra: Mapping[str, Field]) -> Field:
    """The schema of tasks whose problem adds `extra`; a dotted name (`source.columns`) adds a key to a
    section.

    An extra key of a name that exists replaces it.
    """
    schema = TASK
    for name, field in extra.items():
        schema = _with(schema, name.split("."), field)
    return schema


def check_task(body: Any, where: Where, extra: Mapping[str, Field]) -> dict[str, Any]:
    """`check` for a task whose problem declares the keys `extra` besides those every task has."""
    return check(body, task_schema(extra), where)


def modality_and_kind(problem: str) -> tuple[str, str]:
    """("text", "classification") of "text-classification"."""
    modality, _, kind = problem.partition("-")
    return modality, kind


def split_meta(body: Mapping[str, Any], schema: Field) -> tuple[dict[str, Any], dict[str, Any]]:
    """`body` in two: what enters a run's identity, and the notes that do not."""
    fields = schema.fields or {}
    kept = {key: value for key, value in body.items() if key not in fields or not fields[key].meta}
    return kept, {key: value for key, value in body.items() if key not in kept}


def _with(schema: Field, names: list[str], field: Field) -> Field:
    fields = dict(schema.fields or {})
    if len(names) > 1:
        field = _with(fields.get(names[0], Field("mapping")), names[1:], field)
    return replace(schema, fields={**fields, names[0]: field})
