"""Boards made by counting, without randomness: a small one with every sign, a hostile one, and a big one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

ACCURACY = {"name": "accuracy", "title": "accuracy", "higher": True, "unit": "%"}
F1 = {"name": "f1", "title": "F1", "higher": True, "unit": "%"}
DISTANCE = {"name": "hausdorff95", "title": "Hausdorff distance", "higher": False, "unit": "pixels"}
VERSIONS = {"torch": "2.6.0", "lightning": "2.5.5", "python": "3.11.7"}
NORMS = [
    {"name": "none", "title": "per cent"},
    {"name": "minmax", "title": "best method 100, worst 0"},
    {"name": "baseline", "title": "error removed from the baseline's"},
]


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def wobble(*parts: object) -> float:
    """A number in [0, 1) that depends on its coordinates alone."""
    return int(digest(*parts)[:8], 16) / 2**32


def group_letters(means: Mapping[str, float], width: float, higher: bool = True) -> dict[str, tuple[str, list[int]]]:
    """(letters, rank interval) by method, with methods closer than `width` tied."""
    order = sorted(means, key=lambda name: -means[name] if higher else means[name])
    result = {}
    for name in order:
        tied = [place for place, other in enumerate(order) if abs(means[other] - means[name]) < width]
        result[name] = ("abcdefghijklmnopqrstuvwxyz"[min(25, tied[0])], [tied[0] + 1, tied[-1] + 1])
    return result


def record(method: str, task: str, replicate: int, scores: Mapping[str, float], cost: Mapping[str, float]) -> dict:
    return {
        "key": digest(method, task, replicate),
        "method": method,
        "task": task,
        "fold": None,
        "replicate": replicate,
        "scores": dict(scores),
        "cost": dict(cost),
        "parameters": {"optimizer.lr": 0.0005, "adaptation.params.rank": 8},
        "versions": VERSIONS,
        "hardware": "1 x CPU, 2 cores",
        "command": f"bench run {method}={task} --replicate {replicate}",
        "commit": "0123abc",
        "marks": [],
    }


def grid(methods: list[dict], tasks: list[dict], seeds: int, rules: list[dict]) -> dict[str, Any]:
    """A whole board: every method on every task under every rule, with records."""
    cells, records, keys = [], [], {}
    for method in methods:
        for task in tasks:
            # The better ones mostly cost more, as a front needs.
            size = round(10 ** (3.5 + 3 * wobble(method["name"], "skill") + 2 * wobble(method["name"], "size")))
            cost = {
                "trainable_parameters": 0 if method["name"] == "probe" else size,
                "fit_seconds": round(20 + 900 * wobble(method["name"], task["name"], "time"), 1),
                "peak_bytes": round(8e8 * (1 + 3 * wobble(method["name"], "peak"))),
                "stored_bytes": 4 * size,
            }
            for seed in range(seeds):
                scores = {one["name"]: value_of(method, task, one, "val", seed) for one in task["metrics"]}
                records.append(record(method["name"], task["name"], seed, scores, cost))
            keys[method["name"], task["name"]] = ([one["key"] for one in records[-seeds:]], cost)
    for rule in rules:
        for task in tasks:
            for metric in task["metrics"]:
                means = {one["name"]: value_of(one, task, metric, rule["name"]) for one in methods}
                width = 0.02 if metric["higher"] else 0.6
                tied = group_letters(means, width, metric["higher"])
                for name, mean in means.items():
                    found, cost = keys[name, task["name"]]
                    letters, rank = tied[name]
                    cells.append(
                        {
                            "method": name,
                            "task": task["name"],
                            "rule": rule["name"],
                            "metric": metric["name"],
                            "mean": mean,
                            "low": mean - width / 2,
                            "high": mean + width / 2,
                            "seeds": seeds,
                            "group": letters,
                            "rank": rank,
                            "best": rank[0] == 1,
                            "marks": [],
                            "note": "",
                            "cost": cost,
                            "keys": found,
                        }
                    )
    return {
        "name": "demo",
        "title": "Adapters on small tasks",
        "caption": "A board for the tests of its page: the numbers are made up, and mean nothing.",
        "built_with": "bench 0.1.0",
        "level": 0.95,
        "estimand": "new seeds and new items",
        "rules": rules,
        "normalisations": NORMS,
        "tasks": tasks,
        "methods": methods,
        "cells": cells,
        **overall(methods, tasks, rules),
        "records": records,
        "notes": ["Metrics in per cent; distances in pixels.", "A missing cell counts as the worst of its task."],
    }


def value_of(method: dict, task: dict, metric: dict, rule: str, seed: int = -1) -> float:
    """A mean that mostly follows the method, somewhat the task, a little the rule and the seed."""
    share = 0.55 + 0.3 * wobble(method["name"], "skill") + 0.1 * wobble(method["name"], task["name"], metric["name"])
    share += 0.01 * wobble(method["name"], task["name"], rule, seed)
    return share if metric["higher"] else 12 * (1 - share)


def overall(methods: list[dict], tasks: list[dict], rules: list[dict]) -> dict[str, Any]:
    rows, critical, wins = [], [], []
    for rule in rules:
        means = {one["name"]: 0.5 + 0.4 * wobble(one["name"], "skill") + 0.001 * len(rule["name"]) for one in methods}
        tied = group_letters(means, 0.03)
        averages = {name: round((rank[0] + rank[1]) / 2, 2) for name, (_, rank) in tied.items()}
        for scale, norm in enumerate(NORMS):
            for name, mean in means.items():
                shown = mean / (1 + scale / 4)
                rows.append(
                    {
                        "method": name,
                        "rule": rule["name"],
                        "normalisation": norm["name"],
                        "mean": shown,
                        "low": shown - 0.012,
                        "high": shown + 0.012,
                        "rank": tied[name][1],
                        "average_rank": averages[name],
                        "group": tied[name][0],
                        "tasks": len(tasks),
                        "elo": [1200 + 600 * mean, 1150 + 600 * mean, 1250 + 600 * mean],
                    }
                )
        order = sorted(averages, key=averages.__getitem__)
        cliques = {tuple(other for other in order if abs(averages[other] - averages[name]) < 1.2) for name in order}
        critical.append(
            {
                "rule": rule["name"],
                "cd": 1.2,
                "p": 0.0004,
                "ranks": averages,
                "cliques": sorted(list(clique) for clique in cliques if len(clique) > 1),
            }
        )
        matrix = {
            a: {b: round(min(1, max(0, 0.5 + 2 * (means[a] - means[b]))), 2) for b in means if b != a} for a in means
        }
        wins.append({"rule": rule["name"], "matrix": matrix})
    return {"overall": rows, "critical_difference": critical, "win_rates": wins}


def method_of(name: str, title: str, link: str = "") -> dict[str, str]:
    return {"name": name, "title": title, "citation": f"Somebody et al., on {title}.", "link": link}


def demo() -> dict[str, Any]:
    """Seven methods on six tasks of three families, with a failure, a missing cell, one seed, and every mark."""
    methods = [
        method_of("lora", "LoRA: Low-Rank Adaptation", "https://example.org/lora"),
        method_of("salt", "SALT: Singular Value Adaptation with Low-Rank Transformation"),
        method_of("full", "Full fine-tuning"),
        method_of("probe", "Linear probe"),
        method_of("bitfit", "BitFit"),
        method_of("ia3", "(IA)³"),
        method_of("dora", "DoRA"),
    ]
    named = [
        *(("glue/rte", "Recognizing Textual Entailment", "glue"), ("glue/cola", "CoLA", "glue")),
        *(("vision/pets", "Pets", "vision"), ("vision/dtd", "Textures", "vision")),
        *(("medseg/drive", "DRIVE vessels", "medseg"), ("medseg/isic", "ISIC lesions", "medseg")),
    ]
    tasks = [
        {
            "name": name,
            "title": title,
            "family": family,
            "baseline": 0.1,
            "metrics": [ACCURACY, F1] if family == "glue" else [ACCURACY] if family == "vision" else [F1, DISTANCE],
            "primary": "f1" if family == "medseg" else "accuracy",
        }
        for name, title, family in named
    ]
    rules = [
        {"name": "val", "title": "training-domain validation"},
        {"name": "oracle", "title": "oracle (target validation)"},
    ]
    board = grid(methods, tasks, 3, rules)
    cells = {(one["method"], one["task"], one["rule"], one["metric"]): one for one in board["cells"]}
    note = "RuntimeError: the loss is not finite at step 120"
    cells["ia3", "glue/cola", "val", "accuracy"].update(mean=None, low=None, high=None, best=False, note=note)
    cells["bitfit", "glue/rte", "val", "accuracy"].update(low=None, high=None, seeds=1, rank=[1, 7])
    for place, mark in enumerate(("provisional", "stale", "reported", "verified")):
        cells[methods[place]["name"], "vision/pets", "val", "accuracy"]["marks"] = [mark]
    cells["full", "vision/dtd", "val", "accuracy"]["note"] = "trained on half of the data"
    lost = ("probe", "medseg/isic", "val", "f1")
    board["cells"] = [one for key, one in cells.items() if key != lost]
    board["records"][0]["marks"] = ["provisional"]
    return board


def hostile(text: str) -> dict[str, Any]:
    """A board whose every string is `text`, numbered only where names must differ."""

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        return text if isinstance(value, str) and key not in NAMES else value

    board = spoil(demo())
    renamed: dict[str, str] = {}
    return rename(board, text, renamed)


NAMES = frozenset(
    {"name", "method", "task", "rule", "normalisation", "metric", "primary", "key", "keys", "ranks", "cliques"}
)


def rename(value: Any, text: str, known: dict[str, str], key: str = "") -> Any:
    """Every name, also where it is a key of a mapping, as `text` with a number of its own."""

    def other(name: str) -> str:
        return known.setdefault(name, f"{text}{len(known)}")

    if isinstance(value, dict):
        free = key in ("matrix", "ranks", "scores", "cost", "parameters", "versions") or key in known
        return {
            other(name) if free else name: rename(item, text, known, "matrix" if key == "matrix" else name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [rename(item, text, known, key) for item in value]
    return other(value) if isinstance(value, str) and key in NAMES else value


def big(methods: int = 60, tasks: int = 30, seeds: int = 5) -> dict[str, Any]:
    """60 methods on 30 tasks with 5 seeds: 9,000 records."""
    return grid(
        [method_of(f"method-{at:02d}", f"Method number {at}") for at in range(methods)],
        [
            {
                "name": f"family{at % 5}/task-{at:02d}",
                "title": f"Task number {at}",
                "family": f"family{at % 5}",
                "metrics": [ACCURACY, F1],
                "primary": "accuracy",
                "baseline": None,
            }
            for at in range(tasks)
        ],
        seeds,
        [{"name": "val", "title": "validation"}, {"name": "last", "title": "last checkpoint"}],
    )
