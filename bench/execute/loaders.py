"""Batches as a function of the step: batch k depends on the task, the seed and k, never on what came before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from bench.core.errors import UserError
from bench.core.streams import generator, seed
from bench.data.modalities import Modality
from bench.data.prepare import Part
from bench.execute.backbones import Encoder
from bench.execute.batch import Batch, Rows
from bench.execute.phases import Span
from bench.problems import Problem

_BUCKET = 32  # batches whose rows are sorted by length together
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Draw:
    """Which rows a batch holds, and where in the schedule it stands."""

    step: int
    epoch: int
    rows: tuple[int, ...]  # of the part
    augmentation: tuple[int | str, ...]  # coordinates that no row meets twice
    others: Mapping[str, Draw] = field(default_factory=dict)  # of the phase's other portions


class Schedule(Protocol):
    """The order of training batches for a (task, seed)."""

    per_epoch: int  # steps

    def rows(self, step: int) -> NDArray[np.int64]:
        """The rows of step `step` (counted from 0)."""
        ...

    def epoch(self, step: int) -> int:
        """A number that no row meets twice: augmentations are drawn anew for each."""
        ...


def schedule(
    part: Part, task: str, number: int, batch_size: int, balanced: bool = False, portion: tuple[str, ...] = ()
) -> Schedule:
    """Batches of `batch_size` rows, or, `balanced`, of so many rows of each group of the part."""
    made = Grouped if balanced else Shuffled
    return made(part, (task, number, *portion), batch_size)


def steps_of(budget: Mapping[str, Any], per_epoch: int) -> int:
    """How many steps a budget is."""
    return int(budget["steps"]) if budget.get("steps") else int(budget["epochs"]) * per_epoch


def divide(part: Part, shares: Mapping[str, float], task: str, number: int) -> dict[str, NDArray[np.int64]]:
    """Places of the part's rows by portion, such a share of them each, drawn within each group; no row is in two.

    UserError where one would be empty.
    """
    groups = np.zeros(len(part), dtype=np.int64) if part.groups is None else np.asarray(part.groups)
    found: dict[str, list[NDArray[np.int64]]] = {name: [] for name in shares}
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        members = generator("split", task, number, "portion", int(group)).permutation(members)
        low, placed = 0, 0.0
        for name, share in shares.items():
            placed += share
            high = round(len(members) * min(placed, 1.0))
            found[name].append(members[low:high])
            low = high
    places = {name: np.sort(np.concatenate(each)) for name, each in found.items()}
    for name, rows in places.items():
        if not len(rows):
            raise UserError(f"{task} has {len(part)} training rows, too few for the portion {name!r} of a phase.")
    return places


class Shuffled:
    """An epoch is a permutation cut into ceil(rows / batch_size) batches whose sizes differ by at most one.

    So every row is seen once and no batch is a tiny rest. Rows of similar length are batched together.
    """

    def __init__(self, part: Part, coordinates: tuple[str | int, ...], batch_size: int) -> None:
        self._coordinates = coordinates
        self._lengths = part.lengths()
        self.per_epoch = max(1, math.ceil(len(part) / batch_size))

    def rows(self, step: int) -> NDArray[np.int64]:
        epoch, place = divmod(step, self.per_epoch)
        batches: list[NDArray[np.int64]] = self._epoch(epoch)
        return batches[place]

    def epoch(self, step: int) -> int:
        return step // self.per_epoch

    @lru_cache(maxsize=2)  # noqa: B019 - a schedule lives as long as its run
    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        drawn = generator("order", *self._coordinates, epoch)
        order = drawn.permutation(len(self._lengths))
        sizes = [len(cut) for cut in np.array_split(order, self.per_epoch)]
        pool = _BUCKET * max(sizes)
        for low in range(0, len(order), pool):
            bucket = order[low : low + pool]
            order[low : low + pool] = bucket[np.argsort(self._lengths[bucket], kind="stable")]
        batches = np.split(order, np.cumsum(sizes)[:-1])
        return [batches[place] for place in drawn.permutation(len(batches))]


class Grouped:
    """Each batch holds `batch_size` rows of every group (fewer of a group that has fewer), its rows interleaved.

    A group is gone through in permutations of its own, whole batches only, as often as the steps ask for. An epoch is
    so many steps as show as many rows as there are.
    """

    def __init__(self, part: Part, coordinates: tuple[str | int, ...], batch_size: int) -> None:
        assert part.groups is not None
        self._coordinates = coordinates
        groups = np.asarray(part.groups)
        self._members = {int(one): np.flatnonzero(groups == one) for one in np.unique(groups)}
        self._sizes = {one: min(batch_size, len(rows)) for one, rows in self._members.items()}
        self.per_epoch = max(1, math.ceil(len(part) / sum(self._sizes.values())))

    def rows(self, step: int) -> NDArray[np.int64]:
        cuts = [self._rows(group, step) for group in self._members]
        place = np.concatenate([np.arange(len(cut)) / len(cut) for cut in cuts])
        return np.concatenate(cuts)[np.argsort(place, kind="stable")]  # so that micro-batches hold all groups

    def epoch(self, step: int) -> int:
        return step

    def _rows(self, group: int, step: int) -> NDArray[np.int64]:
        size = self._sizes[group]
        epoch, place = divmod(step, len(self._members[group]) // size)
        return self._permuted(group, epoch)[place * size : (place + 1) * size]

    @lru_cache(maxsize=256)  # noqa: B019 - a schedule lives as long as its run
    def _permuted(self, group: int, epoch: int) -> NDArray[np.int64]:
        drawn = generator("order", *self._coordinates, group, epoch)
        return drawn.permutation(self._members[group])


class Portion:
    """A schedule over some of a part's rows, counted from the first step of its phase."""

    def __init__(self, part: Part, places: NDArray[np.int64], order: Schedule, start: int, name: str) -> None:
        self.part, self._places, self._order, self._start, self.name = part, places, order, start, name
        self.per_epoch = order.per_epoch

    def draw(self, step: int) -> Draw:
        local = step - self._start
        rows = self._places[self._order.rows(local)]
        return Draw(step, self._order.epoch(local), tuple(map(int, rows)), (self.name, step))


