"""Segmentation networks from MONAI, in two dimensions: they give features at every pixel, and start at random."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad

from bench.core.errors import UserError, first_line, nearest
from bench.execute.backbones import Backbone, ImageEncoder, Origin, load_weights

_EPSILON = 1e-5  # of a standard deviation, for images of one value


# The networks, and by how much each of them divides an image's size, from its arguments.
_KINDS: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "UNet": lambda args: math.prod(args["strides"]),
    "AttentionUnet": lambda args: math.prod(args["strides"]),
    "UNETR": lambda args: 16,
    "SwinUNETR": lambda args: int(args.get("patch_size", 2)) ** 5,
    "SegResNet": lambda args: 2 ** (len(args.get("blocks_down", (1, 2, 2, 4))) - 1),
}


class MonaiBackbone(Backbone):
    """Pixels (batch, channels, H, W) -> features (batch, dim, H, W).

    Each channel of each image is standardised to mean 0 and variance 1, as is usual where scanners differ. Images
    whose size the network cannot halve often enough are padded with their border pixels, and the features cropped.
    """

    def __init__(self, network: nn.Module, dim: int, groups: dict[str, list[str]], factor: int) -> None:
        super().__init__(network, dim, ImageEncoder(), groups)
        self._factor = factor

    def forward(self, inputs: Tensor) -> Tensor:
        pixels = inputs.float() / 255
        deviation = pixels.std((2, 3), keepdim=True, correction=0)
        pixels = (pixels - pixels.mean((2, 3), keepdim=True)) / (deviation + _EPSILON)
        height, width = pixels.shape[2:]
        down, across = _padded(height, self._factor) - height, _padded(width, self._factor) - width
        if down or across:
            edges = (across // 2, across - across // 2, down // 2, down - down // 2)
            pixels = pad(pixels, edges, mode="replicate")
        features: Tensor = self.network(pixels)
        return features[..., down // 2 : down // 2 + height, across // 2 : across // 2 + width]


def make(origin: Origin) -> Backbone:
    """Build the network for the task's channels; weights beside the declaration are loaded where it names any.

    `args` are those of MONAI's class, and `dim`, the number of features at each pixel.
    """
    declared = origin.declared
    name = str(declared["name"])
    if name not in _KINDS:
        raise UserError(f"The library monai offers {', '.join(_KINDS)}, not {name!r}.{nearest(name, _KINDS)}")
    args = {**(declared.get("args") or {}), **((declared.get("twin") or {}) if origin.twin else {})}
    dim = args.pop("dim", 16)
    image = origin.task["image"]
    own = {"spatial_dims": 2, "in_channels": int(image["channels"]), "out_channels": dim}
    if name == "UNETR":
        own["img_size"] = _padded(int(image["size"]), _KINDS[name](args))
    network = _create(name, args, own)
    if declared.get("weights") and not origin.twin:
        load_weights(network, origin.home / str(declared["weights"]))
    return MonaiBackbone(network, int(dim), dict(declared.get("targets") or {}), _KINDS[name](args))


def _create(name: str, args: dict[str, Any], own: dict[str, Any]) -> nn.Module:
    """MONAI's network; `own` are the arguments that the task gives."""
    from monai.networks import nets

    kind = getattr(nets, name)
    legal = [word for word in inspect.signature(kind).parameters if word not in (*own, "img_size")]
    for word in args:
        if word not in legal:
            raise UserError(f"args of {name} are dim, {', '.join(legal)}, not {word!r}.{nearest(word, legal)}")
    try:
        network: nn.Module = kind(**args, **own)
    except (AssertionError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"MONAI cannot make {name} of these args: {first_line(error)}") from None
    for module in network.modules():
        # UNETR's transformer blocks keep a norm for a cross-attention that they do not have: it would never move.
        if getattr(module, "with_cross_attention", True) is False:
            module.norm_cross_attn = nn.Identity()
    return network


def _padded(size: int, factor: int) -> int:
    """The least multiple of `factor` from `size` on, at least twice it: a norm over one pixel is none."""
    return max(2, math.ceil(size / factor)) * factor
