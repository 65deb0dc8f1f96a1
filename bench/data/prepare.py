"""Preparation: inputs, what a run may know of labels, and the test labels, written apart.

The inputs of every published split lie in one folder of the cache (`inputs/`), shared by all tasks and folds that
read them alike; which rows are training and validation rows, with their labels, in another (`prepared/`); the test
labels in a third (`sealed/`), which no object of a run names. Each is written once and shared by every method and
replicate.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.core.files import read_json, write_json
from bench.core.streams import generator
from bench.data import splits as splitting
from bench.data.access import Access
from bench.data.labelling import Pool, Published
from bench.data.modalities import Inputs, modality
from bench.data.sources import Rows, source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.data.labelling import Labelling

FORMAT = 2  # raise when the files written here change meaning
TWIN_ROWS = 48

Step = Callable[[int, int], None]  # rows done, rows in all


@dataclass(frozen=True)
class Wanted:
    """A task's data for one fold, and the digests they are prepared under."""

    task: Mapping[str, Any]
    fold: str | None
    labelling: Labelling
    home: Path  # where "file:function" of the source is looked up
    twin: bool
    inputs: str
    name: str


@dataclass(frozen=True)
class Part:
    """One part of a task for one replicate. Labels, groups and subgroups are parallel to `rows`; tests have none."""

    name: str
    split: str  # the published split it is of
    inputs: Inputs
    rows: NDArray[np.int64]  # of `inputs`: row numbers in the published split
    labels: NDArray[Any] | None = None
    groups: NDArray[np.int64] | None = None  # training batches hold as many rows of each
    subgroups: NDArray[Any] | None = None  # a metric looks at them one by one

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> NDArray[np.int64]:
        """Row numbers in the published split."""
        return self.rows

    def lengths(self) -> NDArray[np.int64]:
        """A size per row, for bucketing."""
        return self.inputs.lengths()[self.rows]


@dataclass(frozen=True)
class Prepared:
    """A task's data for one fold as a run may see it. Holds no path to the test labels."""

    folder: Path
    inputs: Path
    task: Mapping[str, Any]
    labelling: Labelling

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Sizes, and parts that the source lacks."""
        found: dict[str, Any] = read_json(self.folder / "meta.json")
        return found

    def tests(self) -> list[Part]:
        """The test parts, without labels; the same for every replicate."""
        import numpy as np

        return [
            Part(name, found["split"], self._open(found["split"]), np.load(self.folder / f"{name}.rows.npy"))
            for name, found in self.meta["tests"].items()
        ]

    def pool(self, replicate: int) -> dict[str, Part]:
        """`train` and, where the task has one, `val`, as they fall for one replicate."""
        pools = {split: self._pool(split) for split in self.meta["pools"]}
        parts = {}
        for name, portion in self.labelling.portions(pools, replicate).items():
            pool, places = pools[portion.split], portion.places
            parts[name] = Part(
                name,
                portion.split,
                self._open(portion.split),
                pool.rows[places],
                pool.labels[places] if portion.labels is None else portion.labels,
                _at(pool.groups, places) if portion.groups is None else portion.groups,
                _at(pool.subgroups, places),
            )
        return parts

    def contents(self, part: Part) -> NDArray[np.uint64]:
        """A digest of each row's input, to count equal contents."""
        import numpy as np

        found: NDArray[np.uint64] = np.load(self.inputs / part.split / "content.npy")[part.rows]
        return found

    def _pool(self, split: str) -> Pool:
        import numpy as np

        folder = self.folder / f"pool-{split}"
        arrays = {one.name: folder / f"{one.name}.npy" for one in fields(Pool) if one.name != "size"}
        found = {name: np.load(path, mmap_mode="r") for name, path in arrays.items() if path.exists()}
        return Pool(size=self.meta["pools"][split]["size"], **found)

    def _open(self, split: str) -> Inputs:
        return modality(self.task["problem"].partition("-")[0]).open(self.inputs / split)


