"""After a search: its trials as they stand, and their test scores, opened once the choice is sealed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.core.errors import UserError
from bench.data.access import Access
from bench.plan.study import Study
from bench.search.storage import open_study
from bench.search.worker import trials_of
from bench.select.trials import Trial
from bench.store import Store


def known_trials(studies: Sequence[Study], store: Store, storage: str | None) -> dict[str, list[Trial]]:
    """The trials of every study, by its name; UserError for one that was never begun, with those that were."""
    found = {}
    for study in studies:
        selection = store.studies.selection(study.name)
        if selection is not None:
            found[study.name] = [Trial.read(one) for one in selection["trials"]]
        elif study.name in store.studies.names():
            if storage is None and not (store.studies.folder(study.name) / "journal.log").exists():
                raise UserError(f"The trials of {study.label} are kept in a database; give its --storage.")
            kept = open_study(study.name, store.studies.folder(study.name), storage)
            found[study.name] = trials_of(kept, study.trials)
        else:
            raise UserError(_unknown(study, store))
    return found


def score_trials(
    studies: Sequence[Study],
    trials: Mapping[str, Sequence[Trial]],
    store: Store,
    access: Access,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Score every done trial on the test from its stored predictions; UserError for a study that has not chosen.

    Each score is an event in its run's record, post hoc unless the trial was chosen.
    """
    from bench.execute.rescore import rescore, scored
    from bench.store.scores import latest

    for study in studies:
        if store.studies.selection(study.name) is None:
            raise UserError(
                f"{study.label} has not chosen yet; its trials can be scored on the test once its budget is spent."
            )
    rows = []
    for study in studies:
        selection = store.studies.selection(study.name) or {}
        for trial in trials[study.name]:
            if trial.state != "done" or trial.key is None:
                continue
            folder = store.folder(trial.key)
            if folder is None:
                say(f"{study.label}: the run of trial {trial.number} is no longer in the store.")
                continue
            if not scored(store, trial.key):
                rescore(store, trial.key, access)
            event = latest(folder)
            rows.append(
                {
                    "study": study.name,
                    "label": study.label,
                    "number": trial.number,
                    "chosen": trial.key == selection["key"],
                    "post_hoc": bool(event.get("post_hoc")),
                    "value": trial.value,
                    "test": event["values"]["score"],
                    "overrides": list(trial.overrides),
                }
            )
    return rows


def _unknown(study: Study, store: Store) -> str:
    """That a study was never begun, and which others of its method and task were."""
    specs = [store.studies.spec(name) for name in store.studies.names()]
    alike = [one for one in specs if (one["method"], one["task"]) == (study.spec["method"], study.spec["task"])]
    options = ("trials", "sampler", "sampler_seed", "pruner", "seconds", "replicate")
    given = [[f"{key} {one[key]}" for key in options if one[key] not in (None, "none")] for one in alike]
    said = sorted({", ".join(words) for words in given})
    hint = f" There are searches of it with: {'; '.join(said)}." if said else ""
    return f"No search of {study.label} with these options was begun in {store.path}.{hint}"
