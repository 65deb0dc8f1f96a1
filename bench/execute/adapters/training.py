"""Which of the backbone's own parameters move as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from bench.core.errors import UserError, nearest

_NORMS = (
    nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase,
)  # fmt: skip
WORDS = ("all", "none", "norm", "bias")


def moving(backbone: nn.Module, train: str | Sequence[str]) -> list[str]:
    """The names of the parameters that `train` lets move, in the backbone's order.

    `train` is a word or a list of words and patterns. The words: `all`, `none`, `norm` (all parameters of
    normalisation layers), `bias` (every bias; also those that a layer calls `q_bias`, `in_proj_bias`). A
    pattern matches a whole name or a tail of it that begins after a dot, with `*` for anything. UserError for
    what matches nothing.
    """
    names = [name for name, _ in backbone.named_parameters()]
    chosen: set[str] = set()
    for item in [train] if isinstance(train, str) else train:
        found = _chosen(backbone, names, item)
        if not found and item != "none":
            tails = {tail for name in names for tail in (name, name.rpartition(".")[2])}
            raise UserError(
                f"adaptation.train names {item!r}, which matches no parameter of the backbone."
                f"{nearest(item, [*WORDS, *tails])} The words are {', '.join(WORDS)}; else it is a pattern."
            )
        chosen.update(found)
    return [name for name in names if name in chosen]


def plain(name: str) -> str:
    """A tensor's name without the detour that a parametrization puts into it."""
    return name.replace("parametrizations.", "").removesuffix(".original") if "parametrizations." in name else name


def is_norm(module: nn.Module) -> bool:
    """Whether `module` is a normalisation layer: torch's own, or named so (LlamaRMSNorm, LayerNorm2d)."""
    return isinstance(module, _NORMS) or "Norm" in type(module).__name__


def _chosen(backbone: nn.Module, names: list[str], item: str) -> list[str]:
    if item in ("all", "none"):
        return names if item == "all" else []
    if item == "norm":
        return [
            f"{path}.{name}" if path else name
            for path, module in backbone.named_modules()
            if is_norm(module)
            for name, _ in module.named_parameters(recurse=False)
        ]
    if item == "bias":
        return [name for name in names if re.search(r"(^|[._])bias$", name)]
    expression = re.compile(r"(?:.*\.)?" + re.escape(item).replace(r"\*", ".*").replace(r"\?", "."))
    return [name for name in names if expression.fullmatch(name)]
