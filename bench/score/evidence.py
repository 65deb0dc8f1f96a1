"""Per-item evidence of a scored run: what each test row adds to its score. It looks at sealed labels, like scoring."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.prepare import unseal
from bench.metrics import metric, metric_names
from bench.metrics._items import items
from bench.predictions import load
from bench.problems import problem_of
from bench.select import read as read_selection

if TYPE_CHECKING:
    from numpy.typing import NDArray


def per_item(
    folder: Path, task: Mapping[str, Any], data: Mapping[str, Any], access: Access, request: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """The score of each row of each test part, float64, at the selected checkpoint; {} where some metric is no mean.

    `data` is a record's: the digest its labels lie under, its parts. Parts that only a rule looks at are left out.
    """
    problem = problem_of(task)
    chosen = str(read_selection(folder)["candidate"])
    prepare_again(data["digest"], access, request)
    made = {}
    for part in (name for name in data["rows"] if name.partition("-")[0] == "test"):
        ids, labels, subgroups = unseal(data["digest"], part, access)
        predictions = load(folder, chosen, part)
        found = predictions.pop("ids")
        if len(found) != len(ids) or (found != ids).any():
            raise UserError(f"The predictions in {folder} for {part} are not of the task's test rows.")
        values = []
        for name in metric_names(task):
            each = items(name, predictions, problem.truth(labels, subgroups))
            if each is None:
                return {}
            values.append(each if metric(name).higher else -each)
        made[part] = sum(values[1:], start=values[0]) / len(values)
    return made


def prepare_again(digest: str, access: Access, request: Mapping[str, Any]) -> None:
    """Prepare the data of a run again where the cache no longer holds them."""
    if (access.cache / "sealed" / digest / "meta.json").exists():
        return
    from bench.data.prepare import prepare
    from bench.declarations.catalog import Catalog
    from bench.plan.grid import again, wanted_data

    run = again(request, Catalog.find(), access)
    if run.data != digest:
        raise UserError(f"The data of {request['task']} are not in the cache, and the task's data changed since.")
    prepare(wanted_data(run), access)
