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
    seen: set[tuple[str, str]] = set()
    tuned = []
    by_key = {row["key"]: row for row in rows}
    for row in (row for study in sealed for row in _tuned(study, by_key)):
        if (row["variant"], row["key"]) not in seen:  # two searches may choose one run: it is one result
            seen.add((row["variant"], row["key"]))
            tuned.append(row)
    plain = [dict(row) for row in rows if not row["request"].get("study") and not _unscored(row)]
    return [*plain, *tuned]


def _unscored(row: Row) -> bool:
    """Whether a run of the declared parameters was made by a search, which did not choose it."""
    return row["state"] == "done" and not row.get("scores")


def mark(spec: Mapping[str, Any]) -> str:
    """How a method is called that was searched so: `tuned: 20 trials, tpe`."""
    count = spec.get("asked", spec["trials"]) if spec["sampler"] == "grid" else spec["trials"]
    words = [f"{count} trial" + ("" if count == 1 else "s"), str(spec["sampler"])]
    words += [f"{spec['seconds']:g} s"] if spec["seconds"] else []
    words += [str(spec["pruner"])] if spec["pruner"] != "none" else []
    words += [f"sampler seed {spec['sampler_seed']}"] if spec["sampler_seed"] else []
    return f"tuned: {', '.join(words)}"


def _tuned(study: Sealed, by_key: Mapping[str, Row]) -> list[dict[str, Any]]:
    spec, confirmed = study.spec, dict(study.confirmed)
    keys = confirmed or {study.selection["key"]: spec["replicate"]}
    words = mark(spec)
    if not confirmed:
        words += ", unconfirmed"  # the search's own seed
    elif spec["replicate"]:
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
    # What the folds (and, unconfirmed, the search seeds) of one sweep have in common: its code and space among it.
    apart = ("base", "fold", "replicate", *(() if spec.get("variant") else ("variant",)))
    same = {key: value for key, value in spec.items() if key not in apart}
    variant = digest([words, spec.get("variant") or spec["base"], same])
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
