"""Only the last block of a transformer moves, as usual in category discovery."""

from __future__ import annotations

import re

from bench.core.errors import UserError
from bench.execute.adapters import Adaptation


class LastBlock(Adaptation):
    """The parameters of the last of the backbone's numbered blocks (`blocks.11`, `encoder.layer.5`) are trained.

    Of several lists of blocks the longest counts.
    """

    def attach(self) -> None:
        blocks: dict[str, set[int]] = {}
        for name, _ in self.backbone.named_parameters():
            found = re.match(r"((?:.*?\.)?(?:blocks|layers?|h))\.(\d+)\.", name)
            if found:
                blocks.setdefault(found[1], set()).add(int(found[2]))
        if not blocks:
            raise UserError("last-block needs a backbone with numbered blocks, and this one has none.")
        path = max(blocks, key=lambda name: len(blocks[name]))
        self.train_spec = [f"{path}.{max(blocks[path])}.*"]
        super().attach()
