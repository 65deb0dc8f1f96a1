"""The numbered blocks of a backbone: what its depth is counted in."""

from __future__ import annotations

import re

from torch import nn

_BLOCK = re.compile(r"(?:.*\.)?(?:blocks|layers?\d*|h)\.\d+(?=\.)")


def numbered_blocks(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The parameters of each block by its path, in the network's order.

    `blocks.3`, `encoder.layer.3`, `h.3`; of numbers within numbers the innermost counts, so that a block of
    `layers.1.blocks.2` or of a ResNet's `layer2.0` is one.
    """
    blocks: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        inside = _BLOCK.match(name)
        if inside:
            blocks.setdefault(inside[0], []).append(parameter)
    return blocks
