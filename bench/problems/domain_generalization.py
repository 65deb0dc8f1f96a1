"""Domain generalization: classes to be told apart in domains that training never saw.

Without `splits.test` the task stands for one fold per domain (leave one domain out; Gulrajani, Lopez-Paz. In Search of
Lost Domain Generalization. 2021. arXiv:2007.01434): `splits.train` and `splits.val` cut every domain in two; of the
held-out one the larger piece is `test`, the smaller `target-val`, whose labels only the rule `oracle` reads. With
`splits.test` it is one run on official splits (Koh et al. WILDS. 2021. arXiv:2012.07421).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError, nearest
from bench.core.streams import generator
from bench.data import splits as splitting
from bench.data.labelling import Division, Pool, Portion, Published, Share
from bench.declarations.fields import Field
from bench.problems._base import Classes, numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]*")
BETWEEN = "+"  # in the name of a fold that holds out two domains


class DomainGeneralization(Classes):
    """Cross-entropy over rows of all training domains; where the task has folds, a batch holds as many of each."""

    fields: Mapping[str, Field] = {
        **Classes.fields,
        "domain": Field("text", required=True),
        "domains": Field("list", item=Field(("text", "integer"))),
        "group": Field("text"),
        "splits.test": Field(("text", "mapping"), values=Field("text")),
        "selection": Field("text", choices=("val", "leave-one-domain-out", "oracle", "last"), default="val"),
    }
    usual = "erm"
    selections: Sequence[str] = ("val", "leave-one-domain-out", "oracle", "last")

    def __init__(self, task: Mapping[str, Any]) -> None:
        super().__init__(task)
        self._official = task["splits"].get("test") is not None
        self.domains = [str(name) for name in task.get("domains") or []]
        self.balanced = not self._official  # official protocols draw rows alike; some have thousands of domains
        if self._official:
            self.selections = ("val", "last")
            return
        self.afterwards = True
        if len(self.domains) < 2 or len(set(self.domains)) != len(self.domains):
            raise UserError(f"domains of {task['name']} must be at least two different names.")
        for name in self.domains:
            if not _NAME.fullmatch(name):
                raise UserError(f"domains of {task['name']} holds {name!r}; a name has letters, digits, '_', '-', '.'.")
        if task["splits"].get("shots") or task["splits"].get("shuffle") == "stratified":
            raise UserError(f"splits of {task['name']}: domains are cut in order or at random, without shots.")
        slices = splitting.slices_for_pool(task["splits"])
        if "val" not in slices or slices["train"].split != slices["val"].split:
            raise UserError(f"splits of {task['name']}: train and val must cut one published split in two.")

    def batch_groups(self) -> int:
        return len(self.domains) - 1 if self.balanced else 1

    def domains_of(self, groups: NDArray[Any] | None, rows: int) -> NDArray[np.int64]:
        import numpy as np

        assert groups is not None
        return np.unique(groups, return_inverse=True)[1].astype(np.int64)

    def folds(self) -> list[str]:
        """One per held-out domain."""
        return [] if self._official else list(self.domains)

    def extra_folds(self, rule: str) -> list[str]:
        """`leave-one-domain-out` needs a run for each pair of held-out domains."""
        if rule != "leave-one-domain-out" or self._official:
            return []
        return [BETWEEN.join(pair) for pair in combinations(self.domains, 2)]

    def splits(self) -> list[str]:
        if self._official:
            return super().splits()
        return [splitting.slices_for_pool(self.task["splits"])["train"].split]

    def marks(self, columns: Mapping[str, Any]) -> Mapping[str, NDArray[Any]]:
        """The domain of each row, and what a metric looks at one by one (`group`)."""
        import numpy as np

        found = {"groups": self._numbered(_column(self.task, columns, "domain"))}
        if self.task.get("group"):
            found["subgroups"] = np.asarray(list(_column(self.task, columns, "group")))
        return found

    def divide(self, published: Mapping[str, Published], fold: str | None) -> Division:
        import numpy as np

        if self._official:
            return super().divide(published, fold)
        ((split, found),) = published.items()
        assert found.groups is not None
        slices = splitting.slices_for_pool(self.task["splits"])
        for number, domain in enumerate(self.domains):
            self._check_cut(domain, int((found.groups == number).sum()))
        tests, seen = {}, np.ones(len(found), dtype=bool)
        held_out = self._held_out(fold)
        for domain in held_out:
            members = np.flatnonzero(found.groups == self.domains.index(domain))
            order = self._order(members, split, domain, None)
            for part, name in (("test", "train"), ("target-val", "val")):
                low, high = slices[name].bounds(len(members))
                marked = part if len(held_out) == 1 else f"{part}-{domain}"
                tests[marked] = Share(split, np.sort(order[low:high]))
            seen[members] = False
        rows = np.flatnonzero(seen)
        return Division(tests, {split: splitting.pool(found, rows, rows, self.strata)})

    def portions(self, pools: Mapping[str, Pool], replicate: int) -> Mapping[str, Portion]:
        import numpy as np

        if self._official:
            return super().portions(pools, replicate)
        ((split, pool),) = pools.items()
        assert pool.groups is not None
        places: dict[str, list[NDArray[np.int64]]] = {"train": [], "val": []}
        slices = splitting.slices_for_pool(self.task["splits"])
        for number in np.unique(pool.groups):
            members = np.flatnonzero(pool.groups == number)
            order = self._order(members, split, self.domains[int(number)], replicate)
            for name, found in places.items():
                low, high = slices[name].bounds(len(members))
                found.append(order[low:high])
        return {name: Portion(split, np.concatenate(found)) for name, found in places.items()}

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Mapping[str, Any], NDArray[np.float64]]:
        import numpy as np

        columns, scaled = super().twin(count, generator)
        names = self.domains or ["first", "second", "third"]
        made: dict[str, Any] = {**columns, self.task["domain"]: [names[row % len(names)] for row in range(count)]}
        order = generator.permutation(count)  # so that no domain holds some of the classes only
        label = self.task["label"]
        made[label], scaled = np.asarray(made[label])[order], scaled[order]
        if self.task.get("group"):
            made[self.task["group"]] = np.arange(count) // len(names) % 2
        return made, scaled

    def _check_cut(self, domain: str, rows: int) -> None:
        """Both pieces of every domain must have rows, and none in common, whichever domain is held out."""
        slices = splitting.slices_for_pool(self.task["splits"])
        (low, high), (first, last) = (slices[name].bounds(rows) for name in ("train", "val"))
        if low == high or first == last:
            raise UserError(f"{self.task['name']}: splits leaves a piece of the domain {domain!r} ({rows} rows) empty.")
        if max(low, first) < min(high, last):
            raise UserError(f"{self.task['name']}: splits.train and splits.val share rows of the domain {domain!r}.")

    def _order(self, rows: NDArray[np.int64], split: str, domain: str, replicate: int | None) -> NDArray[np.int64]:
        shuffle = self.task["splits"].get("shuffle") or "none"
        if shuffle == "none":
            return rows
        return generator("split", self.task["name"], split, domain, replicate).permutation(rows)

    def _held_out(self, fold: str | None) -> list[str]:
        names = [fold] if fold in self.domains else str(fold).split(BETWEEN)
        for name in names:
            if name not in self.domains:
                raise UserError(
                    f"{self.task['name']} has no fold {fold!r}; it has {', '.join(self.domains)}."
                    f"{nearest(name, self.domains)}"
                )
        return names

    def _numbered(self, column: Any) -> NDArray[np.int64]:
        """Domain names, or numbers, as numbers; without declared `domains` in the order of the sorted names."""
        import numpy as np

        given = list(column)
        if self.domains and given and isinstance(given[0], str):
            return numbers(given, self.domains, "domain", "domains")
        if self.domains:
            found = np.asarray(given)
            if len(found) and found.dtype.kind not in "iu":
                raise UserError(f"{self.task['name']}: domains are names or whole numbers, not {found.dtype}.")
            if all(name.isdigit() for name in self.domains):
                return numbers([str(one) for one in found], self.domains, "domain", "domains")
            found = found.astype(np.int64)
            if len(found) and (found.min() < 0 or found.max() >= len(self.domains)):
                there = f"from {found.min()} to {found.max()}"
                raise UserError(f"The data's domains run {there}; the task declares {len(self.domains)}.")
            return found
        return np.unique(np.asarray(given), return_inverse=True)[1].astype(np.int64)


def _column(task: Mapping[str, Any], columns: Mapping[str, Any], key: str) -> Any:
    if task[key] not in columns:
        raise UserError(f"{task['name']}: {key} is {task[key]!r}; the data has {', '.join(columns)}.")
    return columns[task[key]]


PROBLEM = DomainGeneralization
