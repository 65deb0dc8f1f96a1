"""Predictions: the one loop in which a method is applied to a part of a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.prepare import Part
from bench.execute.draws import drawn
from bench.execute.loaders import evaluation_batches

if TYPE_CHECKING:
    from bench.execute.batch import Rows
    from bench.execute.method import Method

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_AUTOCAST = {"bf16": torch.bfloat16, "16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The same mixed precision in prediction as in training."""
    kind = _AUTOCAST.get(precision)
    return nullcontext() if kind is None else torch.autocast(device.type, dtype=kind)


@contextmanager
def evaluating(method: Method) -> Iterator[None]:
    """Evaluation mode inside, and the mode of before afterwards."""
    was_training = method.training
    method.eval()
    try:
        yield
    finally:
        method.train(was_training)


def predict_part(method: Method, part: Part) -> dict[str, NDArray[Any]]:
    """What is saved per example of a part, in the part's order, with `ids`. The method sees no labels of it.

    Whatever a method draws here comes from its own stream, so that predictions depend on nothing before them.
    """
    saved: dict[str, NDArray[Any]] = {}
    info = method.info
    with drawn("method", *info.own, "predict", part.name, device=method.device):
        for places, outputs in _applied(method, part, method.predict):
            for name, array in method.problem.decode(outputs.float().cpu()).items():
                if name not in saved:
                    saved[name] = np.zeros((len(part), *array.shape[1:]), array.dtype)
                saved[name][places] = array
    return {"ids": np.asarray(part.rows, dtype=np.int64), **saved}


def over(method: Method, part: Part, function: Callable[[Rows], Tensor]) -> Tensor:
    """`function` of all rows of a part, in evaluation batches: (rows, ...) on the CPU, in the part's order."""
    whole: Tensor | None = None
    for places, given in _applied(method, part, function):
        if whole is None:
            whole = torch.empty((len(part), *given.shape[1:]), dtype=given.dtype)
        whole[torch.from_numpy(places)] = given.cpu()
    assert whole is not None
    return whole


def _applied(
    method: Method, part: Part, function: Callable[[Rows], Tensor]
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """(places, what the function gives) for all rows."""
    device = method.device
    with evaluating(method), torch.no_grad():
        for places, rows in evaluation_batches(part, method.backbone.encoder):
            with autocast(device, method.precision):
                moved = rows.to(device)
                method.adaptation.context(moved)
                given = function(moved)
            yield places, given
