"""Targets: from what a declaration names to the layers, or rows of layers, that are adapted.

`targets` is a group (`attention`), or a list of groups and patterns. A pattern matches a layer's whole path,
or a tail of it that begins after a dot; `*` stands for anything, dots included, and `?` for one character. A
slice may follow: `*.attn.qkv[q,v]` (equal blocks of a fused layer) or `*.attn.qkv[0:384]` (rows). The
patterns of a group are alternatives for different architectures, of which any may match; a pattern that a
person wrote must match. `attention|conv` is the first of several that matches anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from bench.core.errors import UserError, nearest
from bench.execute.adapters.layers import Layer, kind, why_not

Targets = str | Sequence[str]

GROUPS: dict[str, list[str]] = {
    # The query and value projections, as in the experiments of LoRA's authors.
    "attention": [
        "attn.qkv[q,v]", "c_attn[q,v]", "to_qkv[q,v]", "query", "value", "query_proj", "value_proj",
        "q_proj", "v_proj", "q_lin", "v_lin", "attn.q", "attn.v", "to_q", "to_v",
        "SelfAttention.q", "SelfAttention.v", "EncDecAttention.q", "EncDecAttention.v",
    ],
    "attention-output": [
        "attn.proj", "attention.output.dense", "o_proj", "out_proj", "out_lin", "attn.c_proj",
        "SelfAttention.o", "EncDecAttention.o",
    ],
    "mlp": [
        "mlp.fc1", "mlp.fc2", "intermediate.dense", "layer.?.output.dense", "layer.??.output.dense",
        "ffn.lin1", "ffn.lin2", "mlp.c_fc", "mlp.c_proj", "gate_proj", "up_proj", "down_proj",
    ],
}  # fmt: skip
_KINDS = {"linear": ("linear",), "conv": ("conv",), "all": ("linear", "conv")}

# What a fused layer's rows hold, in equal blocks, by the last part of its path; all others are query, key,
# value.
_BLOCKS = {"kv": "kv", "to_kv": "kv", "kv_proj": "kv"}
# Fused layers whose rows go head by head (query, key and value of the first head, then of the second, ...).
_HEAD_BY_HEAD_NAMES = {"query_key_value"}
_HEAD_BY_HEAD_MODULES = {"timm.models.tiny_vit", "timm.models.efficientformer"}

# Parents that read a child's weight and do not (or, without gradients, do not always) call it.
_READERS = {
    "torch.nn.modules.activation.MultiheadAttention": {"out_proj"},
    "torch.nn.modules.transformer.TransformerEncoderLayer": {"linear1", "linear2"},
    "timm.models.beit.Attention": {"qkv"},
    "timm.models.eva.EvaAttention": {"qkv"},
    "timm.models.swin_transformer_v2.WindowAttention": {"qkv"},
}


@dataclass(frozen=True, eq=False)
class Site:
    """The place of one adapter: the rows [start, stop) of the layer at `path` inside the network."""

    path: str
    layer: Layer
    start: int
    stop: int
    by_weight: bool = False  # the parent reads the layer's weight: the adapter must act through `weight()`

    @property
    def whole(self) -> bool:
        return (self.start, self.stop) == (0, self.layer.out)

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def label(self) -> str:
        """The path, with the rows where they are not all: `blocks.0.attn.qkv[0:64]`."""
        return self.path if self.whole else f"{self.path}[{self.start}:{self.stop}]"

    def weight(self) -> Tensor:
        return self.layer.weight()[self.rows]

    def bias(self) -> Tensor | None:
        bias = self.layer.bias()
        return None if bias is None else bias[self.rows]


@dataclass(frozen=True)
class _Pattern:
    text: str  # as written
    path: str
    rows: str | None  # what stands between the brackets
    own: bool  # written by a person, so that it must match

    def matches(self, path: str) -> bool:
        expression = re.escape(self.path).replace(r"\*", ".*").replace(r"\?", ".")
        return re.fullmatch(rf"(?:.*\.)?{expression}", path) is not None


def resolve(network: nn.Module, targets: Targets, groups: Mapping[str, Sequence[str]] | None = None) -> list[Site]:
    """The sites that `targets` names in `network`, in the network's order, none twice.

    Raises UserError when nothing matches, when rows do not fit or overlap, and when a weight is tied.
    """
    modules = dict(network.named_modules())
    spans: dict[str, set[tuple[int, int]]] = {}
    for path, pattern in _matches(modules, targets, groups or {}):
        spans.setdefault(path, set()).update(_spans(path, modules, pattern))
    sites = []
    tied = _tied(modules)
    for path in (path for path in modules if path in spans):
        if path in tied:
            raise UserError(
                f"{path} cannot be adapted, because {tied[path]}: one would be adapted and not the other; "
                "leave it out of the targets."
            )
        _refuse_overlap(path, sorted(spans[path]))
        layer = Layer(modules[path])
        sites += [Site(path, layer, *span, by_weight=_read(path, modules)) for span in sorted(spans[path])]
    return sites


def module_names(network: nn.Module, targets: Targets, groups: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The paths of the whole layers that `targets` names, for libraries that know no row slices.

    A group's slices fall back to the whole layer; a slice that a person wrote is refused. A pattern that
    matches no adaptable layer may name any modules that hold parameters of their own (norms, embeddings).
    """
    modules = dict(network.named_modules())
    found = set()
    for path, pattern in _matches(modules, targets, groups or {}, only_adaptable=False):
        if pattern.rows is not None and pattern.own:
            raise UserError(f"peft adapts whole layers, so the rows in the target {pattern.text!r} cannot be named.")
        found.add(path)
    return [path for path in modules if path in found]


