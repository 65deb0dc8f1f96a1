"""DenseNet-121 with random weights, for tasks whose protocol trains it from scratch."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as WILDS normalises every image


class DenseNet(nn.Module):
    """Pixels (batch, 3, height, width) in 0..1 -> features (batch, dim), the mean over the image."""

    _mean: Tensor
    _std: Tensor

    def __init__(self, **args: Any) -> None:
        super().__init__()
        self.network = timm.create_model("densenet121", pretrained=False, num_classes=0, **args)
        self.dim = int(self.network.num_features)
        self.register_buffer("_mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.network((pixels - self._mean) / self._std)
        return features
