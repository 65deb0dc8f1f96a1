"""The backbone's features of a part's rows, as clusterings see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor
from torch.nn import functional as F

from bench.execute.loaders import evaluation_batches

if TYPE_CHECKING:
    from lightning import Trainer

    from bench.data.prepare import Part
    from bench.execute.method import Method


@torch.no_grad()
def features(method: Method, part: Part, trainer: Trainer) -> Tensor:
    """(rows, dim) in the part's order, of length 1, float32 on the CPU; without augmentation and dropout."""
    training, found = method.training, torch.empty(len(part), method.backbone.dim)
    method.eval()
    for places, batch in evaluation_batches(part, method.backbone.encoder):
        seen = {name: batch[name] for name in ("inputs", "ids")}
        with trainer.precision_plugin.forward_context():  # as in prediction
            method.adaptation.context(seen)
            given = method.backbone(move_data_to_device(seen["inputs"], method.device))
        found[torch.from_numpy(places)] = F.normalize(given.float(), dim=-1).cpu()
    method.train(training)
    return found
