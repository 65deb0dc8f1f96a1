"""What a method sees of a step's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Rows to predict: their inputs as the backbone takes them, and their numbers in the published split."""

    inputs: Any  # a tensor, or a mapping of tensors, with a row each along the first dimension
    ids: Tensor  # (rows,)

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> Self:
        """The same rows on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same rows in memory that a GPU reads without waiting."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, inputs=mapped(self.inputs, change), ids=change(self.ids))


@dataclass(frozen=True)
class Batch(Rows):
    """Training rows: the whole batch of a step, or a piece of it."""

    labels: Tensor  # (rows, ...); -1 where a class is not known
    domains: Tensor  # (rows,) from 0 without gaps; 0 where the task has none
    views: tuple[Any, ...] = ()  # the inputs under each augmentation, where the problem asks for several
    others: Mapping[str, Batch] = field(default_factory=dict)  # by the names of the phase's other portions of rows
    share: float = 1.0  # of the rows that were cut: losses of pieces, weighted by it, add up to that of the whole
    step: int = 0
    epoch: int = 0

    def select(self, rows: Tensor) -> Batch:
        """Some of the rows, by a mask (rows,) or by places; a batch of its own, whose share is 1."""

        def taken(tensor: Tensor) -> Tensor:
            return tensor[rows.to(tensor.device)]

        return replace(self._map_rows(taken), others={}, share=1.0)

    def of_domain(self, domain: int) -> Batch:
        """The rows of one domain."""
        return self.select(self.domains == domain)

    def pieces(self, most: int | None) -> Iterator[Batch]:
        """The batch in pieces of at most `most` rows whose sizes differ by at most one; None leaves it whole."""
        count = 1 if most is None else -(-len(self) // most)
        if count <= 1:
            yield replace(self, share=1.0)
            return
        low = 0
        for place in range(count):
            high = low + (len(self) - low) // (count - place)
            piece = slice(low, high)
            yield replace(
                self._map_rows(lambda tensor, piece=piece: tensor[piece]),  # type: ignore[misc]
                others={},
                share=(high - low) / len(self),
            )
            low = high

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        others = {name: batch._map(change) for name, batch in self.others.items()}
        return replace(self._map_rows(change), others=others)

    def _map_rows(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            inputs=mapped(self.inputs, change),
            ids=change(self.ids),
            labels=change(self.labels),
            domains=change(self.domains),
            views=tuple(mapped(view, change) for view in self.views),
        )


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Tensors, and mappings and sequences of them, each changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: mapped(inner, change) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(inner, change) for inner in value)
    return value