def inputs_digest(task: Mapping[str, Any], fingerprint: Mapping[str, Any], code: Mapping[str, str], twin: bool) -> str:
    """What the written inputs depend on: the data, how it is read, the code that makes it."""
    kind = task["problem"].partition("-")[0]
    read = {"modality": kind, "inputs": task["inputs"], "kept": modality(kind).kept(task)}
    named = {"task": task["name"], "problem": task["problem"], "classes": task.get("classes")} if twin else {}
    return digest({"format": FORMAT, "data": dict(fingerprint), "code": dict(code), **read, **named})


def data_digest(task: Mapping[str, Any], inputs: str, keys: Mapping[str, Any], fold: str | None) -> str:
    """What the division into parts depends on; `keys` are the task keys that the problem and its modality add."""
    top = {key.partition(".")[0] for key in keys} - {"image", "text", "tabular", "selection"}
    read = {key: task[key] for key in sorted({"name", "problem", "label", "splits", *top}) if key in task}
    return digest({"format": FORMAT, "inputs": inputs, "task": read, "fold": fold})


def prepare(wanted: Wanted, access: Access, step: Step | None = None, reading: Reading | None = None) -> Prepared:
    """The prepared data, read from the source when they are not in the cache yet.

    `step(done, all)` is told of rows as their inputs are written; `reading` is shared by the folds of a task.
    """
    inputs = access.cache / "inputs" / wanted.inputs
    prepared = Prepared(access.cache / "prepared" / wanted.name, inputs, wanted.task, wanted.labelling)
    sealed = access.cache / "sealed" / wanted.name
    there = (prepared.folder / "meta.json").exists() and (sealed / "meta.json").exists()
    if there and all((inputs / split / "content.npy").exists() for split in prepared.meta["splits"]):
        return prepared
    rows = (reading or Reading(access)).rows(wanted)
    _write_inputs(wanted, rows, access, step)
    with tempfile.TemporaryDirectory(dir=access.writable_cache("prepared"), prefix=".making-") as made:
        _write(wanted, rows, Path(made) / "open", Path(made) / "sealed")
        access.writable_cache("sealed")
        _place(Path(made) / "sealed", sealed, "meta.json")
        _place(Path(made) / "open", prepared.folder, "meta.json")
    return prepared


def unseal(name: str, part: str, access: Access) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None]:
    """Row ids, labels and subgroups of a test part. Only scoring may call this, after a selection is written."""
    import numpy as np

    folder = access.cache / "sealed" / name
    subgroups = folder / f"{part}.subgroups.npy"
    try:
        ids, labels = np.load(folder / f"{part}.ids.npy"), np.load(folder / f"{part}.labels.npy", mmap_mode="r")
        return ids, labels, np.load(subgroups) if subgroups.exists() else None
    except OSError:
        raise UserError(
            f"The test labels of this run's data ({name[:12]}) are not in the cache; `bench score` prepares the data "
            "again when the task's source can be reached."
        ) from None


