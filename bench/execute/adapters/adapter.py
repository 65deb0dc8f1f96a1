"""One adapter on one frozen weight, and how it takes the weight's place.

The layer stays where it is: its `forward` is replaced on the instance, so names, ties and deep copies
survive, and its state dict does not change. Where a parent reads the layer's weight and never calls it
(`nn.MultiheadAttention` and its `out_proj`), the weight itself is parametrized by `weight()`. The adapter is
owned by its adaptation, and holds the layer by reference only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.core.errors import UserError
from bench.execute.adapters.layers import Layer
from bench.execute.adapters.targets import Site
from bench.execute.parts import Part

if TYPE_CHECKING:
    from bench.execute.step import Step


class Adapter(Part):
    """How one frozen weight may move: a subclass makes its parameters in `setup`, its formula is `weight`.

    The weight is known when `setup` is called; what needs more of the run (`self.info`) is made in `build`.

    Parameters are made from `self.weight0` (`self.weight0.new_zeros(...)`), which gives them its dtype and
    device, and are drawn from torch's global generator only. Buffers that attaching again recomputes alike
    are registered with `persistent=False`; the others are saved with what was trained.
    """

    slot = "adaptation"
    exact_at_start: ClassVar[bool] = True  # weight() equals weight0 when just made
    mergeable: ClassVar[bool] = True  # weight() and bias() say all that forward does, for every input

    def __init__(self, site: Site, **params: Any) -> None:
        nn.Module.__init__(self)
        self.site = site
        self.used = False
        self._take(params)

    def weight(self) -> Tensor:
        """The adapted weight, shaped as `weight0`: the method's formula. Merging writes it back."""
        return self.weight0

    def bias(self) -> Tensor | None:
        """The adapted bias (rows,), or None."""
        return self.bias0

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output for these rows; override it only with an equal, faster path."""
        return self.op(x, self.weight(), self.bias())

    def penalty(self) -> Tensor | None:
        """What this adapter adds to the loss (a scalar), or None."""
        return None

    def update_rank(self) -> int | None:
        """A bound on the rank of (weight() - weight0) as a matrix (rows, in*k); None where there is none."""
        return None

    def before_step(self, step: Step) -> None:
        """Before a step's first forward pass: draw from `step.generator`, change what the step is of."""

    def context(self, batch: Any) -> None:
        """See the batch before it is computed (adapters that depend on the input, task ids)."""

    def acts_by_weight(self) -> bool:
        """Whether weight() and bias() say all that forward does in training too (no dropout on the input)."""
        return self.mergeable

    def peft_form(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Fields of peft's configuration and tensors by peft's names; None if peft has no such form."""
        return None

    @property
    def weight0(self) -> Tensor:
        """The weight (rows, in[, k...]) of this adapter's rows; a view, without gradient where the layer is frozen."""
        return self.site.weight()

    @property
    def bias0(self) -> Tensor | None:
        """The frozen bias (rows,), or None."""
        return self.site.bias()

    @property
    def matrix0(self) -> Tensor:
        """The frozen weight as a matrix (rows, in*k)."""
        return self.weight0.flatten(1)

    def op(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The layer's operation (its stride, padding, groups) with a weight of any number of rows."""
        return self.site.layer.op(x, weight, bias)


class Blocks:
    """The adapters of one layer, as disjoint row blocks; rows without an adapter keep the frozen weight."""

    def __init__(self, layer: Layer, adapters: list[Adapter]) -> None:
        self.layer = layer
        self.blocks: list[tuple[slice, Adapter | None]] = []
        at = 0
        for adapter in sorted(adapters, key=lambda one: one.site.start):
            if at < adapter.site.start:
                self.blocks.append((slice(at, adapter.site.start), None))
            self.blocks.append((adapter.site.rows, adapter))
            at = adapter.site.stop
        if at < layer.out:
            self.blocks.append((slice(at, layer.out), None))

    def output(self, x: Tensor) -> Tensor:
        parts = [self._block(x, rows, adapter) for rows, adapter in self.blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=self.layer.channel)

    def weight(self) -> Tensor:
        weight0 = self.layer.weight()
        return torch.cat([weight0[rows] if one is None else _used(one).weight() for rows, one in self.blocks])

    def bias(self) -> Tensor:
        bias0 = self.layer.bias()
        assert bias0 is not None
        parts = [None if one is None else one.bias() for _, one in self.blocks]
        return torch.cat(
            [bias0[rows] if part is None else part for (rows, _), part in zip(self.blocks, parts, strict=True)]
        )

    def _block(self, x: Tensor, rows: slice, adapter: Adapter | None) -> Tensor:
        if adapter is not None:
            y: Tensor = _used(adapter)(x)
            return y
        bias = self.layer.bias()
        return self.layer.op(x, self.layer.weight()[rows], None if bias is None else bias[rows])


def _used(adapter: Adapter) -> Adapter:
    adapter.used = True
    return adapter


class Forward:
    """What stands in a layer's `forward`: no closure, so that a deep copy calls the copied adapters."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def __call__(self, input: Tensor) -> Tensor:
        return self.blocks.output(input)


class _Parametrized(nn.Module):
    """A parametrization that ignores what it is given, and answers with the blocks' weight or bias."""

    def __init__(self, blocks: Blocks, name: str) -> None:
        super().__init__()
        self.blocks, self.name = blocks, name

    def forward(self, original: Tensor) -> Tensor:
        return self.blocks.layer.orient(self.blocks.weight()) if self.name == "weight" else self.blocks.bias()


def patch(adapters: list[Adapter]) -> None:
    """Put the adapters of one layer in its place; they share their layer."""
    site = adapters[0].site
    module = site.layer.module
    if "forward" in vars(module) or parametrize.is_parametrized(module):
        raise UserError(f"{site.path} is already adapted or wrapped; a layer can be adapted once.")
    blocks = Blocks(site.layer, adapters)
    if not site.by_weight:
        module.forward = Forward(blocks)
        return
    for adapter in adapters:
        if not adapter.acts_by_weight():
            raise UserError(
                f"{type(adapter).__name__} cannot adapt {site.label}, whose weight is read by its parent and "
                "whose input is not seen: this adapter with these parameters does more than change a weight."
            )
    for name in ("weight", "bias") if site.layer.has_bias else ("weight",):
        # `unsafe` only leaves out a trial evaluation, which would count as a use.
        parametrize.register_parametrization(module, name, _Parametrized(blocks, name), unsafe=True)


def unpatch(site: Site) -> None:
    """Give the layer its own forward and its own parameters back, whose values are those of before."""
    module = site.layer.module
    vars(module).pop("forward", None)
    if parametrize.is_parametrized(module):
        # torch's `remove_parametrizations` edits the generated class, which deep copies of a module share.
        originals = {
            name: site.layer.raw(name) for name in ("weight", "bias") if site.layer.has_bias or name == "weight"
        }
        del module._modules["parametrizations"]
        module.__class__ = type(module).__bases__[0]
        for name, original in originals.items():
            module.register_parameter(name, original)  # type: ignore[arg-type]
