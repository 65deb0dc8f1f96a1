"""Batches as a function of the step: batch k depends on the task, the replicate and k, never on what came before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from bench.core.streams import generator, seed
from bench.data.modalities import Modality
from bench.data.prepare import Part
from bench.execute.backbones import Encoder

Batch = dict[str, Any]  # inputs, ids; in training also labels, share and draw (step, first row)

_BUCKET = 32  # batches whose rows are sorted by length together
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Draw:
    """Which rows a (micro-)batch holds, and where in the schedule it stands."""

    step: int
    epoch: int
    rows: tuple[int, ...]  # of the part
    share: float  # this micro-batch's weight in its step: rows / rows of the step


class Schedule:
    """The order of training batches for a (task, replicate).

    An epoch is a permutation cut into ceil(rows / batch_size) batches whose sizes differ by at most one, so that
    every row is seen once and no batch is a tiny rest. Rows of similar length are batched together.
    """

    def __init__(self, part: Part, task: str, replicate: int, batch_size: int) -> None:
        self._task, self._replicate = task, replicate
        self._lengths = part.lengths()
        self.per_epoch = max(1, math.ceil(len(part) / batch_size))

    def rows(self, step: int) -> NDArray[np.int64]:
        """The rows of optimizer step `step` (counted from 0)."""
        epoch, place = divmod(step, self.per_epoch)
        batches: list[NDArray[np.int64]] = self._epoch(epoch)
        return batches[place]

    def steps(self, budget: Mapping[str, Any]) -> int:
        """How many optimizer steps a budget is."""
        return int(budget["steps"]) if budget.get("steps") else int(budget["epochs"]) * self.per_epoch

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


class _Steps:
    """The batch sampler of a training loader: one Draw per micro-batch, from `start` on."""

    def __init__(self, schedule: Schedule, steps: int, micro: int, start: int) -> None:
        self._schedule, self._steps, self._micro, self._start = schedule, steps, micro, start

    def __len__(self) -> int:
        return self._steps * self._micro

    def __iter__(self) -> Iterator[Draw]:
        for step in range(self._start, self._steps):
            rows = self._schedule.rows(step)
            for cut in np.array_split(rows, self._micro):
                share = len(cut) / len(rows)
                yield Draw(step, step // self._schedule.per_epoch, tuple(map(int, cut)), share)


class _Training(Dataset[Batch]):
    """Encoded training batches. An augmentation is seeded by (task, replicate, epoch, row)."""

    def __init__(
        self, part: Part, modality: Modality, encoder: Encoder, task: Mapping[str, Any], replicate: int
    ) -> None:
        self._part, self._modality, self._encoder = part, modality, encoder
        self._task, self._replicate = task, replicate

    def __getitem__(self, draw: Draw) -> Batch:
        rows = np.array(draw.rows, dtype=np.int64)
        ids = self._part.ids[rows]
        inputs = self._part.inputs.take(self._part.rows[rows])
        seeds = [seed("augmentation", self._task["name"], self._replicate, draw.epoch, int(one)) for one in ids]
        batch = _batch(self._encoder(self._modality.augment(inputs, self._task, seeds)), self._part, rows)
        return {**batch, "share": draw.share, "draw": (draw.step, int(ids[0]))}


def training_loader(
    part: Part,
    modality: Modality,
    encoder: Encoder,
    task: Mapping[str, Any],
    replicate: int,
    schedule: Schedule,
    steps: int,
    micro: int,
    start: int,
    workers: int,
) -> DataLoader[Batch]:
    """The training batches of optimizer steps `start` to `steps`, each step cut into `micro` batches."""
    dataset = _Training(part, modality, encoder, task, replicate)
    # A sampler of Draws without a batch sampler: the dataset itself makes whole batches.
    return _Resumable(
        dataset,
        batch_size=None,
        sampler=_Steps(schedule, steps, micro, start),
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
        yield places, _batch(encoder(part.inputs.take(part.rows[places])), part, places)


def _batch(inputs: Any, part: Part, places: NDArray[np.int64]) -> Batch:
    batch: Batch = {"inputs": inputs, "ids": torch.from_numpy(part.ids[places])}
    if part.labels is not None:
        batch["labels"] = torch.from_numpy(part.labels[places])
    return batch
