"""Tiny networks of the architectures that adapters meet; each library is imported once for the session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

METHODS = Path(__file__).parents[3] / "methods"


@pytest.fixture(scope="session")
def lora() -> Any:
    from bench.core.loading import load

    return load("lora:LoRA", METHODS / "adapters")


@pytest.fixture(scope="session")
def libraries() -> Any:
    """timm, transformers and peft, as attributes; their warnings about themselves are not our affair."""
    import types

    import peft
    import timm
    import transformers

    return types.SimpleNamespace(timm=timm, transformers=transformers, peft=peft)


@pytest.fixture
def bert(libraries: Any) -> Callable[[], nn.Module]:
    """A maker of equal random BERTs (2 layers, 16 wide) in float64, without a pooler."""

    def make() -> nn.Module:
        torch.manual_seed(1)
        config = libraries.transformers.BertConfig(
            vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        return libraries.transformers.BertModel(config, add_pooling_layer=False).double()

    return make


@pytest.fixture
def vit(libraries: Any) -> Callable[[], nn.Module]:
    """A maker of equal random ViTs of timm's (2 blocks, 12 wide) in float64."""

    def make() -> nn.Module:
        torch.manual_seed(2)
        settings = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 0}
        return libraries.timm.models.vision_transformer.VisionTransformer(**settings).double()

    return make


@pytest.fixture
def convnet(libraries: Any) -> Callable[[], nn.Module]:
    """A maker of equal small random ResNets of timm's in float64, in evaluation mode."""

    def make() -> nn.Module:
        torch.manual_seed(3)
        resnet = libraries.timm.models.resnet
        settings = {"channels": (4, 8, 8, 8), "stem_width": 4, "num_classes": 0, "zero_init_last": False}
        network = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], **settings)
        return network.double().eval()

    return make


TOKENS = torch.arange(12).view(2, 6) % 40
IMAGES = torch.linspace(-1, 1, 2 * 3 * 8 * 8, dtype=torch.float64).view(2, 3, 8, 8).sin()


@pytest.fixture
def hidden() -> Callable[[nn.Module], torch.Tensor]:
    """A network's features for the fixed inputs of its modality."""

    def features(network: nn.Module) -> torch.Tensor:
        if hasattr(network, "embeddings") or hasattr(network, "wte"):
            return network(input_ids=TOKENS).last_hidden_state
        return network(IMAGES)

    return features
