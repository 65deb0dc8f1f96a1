"""Generalized category discovery: some classes are known by labelled examples, the others are to be found.

The published training split is both what is learnt from and what is tested on (Vaze et al. Generalized Category
Discovery. 2022. arXiv:2201.02609): of each known class a declared share of rows is labelled; all other rows are
unlabelled and are the test. Classes are numbered anew, known ones first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError, nearest
from bench.core.streams import generator
from bench.data import splits as splitting
from bench.data.labelling import Division, Pool, Portion, Published, Share
from bench.declarations.fields import Field
from bench.problems._base import Classes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_HELD = 0.2  # of the labelled rows of each class that stays known, for validation beside the hidden classes

_TWIN_ROWS = 6  # of each class


class CategoryDiscovery(Classes):
    """Saves `logits` (N, clusters): the place of a row's largest is its cluster.

    `known`: how many of the first classes, or which, are known. `labelled`: the share of their rows with labels.
    `hidden`: so many of the known classes are treated as unknown in training and serve validation (Troisemaine et
    al. A Practical Approach to Novel Class Discovery in Tabular Data. 2023. arXiv:2311.05440); without it there is no
    honest validation and the last checkpoint counts. `number`: whether the number of classes may be used.
    """

    fields: Mapping[str, Field] = {
        **Classes.fields,
        "known": Field(("integer", "list"), required=True, low=1, item=Field(("text", "integer"))),
        "labelled": Field("number", default=0.5, above=0, high=1),
        "hidden": Field("integer", default=0, low=0),
        "number": Field("text", choices=("known", "estimated"), default="known"),
        "splits.test": Field("text", test=lambda value: "left out: the unlabelled rows are the test"),
        "selection": Field("text", choices=("last", "val"), default="last"),
    }
    usual = "simgcd"
    selections = ("last", "val")
    balanced = True
    views = 2

    def __init__(self, task: Mapping[str, Any]) -> None:
        super().__init__(task)
        self._order = self._known_first(task["known"])
        self._hidden = int(task.get("hidden") or 0)
        self.number = str(task.get("number") or "known")
        count = len(self._known)
        if count == len(self.names):
            raise UserError(f"known of {task['name']} names every class; at least one must be left to discover.")
        if self._hidden >= count:
            raise UserError(
                f"hidden of {task['name']} is {self._hidden}; with {count} known classes at most {count - 1}."
            )
        splits = task["splits"]
        if splits.get("val") or splits.get("shots") or (splits.get("shuffle") or "none") != "none":
            raise UserError(f"splits of {task['name']} takes train alone: which rows are labelled is drawn from it.")
        if task["selection"] == "val" and not self._hidden:
            raise UserError(f"{task['name']} selects on val, for which known classes must be hidden: set hidden.")

    def known(self) -> int:
        """The classes that training knows: hidden ones are not among them."""
        return len(self._known) - self._hidden

    def validated(self) -> bool:
        return self._hidden > 0

    def tree(self) -> tuple[int, ...] | None:
        whole = super().tree()
        return None if whole is None else tuple(whole[place] for place in self._order)

    def batch_groups(self) -> int:
        return 2

    def splits(self) -> list[str]:
        return [splitting.slices_for_pool(self.task["splits"])["train"].split]

    def encode(self, labels: Any) -> NDArray[np.int64]:
        """Class numbers with the known classes first, in declared order within each group."""
        import numpy as np

        place = np.empty(len(self._order), dtype=np.int64)
        place[self._order] = np.arange(len(self._order))
        return place[super().encode(labels)]

    def divide(self, published: Mapping[str, Published], fold: str | None) -> Division:
        import numpy as np

        where = splitting.slices_for_pool(self.task["splits"])["train"]
        found = published[where.split]
        low, high = where.bounds(len(found))
        rows = np.arange(low, high)
        labelled = np.zeros(len(rows), dtype=bool)
        drawn = generator("split", self.task["name"], where.split, None)
        for number in range(len(self._known)):
            members = drawn.permutation(np.flatnonzero(found.labels[rows] == number))
            labelled[members[: round(len(members) * float(self.task["labelled"]))]] = True
        pool = splitting.pool(found, rows, rows, self.strata)
        hidden = np.where(labelled, pool.labels, -1)
        tests = {"test": Share(where.split, rows[~labelled])}
        return Division(tests, {where.split: Pool(pool.size, rows, rows, hidden, hidden)})

    def portions(self, pools: Mapping[str, Pool], replicate: int) -> Mapping[str, Portion]:
        """All rows are training rows; those that serve validation are unlabelled there."""
        import numpy as np

        ((split, pool),) = pools.items()
        labels, held = np.asarray(pool.labels), np.zeros(len(pool.rows), dtype=bool)
        if self._hidden:
            held = labels >= self.known()
            drawn = generator("split", self.task["name"], split, "held", replicate)
            for number in range(self.known()):
                members = drawn.permutation(np.flatnonzero(labels == number))
                held[members[: round(_HELD * len(members))]] = True
        seen = np.where(held, -1, labels)
        everything = np.arange(len(labels))
        found = {"train": Portion(split, everything, seen, (seen < 0).astype(np.int64))}
        if self._hidden:
            found["val"] = Portion(split, np.flatnonzero(held))
        return found

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the labelled rows over the number of all rows, which is the same however a step is cut."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs.float(), labels, ignore_index=-1, reduction="sum") / len(labels)

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Mapping[str, Any], NDArray[np.float64]]:
        """Some classes, known and unknown, with several rows each."""
        import numpy as np

        classes = len(self.names)
        chosen = np.unique(
            np.linspace(0, classes - 1, min(classes, max(2, count // _TWIN_ROWS))).round().astype(np.int64)
        )
        labels = chosen[np.arange(count) % len(chosen)]
        return {self.task["label"]: labels}, labels / (classes - 1)

    def _known_first(self, known: int | list[Any]) -> list[int]:
        if isinstance(known, int):
            names = self.names[:known]
        else:
            names = [str(name) for name in known]
            for name in names:
                if name not in self.names:
                    raise UserError(
                        f"known of {self.task['name']} has {name!r}, not in classes.{nearest(name, self.names)}"
                    )
        self._known = set(names)
        order = [place for place, name in enumerate(self.names) if name in self._known]
        order += [place for place, name in enumerate(self.names) if name not in self._known]
        return order


PROBLEM = CategoryDiscovery
