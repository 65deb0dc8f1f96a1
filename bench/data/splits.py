"""Which rows are training, validation and test rows.

The test rows never depend on the replicate; how the remaining rows fall to training and validation does. Positions
are counted in the published order of a source split, or in a permuted one when the task declares `shuffle`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.core.streams import generator
from bench.data.labelling import Division, Pool, Portion, Published, Share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BOUND = r"-?\d+(?:\.\d+)?%|-?\d+"
_EXPRESSION = re.compile(rf"^(?P<split>[\w.\-]+)(\[(?P<low>{_BOUND})?:(?P<high>{_BOUND})?\])?$")


@dataclass(frozen=True)
class Slice:
    """A part of a published split: `train[:90%]`; a negative bound counts from the end, as in Python."""

    split: str
    low: str | None
    high: str | None

    @classmethod
    def parse(cls, text: str, where: str) -> Slice:
        """Read `SPLIT` or `SPLIT[a:b]`, bounds in rows or per cent."""
        match = _EXPRESSION.match(text)
        if match is None or not match["split"].strip("."):
            raise UserError(
                f'{where} is {text!r}; expected a published split or a slice of one, such as "train[:90%]".'
            )
        return cls(match["split"], match["low"], match["high"])

    def bounds(self, rows: int) -> tuple[int, int]:
        """First and past-the-last position among `rows`."""
        low, high = _bound(self.low, rows, 0), _bound(self.high, rows, rows)
        return low, max(low, high)


def slices_for_test(splits: Mapping[str, Any]) -> dict[str, Slice]:
    """Test part -> slice; a task with one test set calls it "test", one with several "test-NAME"."""
    declared = splits["test"]
    named = declared if isinstance(declared, dict) else {"": declared}
    return {
        f"test-{name}" if name else "test": Slice.parse(text, f"splits.test{'.' + name if name else ''}")
        for name, text in named.items()
    }


def slices_for_pool(splits: Mapping[str, Any]) -> dict[str, Slice]:
    """`train` and, where declared, `val`."""
    return {
        name: Slice.parse(splits[name], f"splits.{name}") for name in ("train", "val") if splits.get(name) is not None
    }


def source_splits(splits: Mapping[str, Any]) -> list[str]:
    """The published splits a task reads."""
    slices = [*slices_for_pool(splits).values(), *slices_for_test(splits).values()]
    return sorted({part.split for part in slices})


def twin_splits(splits: Mapping[str, Any]) -> dict[str, Any]:
    """The splits of a twin: as declared, but slices of one split that are counted in rows become quarters of it."""
    pool = slices_for_pool(splits)
    bounds = [bound for part in pool.values() for bound in (part.low, part.high)]
    in_rows = any(bound is not None and not bound.endswith("%") for bound in bounds)
    if not in_rows or len(pool) < 2 or pool["train"].split != pool["val"].split:
        return dict(splits)
    name = pool["train"].split
    return {**splits, "train": f"{name}[25%:]", "val": f"{name}[:25%]"}


def divide(
    task: Mapping[str, Any],
    published: Mapping[str, Published],
    strata: Callable[[NDArray[Any]], NDArray[np.int64]],
) -> Division:
    """Test rows and pools as `splits` declares them; a test part whose split a mirror lacks is left out."""
    import numpy as np

    declared, name = task["splits"], task["name"]
    shuffle = declared.get("shuffle") or "none"
    where_tested, pooled = slices_for_test(declared), {one.split for one in slices_for_pool(declared).values()}
    missing = [part for part, where in where_tested.items() if where.split not in published]
    if len(missing) == len(where_tested):
        pooled.add(where_tested[missing[0]].split)
    for split in sorted(pooled - set(published)):
        raise lacking(task, split)
    orders = {
        split: permuted(shuffle, strata(found.labels), ("split", name, split, None))
        for split, found in published.items()
    }
    taken = positions_for_test(name, declared, {split: len(found) for split, found in published.items()})
    tests = {}
    for part, where in where_tested.items():
        if part not in missing:
            low, high = where.bounds(len(published[where.split]))
            tests[part] = Share(where.split, np.sort(orders[where.split][low:high]))  # kept in published order
    pools = {}
    for split in sorted(pooled):
        positions = np.flatnonzero(~taken[split])
        pools[split] = pool(published[split], orders[split][positions], positions, strata)
    return Division(tests, pools, missing)


def lacking(task: Mapping[str, Any], split: str) -> UserError:
    """The sentence for a mirror that does not hold what a task cannot do without."""
    declared = task["source"]
    title = str(declared.get("hub") or declared.get("url") or declared.get("folder") or "its source")
    return UserError(f"{task['name']}: the mirror has no split {split!r} of {title}, which the task needs.")


def pool(
    published: Published,
    rows: NDArray[np.int64],
    positions: NDArray[np.int64],
    strata: Callable[[NDArray[Any]], NDArray[np.int64]],
) -> Pool:
    """The pool of these rows of a published split."""
    labels = published.labels[rows]
    groups = None if published.groups is None else published.groups[rows]
    subgroups = None if published.subgroups is None else published.subgroups[rows]
    return Pool(len(published), rows, positions, labels, strata(labels), groups, subgroups)


def positions_for_test(task: str, splits: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, NDArray[np.bool_]]:
    """For each published split, which positions are test rows. Refuses rows that are in training or validation too."""
    import numpy as np

    taken: dict[str, NDArray[np.bool_]] = {name: np.zeros(size, dtype=bool) for name, size in sizes.items()}
    for part in slices_for_test(splits).values():
        if part.split in taken:
            low, high = part.bounds(sizes[part.split])
            taken[part.split][low:high] = True
    seen: dict[str, NDArray[np.bool_]] = {name: np.zeros(size, dtype=bool) for name, size in sizes.items()}
    for name, part in slices_for_pool(splits).items():
        low, high = part.bounds(sizes[part.split])
        if low == high:
            raise UserError(f"{task}: splits.{name} leaves no rows of {part.split!r}, which has {sizes[part.split]}.")
        if taken[part.split][low:high].any():
            shared = int(taken[part.split][low:high].sum())
            raise UserError(
                f"{task}: splits.{name} and splits.test share {shared} rows of {part.split!r}; a selection made on "
                f"test rows is worth nothing, so take {name} from rows that are not tested on."
            )
        if seen[part.split][low:high].any():
            raise UserError(f"{task}: splits.train and splits.val share rows of {part.split!r}.")
        seen[part.split][low:high] = True
    return taken


def portions(task: Mapping[str, Any], pools: Mapping[str, Pool], replicate: int) -> dict[str, Portion]:
    """`train` and `val` as `splits` declares them, as they fall for one replicate."""
    declared = task["splits"]
    found: dict[str, Portion] = {}
    for name, part in slices_for_pool(declared).items():
        pool = pools[part.split]
        shuffle = declared.get("shuffle") or ("random" if declared.get("shots") else "none")
        order = permuted(shuffle, pool.strata, ("split", task["name"], part.split, replicate))
        low, high = part.bounds(pool.size)
        places = order[(pool.positions >= low) & (pool.positions < high)]
        if declared.get("shots"):
            places = _first_of_each(places, pool.strata, int(declared["shots"]))
        found[name] = Portion(part.split, places)
    return found


def _first_of_each(places: NDArray[np.int64], strata: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The first `count` places of each stratum, in their order."""
    import numpy as np

    kept = np.zeros(len(places), dtype=bool)
    for stratum in np.unique(strata):
        kept[np.flatnonzero(strata[places] == stratum)[:count]] = True
    return places[kept]


def permuted(shuffle: str, strata: NDArray[np.int64], stream: tuple[str, str, str, int | None]) -> NDArray[np.int64]:
    """Row numbers in their order. `stratified`: every slice holds each stratum in its share, as nearly as can be."""
    import numpy as np

    count = len(strata)
    if shuffle == "none":
        return np.arange(count)
    drawn = generator(*stream)
    order = drawn.permutation(count)
    if shuffle == "random":
        return order
    rank = np.empty(count)
    for stratum in np.unique(strata):
        members = order[strata[order] == stratum]
        rank[members] = (np.arange(len(members)) + drawn.random()) / len(members)
    return np.argsort(rank, kind="stable")


def _bound(text: str | None, rows: int, default: int) -> int:
    if text is None:
        return default
    place = round(rows * float(text[:-1]) / 100) if text.endswith("%") else int(text)
    return min(rows, max(0, rows + place if text.startswith("-") else place))
