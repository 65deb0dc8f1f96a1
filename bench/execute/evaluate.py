"""Predictions: the one loop in which a method is applied to a part of a task."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray

from bench.data.prepare import Part
from bench.execute.draws import drawn
from bench.execute.loaders import evaluation_batches

if TYPE_CHECKING:
    from bench.execute.method import Method

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_AUTOCAST = {"bf16": torch.bfloat16, "16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The same mixed precision in prediction as in training."""
    kind = _AUTOCAST.get(precision)
    return nullcontext() if kind is None else torch.autocast(device.type, dtype=kind)


def predict_part(method: Method, part: Part, precision: str) -> dict[str, NDArray[Any]]:
    """What is saved per example of a part, in the part's order, with `ids`. The method sees no labels of it.

    Whatever a method draws here comes from its own stream, so that predictions depend on nothing before them.
    """
    with drawn("method", *method.blueprint.own, "predict", part.name, device=method.device), torch.no_grad():
        return _predict(method, part, precision)


def _predict(method: Method, part: Part, precision: str) -> dict[str, NDArray[Any]]:
    was_training = method.training
    method.eval()
    encoder = method.backbone.encoder
    saved: dict[str, NDArray[Any]] = {}
    for places, known in evaluation_batches(part, encoder):
        batch = {name: known[name] for name in ("inputs", "ids")}
        with autocast(method.device, precision):
            method.adaptation.context(batch)
            found = method.predict(move_data_to_device(batch, method.device)).float().cpu()
        for name, array in method.blueprint.problem.decode(found).items():
            if name not in saved:
                saved[name] = np.zeros((len(part), *array.shape[1:]), array.dtype)
            saved[name][places] = array
    method.train(was_training)
    return {"ids": np.asarray(part.rows, dtype=np.int64), **saved}
