"""One row about one run, from the files in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.core.canonical import digest
from bench.store import scores
from bench.store.claims import attempt_folder, standing


def summarise(run: Path) -> dict[str, Any] | None:
    """The row of the run in the folder `run`; None when there is no run.

    `candidates` and `parts` are the scores at every candidate checkpoint, where a rule chooses among finished runs.
    `variant` is what replicates and folds of one method on one task have in common; `scores` are the values
    of the latest score event, None until there is one, `post_hoc` where it is one of a search's trials that was not
    chosen; `error` is the last line of a failure.
    """
    written = _json(run / "spec.json")
    if "spec" not in written:
        return None
    spec = written["spec"]
    state, entry = standing(run)
    row = {
        "key": run.name,
        "method": _name(spec, "method"),
        "task": _name(spec, "task"),
        "fold": spec.get("fold"),
        "replicate": spec.get("replicate"),
        "variant": variant(spec),
        "state": state,
        "request": written.get("request"),
        "scores": None,
        "scored": 0,
        "primary": None,
        "post_hoc": False,
        "candidates": None,
        "parts": None,
        "cost": None,
        "selection": None,
        "provisional": None,
        "error": entry.event.get("error") if state == "failed" else None,
        "at": entry.event.get("at"),
    }
    if state == "done":
        folder = attempt_folder(run, entry.attempt)
        record, score = _json(folder / "record.json"), scores.latest(folder)
        row.update({name: record.get(name) for name in ("cost", "selection", "provisional")})
        row.update(scores=score.get("values"), scored=score.get("count", 0))
        row["post_hoc"] = bool(score.get("post_hoc"))
        row.update({name: score.get(name) for name in ("primary", "candidates", "parts")})
    return row


def variant(spec: dict[str, Any]) -> str:
    """The digest of a spec without its replicate and fold."""
    return digest({name: value for name, value in spec.items() if name not in ("replicate", "fold")})


def _name(spec: dict[str, Any], part: str) -> str:
    named = spec.get(part)
    return str(named.get("name", "")) if isinstance(named, dict) else str(named or "")


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} when it is missing or no such thing."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
