"""What most problems have in common: rows are divided by slices of published splits, and a task is one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError, nearest
from bench.data import splits as splitting
from bench.data.labelling import Division, Pool, Portion, Published
from bench.declarations.fields import Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from bench.metrics import Truth


class Base:
    """The defaults of the problem contract; `encode`, `loss`, `decode` and `twin` are each problem's own."""

    fields: Mapping[str, Field] = {}
    usual = "full"  # the method a task of the kind is checked with
    saves: str  # the array that `decode` gives and that its metrics read
    selections: Sequence[str] = ("val", "last")  # the rules that may choose, the usual one first
    afterwards = False  # whether a rule chooses among finished runs, so that it is no part of a run
    balanced = False  # whether a training batch holds `batch_size` rows of each group
    views = 1  # how often the inputs of a training batch are augmented

    def __init__(self, task: Mapping[str, Any]) -> None:
        self.task = task

    def outputs(self) -> int:
        """How many numbers the head gives per example."""
        raise NotImplementedError

    def classes(self) -> int | None:
        """How many classes there are, None where there are none."""
        return None

    def known(self) -> int | None:
        """How many of the classes have labels in training; None where that is no question."""
        return None

    def validated(self) -> bool:
        """Whether there are validation rows."""
        return self.task["splits"].get("val") is not None

    def tree(self) -> tuple[int, ...] | None:
        """The coarse class of each class, where the task groups its classes."""
        return None

    def domains_of(self, groups: NDArray[Any] | None, rows: int) -> NDArray[np.int64]:
        """The domain of each training row, from 0 without gaps; 0 where the task has none."""
        import numpy as np

        return np.zeros(rows, dtype=np.int64)

    def batch_groups(self) -> int:
        """How many groups a training batch holds `batch_size` rows of."""
        return 1

    def row_bytes(self) -> int:
        """How much is saved of one row's prediction."""
        return 8 + 4 * self.outputs()

    def folds(self) -> list[str]:
        """The folds a task stands for; none where it is one run."""
        return []

    def extra_folds(self, rule: str) -> list[str]:
        """Folds that a selection rule needs beside those that are reported."""
        return []

    def splits(self) -> list[str]:
        """The published splits it reads."""
        return splitting.source_splits(self.task["splits"])

    def encode(self, labels: Any) -> NDArray[Any]:
        raise NotImplementedError

    def strata(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """A group per row, for stratified splits."""
        import numpy as np

        return np.zeros(len(labels), dtype=np.int64)

    def marks(self, columns: Mapping[str, Any]) -> Mapping[str, NDArray[Any]]:
        """`groups` and `subgroups` of a published split's rows, where the problem has any."""
        return {}

    def divide(self, published: Mapping[str, Published], fold: str | None) -> Division:
        """Which rows are test rows, and which a run may learn and select from."""
        return splitting.divide(self.task, published, self.strata)

    def portions(self, pools: Mapping[str, Pool], replicate: int) -> Mapping[str, Portion]:
        """`train` and, where declared, `val`."""
        return splitting.portions(self.task, pools, replicate)

    def truth(self, labels: NDArray[Any], subgroups: NDArray[Any] | None = None) -> Truth:
        """What a metric is told of a part."""
        from bench.metrics import Truth

        return Truth(labels, self.classes(), self.known(), subgroups)

    def augmented(self, labels: NDArray[Any]) -> NDArray[Any] | None:
        """Labels that an augmentation changes with the inputs (masks), None where it leaves them alone."""
        return labels if labels.ndim > 1 else None

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError

    def decode(self, outputs: Tensor) -> dict[str, NDArray[Any]]:
        raise NotImplementedError

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Mapping[str, Any], NDArray[np.float64]]:
        raise NotImplementedError


class Classes(Base):
    """One of the declared `classes` per example; saves `logits` (N, classes) in float32."""

    fields: Mapping[str, Field] = {
        "classes": Field("list", required=True, item=Field(("text", "integer"))),
        "hierarchy": Field("mapping", values=Field("list", item=Field(("text", "integer")))),
    }
    saves = "logits"

    def __init__(self, task: Mapping[str, Any]) -> None:
        super().__init__(task)
        self.names = [str(name) for name in task["classes"]]
        if len(self.names) < 2 or len(set(self.names)) != len(self.names):
            raise UserError(f"classes of {task['name']} must be at least two different names.")
        self._tree = _coarse(task["name"], self.names, task.get("hierarchy"))

    def tree(self) -> tuple[int, ...] | None:
        return self._tree

    def outputs(self) -> int:
        return len(self.names)

    def classes(self) -> int | None:
        return len(self.names)

    def encode(self, labels: Any) -> NDArray[np.int64]:
        """Class numbers, or class names, as int64 (N,)."""
        import numpy as np

        given = list(labels)
        if given and isinstance(given[0], str):
            return numbers(given, self.names, "class", "classes")
        found = np.asarray(given)
        if len(found) and (found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= len(self.names)):
            raise UserError(
                f"The data's labels run from {found.min()} to {found.max()}; the task declares {len(self.names)} "
                "classes, so they must be whole numbers from 0. Unlabelled rows (-1) cannot be used."
            )
        return found.astype(np.int64)

    def strata(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        import numpy as np

        return labels.astype(np.int64)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs.float(), labels)

    def decode(self, outputs: Tensor) -> dict[str, NDArray[Any]]:
        return {"logits": outputs.float().numpy()}

    def twin(self, count: int, generator: np.random.Generator) -> tuple[Mapping[str, Any], NDArray[np.float64]]:
        """Every class in turn, or as many as there are rows, spread over all of them."""
        import numpy as np

        rows, classes = np.arange(count), len(self.names)
        labels = rows % classes if classes <= count else rows * classes // count
        return {self.task["label"]: labels}, labels / max(1, classes - 1)


def _coarse(task: str, names: Sequence[str], hierarchy: Mapping[str, Sequence[Any]] | None) -> tuple[int, ...] | None:
    """The number of each class's coarse class; UserError where `hierarchy` does not hold every class once."""
    if not hierarchy:
        return None
    found: dict[str, int] = {}
    for number, (coarse, members) in enumerate(hierarchy.items()):
        for name in map(str, members):
            if name not in names:
                raise UserError(f"hierarchy.{coarse} of {task} has {name!r}, not in classes.{nearest(name, names)}")
            if name in found:
                raise UserError(f"hierarchy of {task} has the class {name!r} twice.")
            found[name] = number
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f"hierarchy of {task} leaves out the class {missing[0]!r}.")
    return tuple(found[name] for name in names)


def numbers(given: Sequence[str], names: Sequence[str], what: str, key: str) -> NDArray[np.int64]:
    """The place of each name among the declared ones; UserError for one that is not there."""
    import numpy as np

    places = {name: place for place, name in enumerate(names)}
    unknown = sorted(set(given) - set(places))
    if unknown:
        raise UserError(f"The data has the {what} {unknown[0]!r}, not in {key}.{nearest(unknown[0], places)}")
    return np.array([places[name] for name in given], dtype=np.int64)
