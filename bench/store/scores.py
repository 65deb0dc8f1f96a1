"""Scores: an append-only, counted list beside each attempt's record."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from bench.store.access import timestamp


def append(folder: Path, event: dict[str, Any]) -> int:
    """Append one score event to the attempt in `folder`; its count: 1 for the first.

    A last line torn by a killed process is cut off first. Safe between threads, processes and machines.
    """
    with open(folder / "scores.jsonl", "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file closes, also by a process's death
        file.seek(0)
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
        count = data.count(b"\n") + 1
        line = json.dumps({"at": timestamp(), **event, "count": count}, sort_keys=True, allow_nan=False)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return count


def latest(folder: Path) -> dict[str, Any]:
    """The last whole score event in `folder`, {} when there is none."""
    try:
        lines = (folder / "scores.jsonl").read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return {}
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            return event
    return {}
