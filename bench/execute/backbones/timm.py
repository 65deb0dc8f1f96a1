"""Image backbones from timm: by architecture name, by hub name, or from a local folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bench.core.errors import UserError, first_line, nearest
from bench.execute.backbones import Backbone, Features, ImageEncoder, Origin, load_weights


class TimmBackbone(Backbone):
    """Pixels are scaled to 0..1, normalised as in pretraining, and resized where the architecture has a fixed size."""

    offers = ("tokens", "maps")
    _mean: Tensor
    _std: Tensor

    def __init__(self, network: nn.Module, groups: dict[str, list[str]], config: dict[str, Any]) -> None:
        # What a network without its classifier gives: in some, a hidden layer of the head follows the features.
        dim: Any = getattr(network, "head_hidden_size", None) or network.num_features
        super().__init__(network, int(dim), ImageEncoder(), groups)
        self._config = config
        pretrained: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
        self._channels = int(config.get("in_chans") or pretrained.get("input_size", (3,))[0])
        for name, default in (("mean", 0.5), ("std", 0.5)):
            values = list(config.get(name) or pretrained.get(name) or [default])[: self._channels]
            values = values if len(values) == self._channels else [default] * self._channels
            self.register_buffer(f"_{name}", torch.tensor(values).view(1, -1, 1, 1), persistent=False)
        self._size = _fixed_size(network)

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.network(self._pixels(inputs))
        return features

    def features(self, inputs: Tensor, wants: Sequence[str]) -> Features:
        """Tokens are patches, or the places of a convolutional network's last map; maps are those of each stage."""
        self.refuse(wants)
        network: Any = self.network
        pixels, maps = self._pixels(inputs), ()
        if "maps" in wants:
            last, found = network.forward_intermediates(pixels, output_fmt="NCHW")
            maps = tuple(found)
        else:
            last = network.forward_features(pixels)
        pooled = network.forward_head(last)
        return Features(pooled, self._tokens(last) if "tokens" in wants else None, None, maps)

    def widths(self, want: str) -> tuple[int, ...]:
        self.refuse([want])
        network: Any = self.network
        if want == "tokens":
            return (int(network.num_features),)
        if not hasattr(network, "forward_intermediates"):
            raise UserError(f"timm's {type(network).__name__} gives no maps of its stages.")
        return tuple(int(stage["num_chs"]) for stage in network.feature_info)

    def _pixels(self, inputs: Tensor) -> Tensor:
        pixels = inputs.float() / 255
        if pixels.shape[1] != self._channels:
            pixels = pixels.mean(1, keepdim=True).expand(-1, self._channels, -1, -1)
        if self._size is not None and tuple(pixels.shape[-2:]) != self._size:
            pixels = interpolate(pixels, self._size, mode="bilinear", align_corners=False)
        return (pixels - self._mean) / self._std

    def _tokens(self, last: Tensor) -> Tensor:
        if last.ndim == 4:
            places_last = last.shape[-1] == self.network.num_features != last.shape[1]
            return (last if places_last else last.permute(0, 2, 3, 1)).flatten(1, 2)
        return last[:, int(getattr(self.network, "num_prefix_tokens", 0)) :]  # type: ignore[arg-type]

    def save(self, folder: Path) -> None:
        """`model.safetensors` and `config.json`: `timm.create_model("local-dir:FOLDER", pretrained=True)` opens it."""
        from safetensors.torch import save_file

        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(self._config, indent=1, sort_keys=True) + "\n")


def make(origin: Origin) -> Backbone:
    """Build the architecture and load its weights."""
    import timm

    declared = origin.declared
    groups = dict(declared.get("targets") or {})
    args = {**(declared.get("args") or {})}
    stats = {name: args.pop(name) for name in ("mean", "std") if name in args}
    if origin.twin and declared["library"] == "local":
        raise UserError("A twin needs a backbone that is declared or named by its library, not a local folder.")
    if origin.twin:
        args.update(declared.get("twin") or {})
        network = _create(str(declared["name"]).split("/")[-1].split(".")[0], args, pretrained=False)
        return TimmBackbone(network, groups, _config(network, args, stats))
    if declared.get("weights"):
        network = _create(str(declared["name"]), args, pretrained=False)
        load_weights(network, origin.home / str(declared["weights"]))
        return TimmBackbone(network, groups, _config(network, args, stats))
    name = str(declared["name"])
    unpinned = "/" not in name and "." not in name and origin.access.mirrored("models", "timm", name) is None
    if unpinned and declared["library"] == "timm":
        return TimmBackbone(*_default(timm, origin, name, args, groups))
    network = _create(f"local-dir:{origin.folder()}", args, pretrained=True)
    return TimmBackbone(network, groups, _config(network, args, stats))


def _default(timm: Any, origin: Origin, name: str, args: dict[str, Any], groups: dict[str, list[str]]) -> Any:
    """An architecture named without a tag: timm's own default weights of that release."""
    if not timm.is_model(name):
        raise UserError(f"timm has no architecture {name!r}.{nearest(name, timm.list_models())}")
    if origin.access.offline:
        raise UserError(f"The weights of {name} must come from the hub, and --offline forbids it.")
    try:
        network = _create(name, args, pretrained=True)
    except Exception as error:
        raise UserError(f"timm's weights of {name} cannot be fetched: {first_line(error)}") from None
    return network, groups, _config(network, args, {})


def _create(name: str, args: dict[str, Any], pretrained: bool) -> nn.Module:
    import timm

    try:
        made: nn.Module = timm.create_model(name, pretrained=pretrained, **{"num_classes": 0, **args})
    except (RuntimeError, TypeError, ValueError, OSError, KeyError) as error:
        raise UserError(f"timm cannot make {name.removeprefix('local-dir:')}: {first_line(error)}") from None
    return made


def _config(network: nn.Module, args: dict[str, Any], stats: dict[str, Any]) -> dict[str, Any]:
    pretrained: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
    kept = {key: pretrained.get(key) for key in ("input_size", "mean", "std", "architecture")}
    channels = args.get("in_chans")
    return {
        "architecture": kept["architecture"],
        "num_classes": 0,
        "num_features": int(network.num_features),  # type: ignore[arg-type]
        "model_args": {key: value for key, value in args.items() if key != "num_classes"},
        "pretrained_cfg": {**{k: v for k, v in kept.items() if k != "architecture" and v}, **stats},
        **stats,
        **({"in_chans": channels} if channels else {}),
    }


def _fixed_size(network: nn.Module) -> tuple[int, int] | None:
    """The image size an architecture insists on (position embeddings), None for one that takes any."""
    embedding = getattr(network, "patch_embed", None)
    size = getattr(embedding, "img_size", None)
    return (int(size[0]), int(size[1])) if size is not None else None
