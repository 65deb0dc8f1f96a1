"""The convolutional network that DomainBed uses on its MNIST sets (Gulrajani, Lopez-Paz. 2021. arXiv:2007.01434)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from bench.core.errors import UserError

WIDTHS = (64, 128, 128, 128)


class MnistCnn(nn.Module):
    """Four 3 x 3 convolutions, the second with stride 2, each followed by ReLU and then group normalisation.

    Pixels (batch, channels, height, width) in 0..1, not normalised further, become features (batch, 128): the mean
    over the image. With two channels it also takes images of three, whose third is left out (it is empty in
    ColoredMNIST, where DomainBed's network has two).
    """

    def __init__(self, channels: int = 1, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.channels, self.dim = channels, widths[-1]
        wide = [channels, *widths]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(wide[place], wide[place + 1], 3, stride=2 if place == 1 else 1, padding=1)
            for place in range(len(widths))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for width in widths)

    def forward(self, pixels: Tensor) -> Tensor:
        given = pixels.shape[1]
        if given != self.channels and (given, self.channels) != (3, 2):
            raise UserError(f"This network is for images of {self.channels} channels; these have {given}.")
        hidden = pixels[:, : self.channels]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = norm(relu(convolution(hidden)))
        return hidden.mean(dim=(2, 3))
