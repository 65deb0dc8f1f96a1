"""Running one row of a board again, from its record alone, and saying by how much it differs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.boards.records import Record
from bench.core.errors import UserError
from bench.data.access import Access
from bench.plan.grid import again
from bench.plan.run import Run
from bench.plan.why import differences
from bench.store import Store

if TYPE_CHECKING:
    from bench.execute.options import Options
    from bench.execute.progress import Progress


@dataclass(frozen=True)
class Reproduced:
    """The metrics as recorded and as found now; `changed` names the inputs of the key that are others today."""

    recorded: dict[str, float]
    found: dict[str, float]
    changed: list[str]


def planned(record: Record, access: Access) -> tuple[Run, list[str]]:
    """The run that a record's request means today, and the inputs of its key that have changed since."""
    from bench.declarations.catalog import Catalog

    request = {**record["request"], "overrides": record["typed"], "fold": record["fold"]}
    run = again({**request, "replicate": record["replicate"]}, Catalog.find(), access)
    return run, [name for name, _, _ in differences(record["spec"], run.spec)]


def reproduce(record: Record, access: Access, options: Options, progress: Progress, anyway: bool = False) -> Reproduced:
    """Execute the run of a record in a store of its own. UserError when its key is another today, unless `anyway`."""
    from bench.execute.grid import run_all

    run, changed = planned(record, access)
    if changed and not anyway:
        raise UserError(
            f"{record['key'][:12]} would be another run today: {', '.join(changed[:5])} changed. "
            "Go back to its commit, or give --anyway."
        )
    with tempfile.TemporaryDirectory(prefix="bench-reproduce-") as folder:
        store = Store.open(Path(folder) / "store")
        outcome = run_all([run], store, access, options, progress)
        if outcome.refused or outcome.failed:
            raise UserError(f"{run.label} fails now: {next(iter({**outcome.refused, **outcome.failed}.values()))}")
        if outcome.interrupted:
            raise UserError("Stopped; nothing was kept.")
        (row,) = store.rows()
    return Reproduced(dict(record["scores"]), dict(row["scores"]), changed)
