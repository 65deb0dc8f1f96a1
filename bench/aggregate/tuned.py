"""Tuned methods: the runs that a search chose, and those that confirm it, as rows of one method.

Every fold has a search of its own and so parameters of its own; together they are one line, `lora (tuned, …)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.canonical import digest

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sealed:
    """A study that has chosen: what it was, what it chose, the runs on fresh seeds (key -> replicate)."""

    name: str
    spec: Mapping[str, Any]
    selection: Mapping[str, Any]
    confirmed: Mapping[str, int]


def honest(rows: Sequence[Row], sealed: Sequence[Sealed]) -> list[dict[str, Any]]:
    """The rows a table of results is made from.

    Trials are left out: a search compares them on validation, and what they would score on the test is no result.
    What a search chose comes in their place, on fresh seeds where it was confirmed.
    """
    plain = [dict(row) for row in rows if not row["request"].get("study") and not _unscored(row)]
    by_key = {row["key"]: row for row in rows}
    return [*plain, *(row for study in sealed for row in _tuned(study, by_key))]


def _unscored(row: Row) -> bool:
    """Whether a run of the declared parameters was made by a search, which did not choose it."""
    return row["state"] == "done" and not row.get("scores")


def mark(spec: Mapping[str, Any]) -> str:
    """How a method is called that was searched so: `tuned: 20 trials, tpe`."""
    words = [f"{spec['trials']} trial" + ("" if spec["trials"] == 1 else "s"), str(spec["sampler"])]
    words += [f"{spec['seconds']:g} s"] if spec["seconds"] else []
    words += [str(spec["pruner"])] if spec["pruner"] != "none" else []
    words += [f"sampler seed {spec['sampler_seed']}"] if spec["sampler_seed"] else []
    return f"tuned: {', '.join(words)}"


def _tuned(study: Sealed, by_key: Mapping[str, Row]) -> list[dict[str, Any]]:
    spec, confirmed = study.spec, dict(study.confirmed)
    keys = confirmed or {study.selection["key"]: spec["replicate"]}
    words = mark(spec)
    if confirmed and spec["replicate"]:
        words += f", searched with seed {spec['replicate']}"
    request = {
        "method": spec["method"],
        "task": spec["task"],
        "overrides": list(spec["overrides"]),
        "precision": spec["precision"],
        "twin": spec["twin"],
        "folds": list(spec["folds"]),
        "tuned": words,
    }
    # What the folds (and, unconfirmed, the search seeds) of one sweep have in common.
    apart = ("base", "fold", "space", "method", "task", "replicate")
    same = {key: value for key, value in spec.items() if key not in apart}
    variant = digest([spec["method"], spec["task"], words, same])
    return [
        {
            **by_key[key],
            "variant": variant,
            "rule": spec["rule"],
            "request": {**request, "fold": spec["fold"], "replicate": replicate},
            "fold": spec["fold"],
            "replicate": replicate,
        }
        for key, replicate in keys.items()
        if key in by_key
    ]
