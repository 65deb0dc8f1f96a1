"""An adapter with one number per output."""

import torch
from torch import nn

from bench.execute.adapters import Adapter

from .helper import rows


class Scaled(Adapter):
    """W = diag(scale) W0."""

    def setup(self, start=1.0):
        self.scale = nn.Parameter(torch.full((rows(self.weight0),), float(start)))

    def weight(self):
        return self.scale[:, None] * self.weight0
