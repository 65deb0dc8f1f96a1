"""Backbones: the pretrained network under one small interface. One file per library it comes from."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench.core.errors import UserError, first_line
from bench.data.access import Access
from bench.data.repository import snapshot


class Encoder(Protocol):
    """Raw inputs of some rows -> the tensors a network takes; runs in loader workers, holds no network."""

    def __call__(self, raw: Any) -> Any: ...


@dataclass(frozen=True)
class Features:
    """What a backbone found in a batch, as far as the head asked for it (`Head.wants`)."""

    pooled: Tensor  # (rows, dim), or (rows, dim, height, width) of a backbone with features at every pixel
    tokens: Tensor | None = None  # (rows, count, width): words, patches or places, without class or register tokens
    mask: Tensor | None = None  # (rows, count), true where a token is no padding
    maps: tuple[Tensor, ...] = ()  # (rows, width, height, width) of several depths, from early to late


class Backbone(nn.Module):
    """A pretrained network: inputs -> features (batch, dim). Adapters are put on `network`.

    `features` gives more on request, of the same forward pass: `tokens`, `maps`. `offers` names what a kind has.
    """

    offers: tuple[str, ...] = ()

    network: nn.Module
    dim: int
    groups: Mapping[str, list[str]]
    encoder: Encoder

    def __init__(self, network: nn.Module, dim: int, encoder: Encoder, groups: Mapping[str, list[str]]) -> None:
        super().__init__()
        self.network, self.dim, self.groups = network, dim, groups
        object.__setattr__(self, "encoder", encoder)

    def forward(self, inputs: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not say how inputs become features")

    def features(self, inputs: Any, wants: Sequence[str]) -> Features:
        """The pooled features and what else is wanted."""
        self.refuse(wants)
        return Features(self(inputs))

    def widths(self, want: str) -> tuple[int, ...]:
        """How wide what is wanted is: of tokens one number, of maps one for each depth; UserError where it has none."""
        self.refuse([want])
        raise NotImplementedError(f"{type(self).__name__} offers {want} and does not say how wide they are")

    def refuse(self, wants: Sequence[str]) -> None:
        """UserError for what this backbone does not offer."""
        for want in wants:
            if want not in self.offers:
                there = ", ".join(["pooled features", *self.offers])
                raise UserError(f"The head asks for {want}; this backbone ({type(self).__name__}) gives {there}.")

    def save(self, folder: Path) -> None:
        """Write the network with its present weights in its library's own layout, so that the library opens it."""
        raise UserError(f"A backbone of the kind {type(self).__name__} has no layout to be exported in.")


@dataclass(frozen=True)
class Origin:
    """What a backbone is made from: its declaration, the task's inputs, where bytes may come from."""

    declared: Mapping[str, Any]
    task: Mapping[str, Any]
    home: Path
    access: Access
    twin: bool
    revision: str | None = None  # the commit that the run's key names

    def folder(self) -> Path:
        """The folder of the weights: the local one, that beside the declaration, the mirror's, or the hub's."""
        if self.declared["library"] == "local":
            return self.home
        if self.declared.get("weights"):
            beside = self.home / str(self.declared["weights"])
            if not beside.is_dir():
                raise UserError(f"{beside} is no folder; with {self.library()}, weights name the folder it wrote.")
            return beside
        name = str(self.declared["name"])
        repository = name if "/" in name else f"timm/{name}"
        if self.declared["library"] == "transformers":
            repository = name
        here = self.access.mirrored("models", *repository.split("/"))
        return here or snapshot("model", repository, self.revision, self.access)

    def library(self) -> str:
        """timm, transformers or file; a local folder is recognised by its config.json."""
        if self.declared["library"] != "local":
            return str(self.declared["library"])
        from bench.core.files import read_json

        config = self.home / "config.json"
        try:
            keys = read_json(config)
        except (OSError, ValueError):
            raise UserError(
                f"{config} cannot be read; a local backbone is a folder that timm or transformers wrote."
            ) from None
        if "architecture" in keys:
            return "timm"
        if "model_type" in keys:
            return "transformers"
        raise UserError(f"{config} names neither timm's `architecture` nor transformers' `model_type`.")


def make_backbone(origin: Origin) -> Backbone:
    """The backbone of a run with its pretrained weights; UserError when they cannot be had or do not fit."""
    module = importlib.import_module(f"bench.execute.backbones.{origin.library()}")
    made: Backbone = module.make(origin)
    return made


def load_weights(network: nn.Module, file: Path) -> None:
    """Read a safetensors file into a network, every tensor of it; UserError where it does not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(file)
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"The weights {file} do not fit the declared architecture: {first_line(error)}") from None


class ImageEncoder:
    """uint8 (rows, height, width, channels) -> uint8 tensor (rows, channels, height, width)."""

    def __call__(self, raw: Any) -> Tensor:
        return torch.from_numpy(raw).permute(0, 3, 1, 2).contiguous()
