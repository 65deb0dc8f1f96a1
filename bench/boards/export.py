"""A board elsewhere: the hub's model-index for a model card, a table in Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.boards.declare import Board
from bench.boards.records import Record
from bench.boards.render import primary
from bench.core.errors import UserError, nearest

Built = Mapping[str, Any]


def model_index(built: Built, records: Sequence[Record], method: str) -> str:
    """The YAML front matter that the hub reads results from: one result per task, its metrics in per cent.

    UserError for a method that the board does not have.
    """
    import yaml

    names = [one["name"] for one in built["methods"]]
    if method not in names:
        raise UserError(f"{built['name']} has no method {method!r}.{nearest(method, names)}")
    results = []
    for task in built["tasks"]:
        cell = primary(built, method, task["name"])
        if cell is None or cell["mean"] is None or "reported" in cell["marks"]:
            continue
        record = next(one for one in records if one["key"] in cell["keys"])
        declared = record["spec"]["task"]
        metrics = [
            {"type": one["metric"], "name": _titled(task, one), "value": round(100 * one["mean"], 4)}
            for one in built["cells"]
            if (one["method"], one["task"], one["rule"]) == (method, task["name"], cell["rule"])
            and one["mean"] is not None
        ]
        results.append(
            {
                "task": {"type": str(declared["problem"]), "name": task["title"]},
                "dataset": {"type": str(record["base"]), "name": task["name"]},
                "metrics": metrics,
                "source": {"name": f"{built['title']} ({built['name']})"},
            }
        )
    if not results:
        raise UserError(f"{method} has no result on {built['name']}.")
    body = {"model-index": [{"name": method, "results": results}]}
    text: str = yaml.safe_dump(body, sort_keys=False, allow_unicode=False)
    return f"---\n{text}---\n"


def log_to_wandb(board: Board, built: Built) -> None:
    """One run in Weights & Biases that holds the cells and the averages as tables."""
    import wandb

    cells = ("method", "task", "rule", "metric", "mean", "low", "high", "seeds", "group", "note")
    overall = ("method", "rule", "normalisation", "mean", "low", "high", "average_rank", "group")
    with wandb.init(project="bench", job_type="leaderboard", name=board.name, dir=str(Path.cwd())) as run:
        for name, columns, rows in (("cells", cells, built["cells"]), ("overall", overall, built["overall"])):
            run.log(
                {name: wandb.Table(columns=list(columns), data=[[one[column] for column in columns] for one in rows])}
            )


def _titled(task: Mapping[str, Any], cell: Mapping[str, Any]) -> str:
    found = next((one["title"] for one in task["metrics"] if one["name"] == cell["metric"]), cell["metric"])
    spread = (
        "" if cell["low"] is None else f" (± {100 * max(cell['mean'] - cell['low'], 0.0):.2f}, {cell['seeds']} seeds)"
    )
    return f"{found}{spread}"
