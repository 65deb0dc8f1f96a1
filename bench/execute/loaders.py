"""Batches as a function of the step: batch k depends on the task, the replicate and k, never on what came before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from bench.core.streams import generator, seed
from bench.data.modalities import Modality
from bench.data.prepare import Part
from bench.execute.backbones import Encoder
from bench.problems import Problem

Batch = dict[str, Any]  # inputs, ids; in training also labels, groups, views, share and draw (step, first row)

_BUCKET = 32  # batches whose rows are sorted by length together
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Draw:
    """Which rows a (micro-)batch holds, and where in the schedule it stands."""

    step: int
    epoch: int
    rows: tuple[int, ...]  # of the part
    share: float  # this micro-batch's weight in its step: rows / rows of the step


class Schedule(Protocol):
    """The order of training batches for a (task, replicate)."""

    per_epoch: int  # steps

    def rows(self, step: int) -> NDArray[np.int64]:
        """The rows of optimizer step `step` (counted from 0)."""
        ...

    def epoch(self, step: int) -> int:
        """A number that no row meets twice: augmentations are drawn anew for each."""
        ...


def schedule(part: Part, task: str, replicate: int, batch_size: int, balanced: bool = False) -> Schedule:
    """Batches of `batch_size` rows, or, `balanced`, of so many rows of each group of the part."""
    made = Grouped if balanced else Shuffled
    return made(part, task, replicate, batch_size)


def steps_of(budget: Mapping[str, Any], per_epoch: int) -> int:
    """How many optimizer steps a budget is."""
    return int(budget["steps"]) if budget.get("steps") else int(budget["epochs"]) * per_epoch


class Shuffled:
    """An epoch is a permutation cut into ceil(rows / batch_size) batches whose sizes differ by at most one.

    So every row is seen once and no batch is a tiny rest. Rows of similar length are batched together.
    """

    def __init__(self, part: Part, task: str, replicate: int, batch_size: int) -> None:
        self._task, self._replicate = task, replicate
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
        drawn = generator("order", self._task, self._replicate, epoch)
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

    def __init__(self, part: Part, task: str, replicate: int, batch_size: int) -> None:
        assert part.groups is not None
        self._task, self._replicate = task, replicate
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
        drawn = generator("order", self._task, self._replicate, group, epoch)
        return drawn.permutation(self._members[group])


class _Steps:
    """The batch sampler of a training loader: one Draw per micro-batch, from `start` on."""

    def __init__(self, order: Schedule, steps: int, micro: int, start: int) -> None:
        self._schedule, self._steps, self._micro, self._start = order, steps, micro, start

    def __len__(self) -> int:
        return self._steps * self._micro

    def __iter__(self) -> Iterator[Draw]:
        for step in range(self._start, self._steps):
            rows = self._schedule.rows(step)
            for cut in np.array_split(rows, self._micro):
                share = len(cut) / len(rows)
                yield Draw(step, self._schedule.epoch(step), tuple(map(int, cut)), share)


class _Training(Dataset[Batch]):
    """Encoded training batches. An augmentation is seeded by (task, replicate, epoch, row), and the view's number."""

    def __init__(
        self,
        part: Part,
        modality: Modality,
        encoder: Encoder,
        task: Mapping[str, Any],
        replicate: int,
        problem: Problem,
    ) -> None:
        self._part, self._modality, self._encoder = part, modality, encoder
        self._task, self._replicate, self._problem = task, replicate, problem

    def __getitem__(self, draw: Draw) -> Batch:
        rows = np.array(draw.rows, dtype=np.int64)
        raw = self._part.inputs.take(self._part.rows[rows])
        batch = _labelled(self._part, rows)
        views = []
        for view in range(self._problem.views):
            masks = self._problem.augmented(batch["labels"]) if view == 0 else None
            changed, masks = self._modality.augment(raw, self._task, self._seeds(draw, rows, view), masks)
            views.append(self._encoder(changed))
            if masks is not None:
                batch["labels"] = masks
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}
        more = {"views": views} if len(views) > 1 else {}
        return {**tensors, "inputs": views[0], **more, "share": draw.share, "draw": (draw.step, int(batch["ids"][0]))}

    def _seeds(self, draw: Draw, rows: NDArray[np.int64], view: int) -> list[int]:
        coordinates = (draw.epoch, view) if view else (draw.epoch,)
        name, replicate = self._task["name"], self._replicate
        return [seed("augmentation", name, replicate, *coordinates, int(one)) for one in self._part.rows[rows]]


def training_loader(
    part: Part,
    modality: Modality,
    encoder: Encoder,
    task: Mapping[str, Any],
    replicate: int,
    problem: Problem,
    order: Schedule,
    steps: int,
    micro: int,
    start: int,
    workers: int,
) -> DataLoader[Batch]:
    """The training batches of optimizer steps `start` to `steps`, each step cut into `micro` batches."""
    dataset = _Training(part, modality, encoder, task, replicate, problem)
    # A sampler of Draws without a batch sampler: the dataset itself makes whole batches.
    return _Resumable(
        dataset,
        batch_size=None,
        sampler=_Steps(order, steps, micro, start),
        num_workers=workers,
        persistent_workers=False,
        pin_memory=torch.cuda.is_available(),
    )


class _Resumable(DataLoader[Batch]):
    """Tells Lightning that the loader continues where the run stopped; its sampler already does."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def evaluation_batches(part: Part, encoder: Encoder) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """(places in the part, batch) over all rows, sorted by length."""
    order = np.argsort(part.lengths(), kind="stable")
    for low in range(0, len(order), EVALUATION_BATCH):
        places = order[low : low + EVALUATION_BATCH]
        known = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in _labelled(part, places).items()}
        yield places, {"inputs": encoder(part.inputs.take(part.rows[places])), **known}


def _labelled(part: Part, places: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """What is known of some rows besides their inputs."""
    arrays = {"ids": part.rows, "labels": part.labels, "groups": part.groups}
    return {name: array[places] for name, array in arrays.items() if array is not None}