class Reading:
    """Reads sources; keeps what was read last, for the next fold of the same task.

    Test labels are among it, so it is dropped before anything is fitted.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self._inputs, self._rows = "", dict[str, Rows | None]()

    def rows(self, wanted: Wanted) -> dict[str, Rows]:
        """Published split -> rows, without those that a mirror lacks."""
        task, splits = wanted.task, wanted.labelling.splits()
        if wanted.twin:
            return {split: _twin(wanted, split) for split in splits}
        if self._inputs != wanted.inputs or set(splits) - set(self._rows):
            opened = source(task["source"], wanted.home, self.access)
            self._inputs, self._rows = wanted.inputs, {split: opened.load(split) for split in splits}
        rows = {split: one for split in splits if (one := self._rows[split]) is not None}
        if not rows:
            raise splitting.lacking(task, splits[0])
        return rows


def _twin(wanted: Wanted, split: str) -> Rows:
    task, drawn = wanted.task, generator("twin", wanted.task["name"], split)
    columns, scaled = wanted.labelling.twin(int((task.get("twin") or {}).get("rows") or TWIN_ROWS), drawn)
    rows = modality(task["problem"].partition("-")[0]).twin(task, scaled, drawn)
    return Rows({**rows.columns, **columns})


def _write_inputs(wanted: Wanted, rows: Mapping[str, Rows], access: Access, step: Step | None) -> None:
    """Write the inputs of every split that is not there yet, each at once or not at all."""
    import numpy as np

    kept = modality(wanted.task["problem"].partition("-")[0])
    root = access.writable_cache("inputs", wanted.inputs)
    waiting = {split: found for split, found in rows.items() if not (root / split / "content.npy").exists()}
    total, done = sum(len(found) for found in waiting.values()), 0
    for split, found in waiting.items():
        with tempfile.TemporaryDirectory(dir=root, prefix=".making-") as made:
            folder = Path(made) / split
            folder.mkdir()
            before = done
            told = (lambda count, before=before: step(before + count, total)) if step else None
            kept.write(found, wanted.task, np.arange(len(found)), folder, told)
            np.save(folder / "content.npy", kept.open(folder).content())
            _place(folder, root / split, "content.npy")
        done += len(found)


def _write(wanted: Wanted, rows: Mapping[str, Rows], folder: Path, vault: Path) -> None:
    import numpy as np

    task, labelling = wanted.task, wanted.labelling
    published = {split: _published(task, labelling, found) for split, found in rows.items()}
    division = labelling.divide(published, wanted.fold)
    folder.mkdir(parents=True)
    vault.mkdir(parents=True)
    meta: dict[str, Any] = {"tests": {}, "pools": {}, "missing": list(division.missing), "splits": sorted(rows)}
    for part, share in division.tests.items():
        np.save(folder / f"{part}.rows.npy", share.rows)
        np.save(vault / f"{part}.ids.npy", share.rows)
        np.save(vault / f"{part}.labels.npy", published[share.split].labels[share.rows])
        if (subgroups := published[share.split].subgroups) is not None:
            np.save(vault / f"{part}.subgroups.npy", subgroups[share.rows])
        meta["tests"][part] = {"split": share.split, "rows": len(share.rows)}
    for split, pool in division.pools.items():
        (folder / f"pool-{split}").mkdir()
        for one in fields(Pool):
            if one.name != "size" and (array := getattr(pool, one.name)) is not None:
                np.save(folder / f"pool-{split}" / f"{one.name}.npy", array)
        meta["pools"][split] = {"size": pool.size, "rows": len(pool.rows)}
    _refuse_empty(task, meta)
    write_json(vault / "meta.json", {"format": FORMAT})
    write_json(folder / "meta.json", meta)


def _published(task: Mapping[str, Any], labelling: Labelling, rows: Rows) -> Published:
    if task["label"] not in rows.columns:
        raise UserError(f"{task['name']}: label is {task['label']!r}; the data has {', '.join(rows.columns)}.")
    return Published(labelling.encode(rows.columns[task["label"]]), **labelling.marks(rows.columns))


def _refuse_empty(task: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    empty = [name for kind in ("tests", "pools") for name, part in meta[kind].items() if not part["rows"]]
    if empty:
        raise UserError(f"{task['name']}: splits leaves {empty[0]} without rows.")


def _place(made: Path, target: Path, mark: str) -> None:
    """Move a finished folder to its place; another process may have been first with the same content."""
    try:
        made.rename(target)
    except OSError:
        if not (target / mark).exists():
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)


def _at(array: NDArray[Any] | None, places: NDArray[np.int64]) -> NDArray[Any] | None:
    return None if array is None else array[places]


def equal_contents(prepared: Prepared, replicate: int) -> dict[str, int]:
    """How many rows of one part have an input equal to some other row of another part (`test~train`, ...).

    A row that is in both parts, as in transductive tasks, is not compared with itself.
    """
    import numpy as np

    parts = [*prepared.pool(replicate).values(), *prepared.tests()]
    hashes = {part.name: prepared.contents(part) for part in parts}
    counts = {}
    for place, later in enumerate(parts):
        for earlier in parts[:place]:
            own = np.zeros(len(later), dtype=bool)
            if later.split == earlier.split:
                own = np.isin(later.rows, earlier.rows)
            found = np.isin(hashes[later.name][~own], hashes[earlier.name])
            counts[f"{later.name}~{earlier.name}"] = int(found.sum())
    return {pair: count for pair, count in counts.items() if count}
