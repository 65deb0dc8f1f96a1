"""Preparation: training data, validation data, test inputs and test labels, written apart.

What a run may read lies in one folder of the cache (`prepared/`), the test labels in another (`sealed/`), which no
object of a run names. Both are written once per data digest and shared by every method and replicate.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.core.files import read_json, write_json
from bench.core.streams import generator
from bench.data import splits as splitting
from bench.data.access import Access
from bench.data.modalities import Inputs, modality
from bench.data.sources import Rows, source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.data.labelling import Labelling

FORMAT = 1  # raise when the files written here change meaning
TWIN_ROWS = 48


@dataclass(frozen=True)
class Part:
    """One part of a task for one replicate: inputs, the labels unless it is a test part, row numbers."""

    name: str
    inputs: Inputs
    rows: NDArray[np.int64]  # of `inputs`
    ids: NDArray[np.int64]  # row numbers in the published split, parallel to `rows`
    labels: NDArray[Any] | None  # parallel to `rows`

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> NDArray[np.int64]:
        """A size per row, for bucketing."""
        return self.inputs.lengths()[self.rows]


@dataclass(frozen=True)
class Prepared:
    """A task's data as a run may see it. Holds no path to the test labels."""

    folder: Path
    task: Mapping[str, Any]

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Sizes, parts that the source lacks, and counts of equal contents."""
        found: dict[str, Any] = read_json(self.folder / "meta.json")
        return found

    def tests(self) -> list[Part]:
        """The test parts, without labels; the same for every replicate."""
        import numpy as np

        parts = []
        for name in self.meta["tests"]:
            inputs = self._open(name)
            ids = np.load(self.folder / name / "ids.npy")
            parts.append(Part(name, inputs, np.arange(len(ids)), ids, None))
        return parts

    def pool(self, replicate: int) -> dict[str, Part]:
        """`train` and, where the task has one, `val`, as they fall for one replicate."""
        import numpy as np

        pools = {name: self._pool(name) for name in self.meta["pools"]}
        chosen = splitting.pool_rows(self.task["name"], self.task["splits"], replicate, pools)
        parts = {}
        for part, by_split in chosen.items():
            ((split, rows),) = by_split.items()
            folder = self.folder / f"pool-{split}"
            ids, labels = np.load(folder / "ids.npy")[rows], np.load(folder / "labels.npy")[rows]
            parts[part] = Part(part, self._open(f"pool-{split}"), rows, ids, labels)
        return parts

    def _pool(self, split: str) -> splitting.Pool:
        import numpy as np

        folder = self.folder / f"pool-{split}"
        size = self.meta["pools"][split]["size"]
        return splitting.Pool(size, np.load(folder / "positions.npy"), np.load(folder / "strata.npy"))

    def _open(self, name: str) -> Inputs:
        return modality(self.task["problem"].partition("-")[0]).open(self.folder / name)


def data_digest(task: Mapping[str, Any], fingerprint: Mapping[str, Any], code: Mapping[str, str]) -> str:
    """What the prepared files depend on: the data, how it is read and split, the generator's code."""
    keys = ("name", "problem", "inputs", "label", "splits", "image", "classes", "range")
    read = {key: task[key] for key in keys if key in task}
    return digest({"format": FORMAT, "data": dict(fingerprint), "task": read, "code": dict(code)})


def prepare(
    task: Mapping[str, Any], name: str, labelling: Labelling, home: Path, access: Access, twin: bool = False
) -> Prepared:
    """The prepared data called `name` (a `data_digest`), read from the source when it is not in the cache yet."""
    prepared = Prepared(access.cache / "prepared" / name, task)
    sealed = access.cache / "sealed" / name
    if (prepared.folder / "meta.json").exists() and (sealed / "meta.json").exists():
        return prepared
    rows, missing = _read(task, labelling, home, access, twin)
    with tempfile.TemporaryDirectory(dir=access.writable_cache("prepared"), prefix=".making-") as made:
        _write(task, labelling, rows, missing, Path(made) / "open", Path(made) / "sealed")
        access.writable_cache("sealed")
        _place(Path(made) / "sealed", sealed)
        _place(Path(made) / "open", prepared.folder)
    return prepared


