"""Folds: the runs a task stands for become one row per replicate, under each rule that may choose among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

PAIRED = "leave-one-domain-out"  # the rule that looks at runs with two domains held out
RULES = ("val", PAIRED, "oracle", "last")
BETWEEN = "+"

Row = Mapping[str, Any]


def rules(rows: Sequence[Row]) -> list[str]:
    """The rules that these rows of one variant can be read under: one of their own, or those applied afterwards.

    Runs that a search chose are read under the rule it chose by.
    """
    if rows[0].get("rule"):
        return [str(rows[0]["rule"])]
    if not any(row["request"].get("folds") for row in rows):
        return [next((str(row["selection"]["rule"]) for row in rows if row.get("selection")), "")]
    if not joined(rows, RULES[0]):
        return [RULES[0]]
    return [rule for rule in RULES if rule != "last" and joined(rows, rule)]


def joined(rows: Sequence[Row], rule: str) -> list[dict[str, Any]]:
    """One row per replicate whose folds (and pairs, for that rule) are all done.

    It holds each metric's mean over folds, `worst`, and `domains`.
    `value` is what the rule would choose among variants by: higher is better, None where its runs are not there.
    Costs are summed over the folds' runs in seconds and averaged otherwise.
    """
    made = []
    for replicate in sorted({int(row["replicate"]) for row in rows}):
        own = {str(row["fold"]): row for row in rows if row["replicate"] == replicate and row["state"] == "done"}
        folds = next(iter(rows))["request"]["folds"]
        if any(fold not in own or not own[fold].get("candidates") for fold in folds):
            continue
        scores = {fold: _scores(own[fold], rule) for fold in folds}
        names = [name for name in scores[folds[0]] if all(name in found for found in scores.values())]
        means = {name: fmean(found[name] for found in scores.values()) for name in names}
        domains = {fold: found["score"] for fold, found in scores.items()}
        values = [value(own, fold, rule, folds) for fold in folds]
        chosen = all(row.get("rule") for row in own.values())  # the rule has looked already
        if not chosen and rule in (PAIRED, "oracle") and any(one is None for one in values):
            continue  # what the rule looks at is not there
        made.append(
            {
                **own[folds[0]],
                "fold": None,
                "scores": {**means, "worst": min(domains.values())},
                "domains": domains,
                "value": None if any(one is None for one in values) else fmean(one or 0.0 for one in values),
                "cost": _cost([own[fold]["cost"] for fold in folds]),
                "provisional": sorted({reason for fold in folds for reason in own[fold].get("provisional") or []}),
            }
        )
    return made


def present(rows: Sequence[Row], rule: str) -> dict[str, float]:
    """The score of each fold that has one, whether or not all have: the mean over replicates."""
    found: dict[str, list[float]] = {}
    for row in reported(rows):
        if row["state"] == "done" and row.get("candidates"):
            found.setdefault(str(row["fold"]), []).append(_scores(row, rule)["score"])
    return {fold: fmean(scores) for fold, scores in found.items()}


def value(own: Mapping[str, Row], fold: str, rule: str, folds: Sequence[str]) -> float | None:
    """What a rule chooses by for one held-out domain (Gulrajani, Lopez-Paz. 2021. Section 3).

    `val`: the validation score of the training domains; `oracle`: the score on the held-out domain's own small piece
    at the last step; `leave-one-domain-out`: the mean, over the other domains, of the score on that domain, at the last
    step, of the run that held out both.
    """
    if rule == "oracle":
        return _part(own[fold], "target-val")
    if rule != PAIRED:
        found = own[fold]["selection"]["value"]
        return None if found is None else float(found)
    scores = []
    for other in folds:
        if other != fold:
            pair = own.get(BETWEEN.join((fold, other))) or own.get(BETWEEN.join((other, fold)))
            scores.append(None if pair is None else _part(pair, f"test-{other}"))
    return None if not scores or any(one is None for one in scores) else fmean(one or 0.0 for one in scores)


def reported(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows of folds that a table reports, without those that only a rule looks at."""
    for row in rows:
        folds = row["request"].get("folds")
        if not folds or row["fold"] in folds:
            yield row


def _scores(row: Row, rule: str) -> Mapping[str, float]:
    chosen = row["selection"]["candidate"] if rule == "val" else "last"
    found: Mapping[str, float] = row["candidates"].get(chosen) or row["scores"]
    return found


def _part(row: Row, part: str) -> float | None:
    found = ((row.get("parts") or {}).get("last") or {}).get(part)
    return None if found is None else float(found)


def _cost(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Time is spent on every fold; the rest is of one run."""
    made = {}
    for key in costs[0]:
        found = [cost[key] for cost in costs if cost.get(key) is not None]
        if found and isinstance(found[0], (int, float)):
            made[key] = sum(found) if key == "fit_seconds" else fmean(found)
    return made