class Order:
    """The batches of a whole run: of each phase its own rows."""

    def __init__(
        self, part: Part, task: str, number: int, batch_size: int, balanced: bool, found: Sequence[Span] = ()
    ) -> None:
        self.whole = schedule(part, task, number, batch_size, balanced)
        self._spans = [span for span in found if span.steps]
        self._portions: dict[str, list[Portion]] = {}
        for span in self._spans:
            if span.phase.rows:
                places = divide(part, span.phase.rows, task, number)
                self._portions[span.phase.name] = [
                    _portion(part, rows, task, number, batch_size, balanced, span, name)
                    for name, rows in places.items()
                ]

    def draw(self, step: int) -> Draw:
        """What the loader is to make for a step."""
        span = next((span for span in self._spans if span.start <= step < span.stop), None)
        portions = self._portions.get(span.phase.name) if span is not None else None
        if portions is None:
            epoch = self.whole.epoch(step)
            return Draw(step, epoch, tuple(map(int, self.whole.rows(step))), (epoch,))
        first, *rest = portions
        return replace(first.draw(step), others={portion.name: portion.draw(step) for portion in rest})


def _portion(
    part: Part,
    places: NDArray[np.int64],
    task: str,
    number: int,
    batch_size: int,
    balanced: bool,
    span: Span,
    name: str,
) -> Portion:
    some = replace(part, rows=part.rows[places], groups=None if part.groups is None else part.groups[places])
    order = schedule(some, task, number, batch_size, balanced, (span.phase.name, name))
    return Portion(some, places, order, span.start, name)


class _Steps:
    """The sampler of a training loader: one Draw for each step, from `start` on."""

    def __init__(self, order: Order, steps: int, start: int) -> None:
        self._order, self._steps, self._start = order, steps, start

    def __len__(self) -> int:
        return self._steps - self._start

    def __iter__(self) -> Iterator[Draw]:
        for step in range(self._start, self._steps):
            yield self._order.draw(step)


class _Training(Dataset[Batch]):
    """Encoded training batches. An augmentation is seeded by (task, seed, epoch, row), and the view's number."""

    def __init__(
        self, part: Part, modality: Modality, encoder: Encoder, task: Mapping[str, Any], number: int, problem: Problem
    ) -> None:
        self._part, self._modality, self._encoder = part, modality, encoder
        self._task, self._number, self._problem = task, number, problem
        self._domains = problem.domains_of(part.groups, len(part))

    def __getitem__(self, draw: Draw) -> Batch:
        places = np.array(draw.rows, dtype=np.int64)
        part = self._part
        assert part.labels is not None
        raw = part.inputs.take(part.rows[places])
        labels, views = part.labels[places], []
        for view in range(self._problem.views):
            masks = self._problem.augmented(labels) if view == 0 else None
            changed, masks = self._modality.augment(raw, self._task, self._seeds(draw, places, view), masks)
            views.append(self._encoder(changed))
            if masks is not None:
                labels = masks
        return Batch(
            inputs=views[0],
            ids=_tensor(part.rows[places]),
            labels=_tensor(labels),
            domains=_tensor(self._domains[places]),
            views=tuple(views) if len(views) > 1 else (),
            others={name: self[other] for name, other in draw.others.items()},
            step=draw.step,
            epoch=draw.epoch,
        )

    def _seeds(self, draw: Draw, places: NDArray[np.int64], view: int) -> list[int]:
        coordinates = (*draw.augmentation, view) if view else draw.augmentation
        name = self._task["name"]
        return [seed("augmentation", name, self._number, *coordinates, int(row)) for row in self._part.rows[places]]


def training_loader(
    part: Part,
    modality: Modality,
    encoder: Encoder,
    task: Mapping[str, Any],
    number: int,
    problem: Problem,
    order: Order,
    steps: int,
    start: int = 0,
    workers: int = 0,
) -> DataLoader[Batch]:
    """The training batches of steps `start` to `steps`; `number` is the seed's."""
    dataset = _Training(part, modality, encoder, task, number, problem)
    # A sampler of Draws without a batch sampler: the dataset itself makes whole batches.
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=_Steps(order, steps, start),  # type: ignore[arg-type]
        num_workers=workers,
        persistent_workers=False,
        pin_memory=torch.cuda.is_available(),
    )


def evaluation_batches(part: Part, encoder: Encoder) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """(places in the part, rows without labels) over all of it, sorted by length."""
    order = np.argsort(part.lengths(), kind="stable")
    for low in range(0, len(order), EVALUATION_BATCH):
        places = order[low : low + EVALUATION_BATCH]
        yield places, Rows(encoder(part.inputs.take(part.rows[places])), _tensor(part.rows[places]))


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
