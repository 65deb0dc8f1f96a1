"""Joining stored predictions with the test labels after a run is done: again, or for a search's trials at last.

A trial of a search is published without a score. Its test labels stay closed until the search has chosen; from then on
the winner's score is a result like any other, and every other trial's is post hoc: marked so, and read by no rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.data.access import Access
from bench.store import Store
from bench.store.scores import latest

if TYPE_CHECKING:
    from bench.execute.grid import Outcome


def rescore(store: Store, key: str, access: Access, chosen_by: str | None = None) -> dict[str, Any]:
    """Score a finished run from its predictions; the event is appended and counted.

    `chosen_by` names the study that has chosen the run. UserError for a run that is not done, and for a trial of a
    search that has not chosen yet.
    """
    from bench.problems import problem_of
    from bench.score import score
    from bench.score.evidence import prepare_again

    record, folder = store.record(key), store.folder(key)
    if record is None or folder is None:
        raise UserError(f"{key[:12]} is {store.state(key)}; only a finished run can be scored.")
    mark = {"post_hoc": True} if post_hoc(store, key, chosen_by) else {}
    task, data = record["spec"]["task"], record["data"]["digest"]
    problem = problem_of(task)
    parts = [part for part in record["data"]["rows"] if part.startswith(("test", "target-val"))]
    prepare_again(data, access, record["request"])
    event = {**score(folder, task, data, parts, problem, access), **mark}
    count = store.append_score(key, event)
    return {**event, "count": count}


def scored(store: Store, key: str) -> bool:
    """Whether a run's predictions were ever joined with the test labels."""
    folder = store.folder(key)
    return folder is not None and bool(latest(folder))


def score_missing(store: Store, keys: Iterable[str], outcome: Outcome, access: Access, chosen_by: str = "") -> None:
    """Score the runs among `keys` that have no score yet, or had one only as somebody else's late look."""
    for key in keys:
        folder = store.folder(key)
        event = latest(folder) if folder is not None else {}
        if folder is not None and (not event or (event.get("post_hoc") and _holds(store, chosen_by, key))):
            try:
                rescore(store, key, access, chosen_by)
            except UserError as error:
                outcome.refused[key] = str(error)


def study_of(store: Store, key: str) -> str | None:
    """The search that made a run as one of its trials, or has asked for it."""
    return store.request(key).get("study") if key in store else None


def post_hoc(store: Store, key: str, chosen_by: str | None = None) -> bool:
    """Whether a test score of this run comes after a search has chosen another; UserError while it has not chosen."""
    name = study_of(store, key)
    if not name or any(_holds(store, one, key) for one in ([chosen_by] if chosen_by else store.studies.names())):
        return False
    if store.studies.selection(name) is None:
        raise UserError(
            f"{key[:12]} is a trial of {name}, which has not chosen yet; its test labels stay closed until then."
        )
    return True


def _holds(store: Store, name: str, key: str) -> bool:
    """Whether a study has chosen this run, or confirms its choice with it."""
    selection = store.studies.selection(name) if name else None
    return selection is not None and (selection["key"] == key or key in store.studies.confirmed(name))