def _matches(
    modules: dict[str, nn.Module],
    targets: Targets,
    groups: Mapping[str, Sequence[str]],
    only_adaptable: bool = True,
) -> Iterator[tuple[str, _Pattern]]:
    """Every (path, pattern) that goes together; UserError for a name that matches nothing."""
    adaptable = {path: found for path, module in modules.items() if path and (found := kind(module))}
    for several in [targets] if isinstance(targets, str) else targets:
        target, patterns, hits = _first(several, adaptable, groups)
        if not hits and not only_adaptable:
            hits = [(path, pattern) for pattern in patterns for path in _owners(modules) if pattern.matches(path)]
        if not hits:
            raise UserError(_nothing(target, patterns, modules, list(adaptable), groups))
        yield from hits


def _first(
    several: str, adaptable: Mapping[str, str], groups: Mapping[str, Sequence[str]]
) -> tuple[str, list[_Pattern], list[tuple[str, _Pattern]]]:
    """Of alternatives (`attention|conv`) the first that matches something, the last where none does."""
    for target in several.split("|"):
        patterns = _patterns(target, groups)
        hits = [(path, pattern) for pattern in patterns for path in adaptable if pattern.matches(path)]
        if not patterns:
            hits = [
                (path, _Pattern(path, path, None, False)) for path in adaptable if adaptable[path] in _KINDS[target]
            ]
        if hits:
            break
    return target, patterns, hits


def _patterns(target: str, groups: Mapping[str, Sequence[str]]) -> list[_Pattern]:
    """The patterns a target stands for; none for the groups that go by the kind of the layer."""
    if target in groups or target in GROUPS:
        texts, own = groups.get(target) or GROUPS[target], False
    elif target in _KINDS:
        return []
    else:
        texts, own = [target], True
    patterns = []
    for text in texts:
        found = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", text)
        if found is None:
            raise UserError(
                f"{text!r} is not a target: write a path or pattern, and rows as [q,v] or [0:384] after it."
            )
        patterns.append(_Pattern(text, found[1], found[2], own))
    return patterns


def _owners(modules: dict[str, nn.Module]) -> list[str]:
    return [path for path, module in modules.items() if path and any(True for _ in module.parameters(recurse=False))]


