"""Trained adapters in the form that the peft library opens.

The folder holds `adapter_model.safetensors` (`base_model.model.{layer}.{tensor}.weight`) and
`adapter_config.json`. `layer` is the path inside the network that was adapted; a user opens the folder on
that same network.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.core.files import write_atomic, write_json
from bench.execute.adapters.layers import Layer

if TYPE_CHECKING:
    from bench.execute.adapters.adapter import Adapter


def save_peft(folder: Path, adapters: list[Adapter], modules: Iterable[str], name_or_path: str | None = None) -> bool:
    """Write the adapters of a network with these module paths into `folder` in peft's form.

    False, and nothing written, where peft has no form for one of them.
    """
    layers: dict[str, list[Adapter]] = {}
    for adapter in adapters:
        layers.setdefault(adapter.site.path, []).append(adapter)
    forms = {path: _layer_form(parts) for path, parts in layers.items()}
    configs = [form[0] for form in forms.values() if form is not None]
    if len(configs) < max(len(forms), 1):
        return False
    common = _common(dict(zip(forms, configs, strict=True)))
    if common is None:
        return False
    tensors = {
        f"base_model.model.{path}.{name}.weight": tensor.detach().cpu().contiguous()
        for path, form in forms.items()
        if form is not None
        for name, tensor in form[1].items()
    }
    config = {
        **common,
        "target_modules": exact_targets(layers, modules),
        "base_model_name_or_path": name_or_path,
        "bias": "none",
        "task_type": None,
        "inference_mode": True,
        "fan_in_fan_out": any(parts[0].site.layer.transposed for parts in layers.values()),
    }
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "adapter_model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_json(folder / "adapter_config.json", config)
    return True


def exact_targets(paths: Iterable[str], modules: Iterable[str]) -> list[str] | str:
    """peft's `target_modules` for exactly `paths`: a list, or an expression where one is another's tail."""
    wanted = sorted(paths)
    strangers = set(modules) - set(wanted)
    if any(stranger.endswith(f".{path}") for path in wanted for stranger in strangers):
        return "|".join(path.replace(".", r"\.") for path in wanted)
    return wanted


def _layer_form(parts: list[Adapter]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """The form of one layer; the low-rank products of row blocks are one product over all their ranks."""
    forms = [part.peft_form() for part in parts]
    if any(form is None for form in forms) or not _peft_can(parts[0].site.layer):
        return None
    known = [form for form in forms if form is not None]
    if len(parts) == 1 and parts[0].site.whole:
        return known[0]
    config, tensors = known[0]
    if config.get("peft_type") != "LORA" or set(tensors) != {"lora_A", "lora_B"}:
        return None
    out = parts[0].site.layer.out
    lifted = [torch.zeros(out, *form[1]["lora_B"].shape[1:]).to(form[1]["lora_B"]) for form in known]
    for whole, part, form in zip(lifted, parts, known, strict=True):
        whole[part.site.rows] = form[1]["lora_B"].detach()
    # peft scales by alpha / r, which must be the same in all blocks; their ranks add up.
    configs = [form[0] for form in known]
    if any(other["lora_alpha"] * config["r"] != config["lora_alpha"] * other["r"] for other in configs):
        return None
    stacked = {**config, **{field: sum(other[field] for other in configs) for field in ("r", "lora_alpha")}}
    joined = torch.cat([form[1]["lora_A"].detach() for form in known])
    return stacked, {"lora_A": joined, "lora_B": torch.cat(lifted, dim=1)}


def _peft_can(layer: Layer) -> bool:
    """Whether peft computes the same here: its convolutions know no dilation, padding mode or shared groups."""
    if layer.kind == "linear":
        return True
    module = layer.module
    plain = layer.groups == 1 and getattr(module, "padding_mode", "zeros") == "zeros"
    return plain and set(module.dilation) == {1} and type(module).__name__ != "Conv2dSame"  # type: ignore[arg-type]


def _common(configs: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """One configuration for all layers, with patterns where rank or alpha differ; else None."""
    first = next(iter(configs.values()))
    rest = [{**config, "r": 0, "lora_alpha": 0} for config in configs.values()]
    if any(other != rest[0] for other in rest):
        return None
    patterns: dict[str, Any] = {}
    for field, pattern in (("r", "rank_pattern"), ("lora_alpha", "alpha_pattern")):
        odd = {path: config[field] for path, config in configs.items() if config.get(field) != first.get(field)}
        if odd:
            patterns[pattern] = {path.replace(".", r"\."): value for path, value in odd.items()}
    return {**first, **patterns}
