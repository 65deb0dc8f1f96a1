"""Parameter groups: which rates a parameter has, and what an optimizer is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from bench.execute.adapters.training import is_norm, plain

if TYPE_CHECKING:
    from bench.execute.method import Method

ROLES = ("head", "added", "backbone", "objective", "method")


def parameter_groups(
    method: Method, declared: Mapping[str, Any], wanted: Iterable[nn.Parameter] | None, apart: bool
) -> list[dict[str, Any]]:
    """Groups of the `wanted` parameters: the adaptation's own, then the rest.

    Biases and normalisation weights do not decay. With `apart` the parameters of different role, kind and adapter
    stand in different groups, whose keys `names`, `role`, `kind` and `adapter` say so.
    """
    chosen = {id(parameter) for parameter in (method.parameters() if wanted is None else wanted)}
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    norms = {id(one) for module in method.modules() if is_norm(module) for one in module.parameters(recurse=False)}
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}

    def put(parameter: nn.Parameter, rates: Mapping[str, Any], place: int) -> None:
        name = names[id(parameter)]
        described = describe(method, name, parameter, id(parameter) in norms) if apart else {}
        key = (place, *((word, str(value)) for word, value in rates.items()), *described.values())
        group = groups.setdefault(key, {**rates, **described, "params": [], **({"names": []} if apart else {})})
        group["params"].append(parameter)
        if apart:
            group["names"].append(name)

    taken: set[int] = set()
    for place, own in enumerate(method.adaptation.param_groups(declared)):
        rates = {key: value for key, value in own.items() if key != "params"}
        for parameter in own["params"]:
            taken.add(id(parameter))
            if id(parameter) in chosen:
                put(parameter, rates, place)
    head_lr = declared["lr"] if declared.get("head_lr") is None else declared["head_lr"]
    for name, parameter in method.named_parameters():
        if parameter.requires_grad and id(parameter) in chosen and id(parameter) not in taken:
            rate = head_lr if name.startswith("head.") else declared["lr"]
            decay = declared["weight_decay"] if parameter.ndim > 1 else 0.0
            put(parameter, {"lr": rate, "weight_decay": decay}, -1)
    return list(groups.values())


def role(method: Method, name: str) -> str:
    """Whose a parameter is: the head's, the adaptation's, the backbone's own, the objective's or the method's."""
    first = name.partition(".")[0]
    if first == "backbone":
        return "backbone" if published_name(name) in method.published else "added"
    return {"head": "head", "adaptation": "added", "objective": "objective"}.get(first, "method")


def published_name(name: str) -> str:
    """A tensor's name without the detours that a parametrization, or a layer of peft's, puts into it."""
    return plain(name).replace(".base_layer.", ".")


def describe(method: Method, name: str, parameter: nn.Parameter, norm: bool) -> dict[str, Any]:
    """What a group says of its parameters."""
    kind = "norm" if norm else "bias" if name.endswith("bias") else "weight"
    return {"role": role(method, name), "kind": kind, "adapter": method.adaptation.adapter_label(name)}
