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
    outputs: torch.Tensor | None = None
    for places, batch in evaluation_batches(part, encoder):
        batch.pop("labels", None)
        with autocast(method.device, precision):
            method.adaptation.context(batch)
            found = method.predict(move_data_to_device(batch, method.device)).float().cpu()
        if outputs is None:
            outputs = torch.zeros((len(part), *found.shape[1:]))
        outputs[torch.from_numpy(places)] = found
    method.train(was_training)
    assert outputs is not None, "a part has at least one row"
    return {"ids": np.asarray(part.ids, dtype=np.int64), **method.blueprint.problem.decode(outputs)}
