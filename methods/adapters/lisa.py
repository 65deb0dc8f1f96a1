"""LISA: layerwise importance sampled AdamW (Pan et al., 2024, arXiv:2403.17919)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from bench.core.errors import UserError
from bench.execute.adapters import Adaptation

from ._blocks import numbered_blocks

if TYPE_CHECKING:
    from bench.execute.step import Step


class LISA(Adaptation):
    """All weights move, of the numbered blocks only `blocks` at a time, drawn anew at every `every`-th step from 0 on.

    Blocks are drawn uniformly and without replacement. What lies outside them (embeddings, the last normalisation,
    the head) always moves. Of blocks that stand still there are neither gradients nor moments: these are dropped when
    a block is not drawn again, and begin at zero when it is. The authors' code keeps them.
    """

    def setup(self, every: int = 20, blocks: int = 2) -> None:
        if every < 1 or blocks < 1:
            raise UserError(f"LISA needs every and blocks of at least 1, not {every} and {blocks}.")
        self.every, self.count = every, blocks
        self.train_spec = "all"
        self.stopped: list[nn.Parameter] = []

    def build(self) -> None:
        there = len(numbered_blocks(self.backbone))
        if there < self.count:
            raise UserError(f"LISA draws {self.count} numbered blocks, and this backbone has {there or 'none'}.")

    def drawn(self, step: int) -> list[str]:
        """The paths of the blocks that move in a step: those that were drawn when its interval began."""
        paths = list(numbered_blocks(self.backbone))
        chosen = self.info.generator(step - step % self.every, "blocks").choice(len(paths), self.count, replace=False)
        return [paths[place] for place in sorted(chosen)]

    def before_step(self, step: Step) -> None:
        """Made anew in every step from its number alone, so that a resumed run goes on within an interval."""
        moving, blocks = self.drawn(step.number), numbered_blocks(self.backbone)
        still = [parameter for path in blocks if path not in moving for parameter in blocks[path]]
        self.stopped = [parameter for parameter in still if parameter.requires_grad]
        for parameter in self.stopped:
            parameter.requires_grad_(False)
        step.reset(parameters=self.stopped)

    def after_step(self, step: Step) -> None:
        """Between steps all that moves in any interval counts as trained."""
        for parameter in self.stopped:
            parameter.requires_grad_(True)
