"""One view over every layer whose weight can be adapted.

An adapter sees a weight as (out, in[, k...]) whatever the library calls the layer: `nn.Linear`,
`nn.Conv1d/2d/3d` with any stride, dilation, groups and padding, timm's `Conv2dSame`, and transformers'
`Conv1D`, which stores its weight transposed. A subclass that overrides `forward` (weight standardisation,
casts) computes something this view does not know, and is not adaptable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

KINDS = "Linear, Conv1d, Conv2d, Conv3d and transformers' Conv1D"
_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POINTWISE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def kind(module: nn.Module) -> str | None:
    """`linear`, `conv`, or None for a module that is not adaptable."""
    if _transposed(module):
        return "linear"
    if isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward:
        return "linear"
    for base in _CONV:
        # The public classes differ only in `_conv_forward`; `forward` hands it the layer's own weight and
        # bias.
        if isinstance(module, base) and type(module)._conv_forward is base._conv_forward:
            return "conv" if type(module).forward is base.forward or _same(module) else None
    return None


def why_not(module: nn.Module) -> str:
    """Why `module` is not adaptable, as the end of a sentence."""
    if isinstance(module, (nn.Linear, *_CONV)):
        return f"is a {type(module).__name__}, whose forward is its own and not that of a plain layer"
    return f"is a {type(module).__name__}; adaptable layers are {KINDS}"


class Layer:
    """An adaptable layer: holds the module by reference, and is no module, so it adds nothing to a tree."""

    def __init__(self, module: nn.Module) -> None:
        found = kind(module)
        if found is None:
            raise TypeError(f"a {type(module).__name__} is not adaptable")
        self.module = module
        self.kind = found
        self.transposed = _transposed(module)
        self.spatial = self.raw("weight").dim() - 2  # number of kernel dimensions, 0 for a linear layer
        self.groups: int = getattr(module, "groups", 1)

    def raw(self, name: str) -> Tensor:
        """The stored `weight` or `bias`, also where the layer is parametrized."""
        value: Any = self.module._parameters.get(name)
        if parametrize.is_parametrized(self.module, name):
            value = self.module.get_submodule(f"parametrizations.{name}").original
        assert isinstance(value, Tensor)
        return value

    @property
    def has_bias(self) -> bool:
        return parametrize.is_parametrized(self.module, "bias") or self.module._parameters.get("bias") is not None

    def weight(self) -> Tensor:
        """The stored weight as (out, in[, k...]); a view, without gradient where the layer is frozen."""
        return self.orient(self._seen("weight"))

    def bias(self) -> Tensor | None:
        """The stored bias (out,), likewise, or None."""
        return self._seen("bias") if self.has_bias else None

    def _seen(self, name: str) -> Tensor:
        raw = self.raw(name)
        return raw if raw.requires_grad else raw.detach()

    def orient(self, weight: Tensor) -> Tensor:
        """From the layer's own orientation to (out, in[, k...]) and back: it is its own inverse."""
        return weight.t() if self.transposed else weight

    @property
    def out(self) -> int:
        return self.weight().shape[0]

    @property
    def channel(self) -> int:
        """The dimension of the output that the rows of the weight become, counted from the end."""
        return -1 - self.spatial

    def op(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What the layer does to `x`, with another `weight` (any, in[, k...]) and `bias`."""
        if not self.spatial:
            return F.linear(x, weight, bias)
        conv: Any = self.module
        if _same(conv):
            return F.conv2d(_pad_same(x, conv), weight, bias, conv.stride, 0, conv.dilation, self.groups)
        y: Tensor = conv._conv_forward(x, weight, bias)
        return y

    def pointwise(self, x: Tensor, weight: Tensor) -> Tensor:
        """Mix the channels of an output by a `weight` (any, channels), or (any, channels, 1...)."""
        return _POINTWISE[self.spatial](x, weight) if self.spatial else F.linear(x, weight)

    @torch.no_grad()
    def write(self, rows: slice, weight: Tensor, bias: Tensor | None) -> None:
        """Overwrite some rows in place; a layer without bias is given one when `bias` is a tensor."""
        self.weight()[rows].copy_(weight)
        if bias is not None:
            if not self.has_bias:
                self.module.bias = nn.Parameter(bias.new_zeros(self.out), requires_grad=False)
            self.raw("bias")[rows].copy_(bias)


def _transposed(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers.")


def _same(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv2dSame" and type(module).__module__.startswith("timm.")


def _pad_same(x: Tensor, conv: Any) -> Tensor:
    """TensorFlow's SAME padding: as much as makes ceil(size / stride) outputs, the odd pixel at the end."""
    pads: list[int] = []
    for size, kernel, stride, dilation in zip(x.shape[-2:], conv.kernel_size, conv.stride, conv.dilation, strict=True):
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        pads = [total // 2, total - total // 2, *pads]
    return F.pad(x, pads)
