"""A network small enough for tests, with something of everything: convolution, normalisation, dropout, dense layers."""

from torch import nn


class Little(nn.Module):
    dim = 16

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Linear(256, 16)
        self.drop = nn.Dropout(0.1)
        self.second = nn.Linear(16, 16)

    def forward(self, pixels):
        hidden = self.norm(self.stem(pixels)).relu().flatten(1)
        return self.second(self.drop(self.first(hidden).relu())).relu()