def unseal(name: str, part: str, access: Access) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Row ids and labels of a test part. Only `bench.score` may call this, after a selection is written."""
    import numpy as np

    folder = access.cache / "sealed" / name
    try:
        return np.load(folder / f"{part}.ids.npy"), np.load(folder / f"{part}.labels.npy")
    except OSError:
        raise UserError(
            f"The test labels of this run's data ({name[:12]}) are not in the cache; `bench score` prepares the data "
            "again when the task's source can be reached."
        ) from None


def _read(
    task: Mapping[str, Any], labelling: Labelling, home: Path, access: Access, twin: bool
) -> tuple[dict[str, Rows], list[str]]:
    """Published split -> rows, and the test parts that a mirror lacks."""
    wanted = splitting.source_splits(task["splits"])
    if twin:
        return {split: _twin(task, labelling, split) for split in wanted}, []
    opened = source(task["source"], home, access)
    found = {split: opened.load(split) for split in wanted}
    tests = splitting.slices_for_test(task["splits"])
    missing = [part for part, where in tests.items() if found[where.split] is None]
    needed = {where.split for where in splitting.slices_for_pool(task["splits"]).values()}
    absent = [split for split in needed if found[split] is None]
    if absent or len(missing) == len(tests):
        lacking = (absent or [tests[missing[0]].split])[0]
        raise UserError(f"{task['name']}: the mirror has no split {lacking!r} of {_title(task)}, which the task needs.")
    return {split: rows for split, rows in found.items() if rows is not None}, missing


def _title(task: Mapping[str, Any]) -> str:
    declared = task["source"]
    return str(declared.get("hub") or declared.get("url") or declared.get("folder") or "its source")


def _twin(task: Mapping[str, Any], labelling: Labelling, split: str) -> Rows:
    drawn = generator("twin", task["name"], split)
    labels, scaled = labelling.twin(int((task.get("twin") or {}).get("rows") or TWIN_ROWS), drawn)
    rows = modality(task["problem"].partition("-")[0]).twin(task, scaled, drawn)
    return Rows({**rows.columns, task["label"]: labels})


def _write(
    task: Mapping[str, Any],
    labelling: Labelling,
    rows: Mapping[str, Rows],
    missing: list[str],
    folder: Path,
    vault: Path,
) -> None:
    import numpy as np

    vault.mkdir(parents=True)
    kept = modality(task["problem"].partition("-")[0])
    shuffle = task["splits"].get("shuffle") or "none"
    labels = {split: _labels(task, labelling, part) for split, part in rows.items()}
    orders = {
        split: splitting.base_order(task["name"], split, shuffle, labelling.strata(found))
        for split, found in labels.items()
    }
    taken = splitting.positions_for_test(
        task["name"], task["splits"], {split: len(part) for split, part in rows.items()}
    )
    meta: dict[str, Any] = {"tests": {}, "pools": {}, "missing": missing}
    for part, where in splitting.slices_for_test(task["splits"]).items():
        if part in missing:
            continue
        low, high = where.bounds(len(rows[where.split]))
        chosen = np.sort(orders[where.split][low:high])  # kept in published order
        _inputs(kept, rows[where.split], task, chosen, folder / part)
        np.save(vault / f"{part}.ids.npy", chosen)
        np.save(vault / f"{part}.labels.npy", labels[where.split][chosen])
        meta["tests"][part] = {"split": where.split, "rows": len(chosen)}
    for split in {where.split for where in splitting.slices_for_pool(task["splits"]).values()}:
        positions = np.flatnonzero(~taken[split])
        chosen = orders[split][positions]
        found = labels[split][chosen]
        _inputs(kept, rows[split], task, chosen, folder / f"pool-{split}")
        np.save(folder / f"pool-{split}" / "positions.npy", positions)
        np.save(folder / f"pool-{split}" / "labels.npy", found)
        np.save(folder / f"pool-{split}" / "strata.npy", labelling.strata(found))
        meta["pools"][split] = {"size": len(rows[split]), "rows": len(chosen)}
    _refuse_empty(task, meta)
    write_json(vault / "meta.json", {"format": FORMAT})
    write_json(folder / "meta.json", meta)


def _inputs(kept: Any, rows: Rows, task: Mapping[str, Any], chosen: NDArray[np.int64], folder: Path) -> None:
    import numpy as np

    folder.mkdir(parents=True)
    kept.write(rows, task, chosen, folder)
    np.save(folder / "ids.npy", chosen)
    np.save(folder / "content.npy", kept.open(folder).content())


def _labels(task: Mapping[str, Any], labelling: Labelling, rows: Rows) -> NDArray[Any]:
    if task["label"] not in rows.columns:
        raise UserError(f"{task['name']}: label is {task['label']!r}; the data has {', '.join(rows.columns)}.")
    return labelling.encode(rows.columns[task["label"]])


def _refuse_empty(task: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    empty = [name for kind in ("tests", "pools") for name, part in meta[kind].items() if not part["rows"]]
    if empty:
        raise UserError(f"{task['name']}: splits leaves {empty[0]} without rows.")


def _place(made: Path, target: Path) -> None:
    """Move a finished folder to its place; another process may have been first with the same content."""
    try:
        made.rename(target)
    except OSError:
        if not (target / "meta.json").exists():
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)


def equal_contents(prepared: Prepared, replicate: int) -> dict[str, int]:
    """How many rows of one part have an input equal to some row of another part, by content (`test~train`, ...)."""
    import numpy as np

    hashes: dict[str, NDArray[np.uint64]] = {}
    slices = splitting.slices_for_pool(prepared.task["splits"])
    for name, part in prepared.pool(replicate).items():
        split = slices[name].split
        hashes[name] = np.load(prepared.folder / f"pool-{split}" / "content.npy")[part.rows]
    for name in prepared.meta["tests"]:
        hashes[name] = np.load(prepared.folder / name / "content.npy")
    names = list(hashes)
    pairs = [(later, earlier) for place, later in enumerate(names) for earlier in names[:place]]
    counts = {f"{later}~{earlier}": int(np.isin(hashes[later], hashes[earlier]).sum()) for later, earlier in pairs}
    return {pair: count for pair, count in counts.items() if count}
