"""An encoder of images from timm under a U-Net's decoder: features at every pixel."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bench.core.errors import UserError
from bench.execute.backbones import Backbone, Features, ImageEncoder, Origin, load_weights

_WIDTHS = [256, 128, 64, 32]  # of the decoder, from the coarsest level up; the last stands for finer ones


class Block(nn.Sequential):
    """Two convolutions 3 x 3, each with batch normalisation and ReLU."""

    def __init__(self, inputs: int, width: int) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise([inputs, width, width]):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers)


class Decoder(nn.Module):
    """Feature maps from fine to coarse -> maps from coarse to (batch, dim, height, width).

    From the coarsest up: enlarge to the size of the next (nearest), put both side by side, a block. The last block is
    at the image's own size, beside nothing.
    """

    def __init__(self, channels: list[int], widths: list[int], dim: int) -> None:
        super().__init__()
        coarse, *skips = reversed(channels)
        wanted = [widths[min(place, len(widths) - 1)] for place in range(len(skips))]
        before = [coarse, *wanted]
        self.blocks = nn.ModuleList(Block(a + b, c) for a, b, c in zip(before, skips, wanted))
        self.last = Block(before[-1], dim)
        self.widths = (*wanted, dim)

    def forward(self, maps: list[Tensor], height: int, width: int) -> tuple[Tensor, ...]:
        """The maps of every level, from the coarsest to the image's own size."""
        x, *skips = reversed(maps)
        levels = []
        for skip, block in zip(skips, self.blocks, strict=True):
            x = block(torch.cat([interpolate(x, skip.shape[-2:]), skip], 1))
            levels.append(x)
        return (*levels, self.last(interpolate(x, (height, width))))


class EncoderBackbone(Backbone):
    """`network` is the encoder alone: it is what adaptations freeze, move or adapt.

    The decoder starts at random, so it is always trained, like the head. Pixels are scaled to 0..1 and normalised as
    in the encoder's pretraining; grey images are repeated for an encoder of colours.
    """

    offers = ("maps",)
    _mean: Tensor
    _std: Tensor

    def __init__(self, network: Any, decoder: Decoder, dim: int, groups: dict[str, list[str]]) -> None:
        super().__init__(network, dim, ImageEncoder(), groups)
        self.decoder = decoder
        config = dict(network.pretrained_cfg)
        self._channels = int((config.get("input_size") or (3,))[0])
        for name in ("mean", "std"):
            values = torch.tensor([config.get(name) or 0.5]).reshape(1, -1, 1, 1)
            self.register_buffer(f"_{name}", values.expand(1, self._channels, 1, 1).clone(), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self._levels(inputs)[-1]

    def features(self, inputs: Tensor, wants: Sequence[str]) -> Features:
        """Maps are the decoder's levels, from the coarsest to that of the image's own size."""
        self.refuse(wants)
        levels = self._levels(inputs)
        return Features(levels[-1], maps=levels)

    def widths(self, want: str) -> tuple[int, ...]:
        self.refuse([want])
        return self.decoder.widths

    def _levels(self, inputs: Tensor) -> tuple[Tensor, ...]:
        pixels = inputs.float() / 255
        if pixels.shape[1] != self._channels:
            pixels = pixels.mean(1, keepdim=True).expand(-1, self._channels, -1, -1)
        levels: tuple[Tensor, ...] = self.decoder(self.network((pixels - self._mean) / self._std), *pixels.shape[-2:])
        return levels


def make(origin: Origin) -> Backbone:
    """Build the encoder with its pretrained weights, and a decoder of random ones.

    `args`: `dim`, the features at each pixel; `widths` of the decoder from the coarsest level up; the rest is timm's.
    """
    declared = origin.declared
    args = {**(declared.get("args") or {}), **((declared.get("twin") or {}) if origin.twin else {})}
    dim, widths = int(args.pop("dim", 16)), list(args.pop("widths", _WIDTHS))
    here = origin.twin or bool(declared.get("weights"))
    name = str(declared["name"])
    network: Any = _create(
        name.split("/")[-1].split(".")[0] if here else f"local-dir:{origin.folder()}", args, not here
    )
    decoder = Decoder(list(network.feature_info.channels()), widths, dim)
    made = EncoderBackbone(network, decoder, dim, dict(declared.get("targets") or {}))
    if declared.get("weights") and not origin.twin:
        load_weights(made, origin.home / str(declared["weights"]))
    return made


def _create(name: str, args: dict[str, Any], pretrained: bool) -> nn.Module:
    """An encoder that gives its feature maps, fine to coarse; UserError for an architecture that gives none."""
    import timm

    text = f"timm cannot make an encoder of {name.removeprefix('local-dir:')}"
    try:
        with _told_of_loading() as missing:
            made: nn.Module = timm.create_model(name, pretrained=pretrained, features_only=True, **args)
    except (AttributeError, RuntimeError, TypeError, ValueError, OSError, KeyError) as error:
        raise UserError(f"{text}: {' '.join(str(error).split())[:300]}") from None
    if missing:
        raise UserError(f"{text}: its weights do not fit. {missing[0].split(' discovered')[0]}.")
    return made


@contextmanager
def _told_of_loading() -> Iterator[list[str]]:
    """What timm says of weights that a file lacks: of some architectures it loads what is there, and logs the rest.

    Weights that an encoder does not have, those of the classifier, are no news.
    """
    logger, missing = logging.getLogger("timm.models._builder"), list[str]()

    def kept(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        missing.extend([text] if text.startswith("Missing keys") else [])
        return record.levelno > logging.WARNING

    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(kept)
    try:
        yield missing
    finally:
        logger.removeFilter(kept)
        logger.setLevel(level)
