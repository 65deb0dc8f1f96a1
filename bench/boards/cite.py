"""What to cite for a board."""

from __future__ import annotations

import hashlib
from importlib import metadata

from bench.boards.declare import Board
from bench.boards.records import read_records
from bench.core.errors import UserError
from bench.declarations.catalog import Catalog


def citations(board: Board) -> list[str]:
    """The board with the digest of its records, then its methods' and its tasks' papers, each once."""
    path = board.beside("records.jsonl")
    if not path.exists():
        raise UserError(f"{path} is not there; `bench publish {board.path}` writes it.")
    kept = read_records(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    title = str(board.body["title"]).rstrip(".")
    said = f"{title}. Leaderboard {board.name}, {len(kept.records)} records (sha256 {digest})"
    lines = [f"{said}, bench {metadata.version('methodbench')}."]
    catalog = Catalog.find()
    methods = sorted({part for one in kept.records for part in str(one["request"]["method"]).split("+")})
    tasks = sorted({str(one["request"]["task"]) for one in kept.records})
    bodies = [catalog.method(name).body for name in methods if name in catalog.methods()]
    bodies += [catalog.task(name).body for name in tasks if name in catalog.tasks()]
    return [*lines, *dict.fromkeys(" ".join(str(one["citation"]).split()) for one in bodies if one.get("citation"))]