def _nothing(
    target: str,
    patterns: list[_Pattern],
    modules: dict[str, nn.Module],
    adaptable: list[str],
    groups: Mapping[str, Sequence[str]],
) -> str:
    """The sentence for a target without a layer."""
    for pattern in patterns:
        named = [path for path in modules if path and pattern.own and pattern.matches(path)]
        if named:
            return f"The target {target!r} names {named[0]}, which {why_not(modules[named[0]])}."
    if not adaptable:
        return f"The target {target!r} matches nothing: the network has no adaptable layer."
    known = sorted({*groups, *GROUPS, *_KINDS})
    some = ", ".join(adaptable[:: max(1, len(adaptable) // 4)][:4])
    tails = {tail for path in adaptable for tail in (path, path.rpartition(".")[2])}
    hint = "" if target in known else nearest(target.partition("[")[0], [*known, *tails])
    what = "group" if target in known else "target"
    return (
        f"The {what} {target!r} matches no layer of this network.{hint} "
        f"Layers are for example {some}; groups are {', '.join(known)}."
    )


def _spans(path: str, modules: dict[str, nn.Module], pattern: _Pattern) -> list[tuple[int, int]]:
    """The row ranges of `path` that the pattern's brackets name."""
    layer = Layer(modules[path])
    if pattern.rows is None:
        return [(0, layer.out)]
    if layer.groups > 1:
        raise UserError(f"{path} is a grouped convolution, whose rows cannot be adapted apart; name it without rows.")
    return [_span(path, modules, layer.out, part.strip(), pattern.text) for part in pattern.rows.split(",")]


def _span(path: str, modules: dict[str, nn.Module], out: int, part: str, text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"(\d*):(\d*)", part)
    if numbers:
        start, stop = int(numbers[1] or 0), int(numbers[2] or out)
        if not 0 <= start < stop <= out:
            raise UserError(f"The rows [{part}] of the target {text!r} do not lie in {path}, which has {out} rows.")
        return start, stop
    parent, _, name = path.rpartition(".")
    blocks = _BLOCKS.get(name, "qkv")
    if part not in blocks or len(part) != 1:
        raise UserError(f"{part!r} in the target {text!r} is no block of {path}: they are {', '.join(blocks)}.")
    owner = modules[parent]
    by_head = name in _HEAD_BY_HEAD_NAMES or type(owner).__module__ in _HEAD_BY_HEAD_MODULES
    if by_head or getattr(owner, "head_first", False):
        raise UserError(f"{path} holds its rows head by head, so [{part}] is no block of it; name it without rows.")
    if out % len(blocks):
        raise UserError(f"The {out} rows of {path} do not divide into {len(blocks)} blocks ({text!r}).")
    size = out // len(blocks)
    return blocks.index(part) * size, (blocks.index(part) + 1) * size


def _refuse_overlap(path: str, spans: list[tuple[int, int]]) -> None:
    for one, other in pairwise(spans):
        if other[0] < one[1]:
            first, second = (f"[{start}:{stop}]" for start, stop in (one, other))
            raise UserError(f"Two targets claim the same rows of {path}: {first} and {second}.")


def _tied(modules: dict[str, nn.Module]) -> dict[str, str]:
    """For each layer that shares a parameter with another module, the words that say so."""
    owners: dict[int, list[tuple[str, str]]] = {}
    for path, module in modules.items():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append((path, name))
    tied = {}
    for shared in (shared for shared in owners.values() if len(shared) > 1):
        for path, name in shared:
            other = next(".".join(where) for where in shared if where != (path, name))
            if path not in tied or name == "weight":
                tied[path] = f"its {name} is tied to {other}"
    return tied


def _read(path: str, modules: dict[str, nn.Module]) -> bool:
    parent, _, name = path.rpartition(".")
    return any(
        name in _READERS.get(f"{base.__module__}.{base.__qualname__}", ()) for base in type(modules[parent]).__mro__
    )
