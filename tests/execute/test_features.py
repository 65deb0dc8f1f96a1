"""What a backbone gives beside pooled features: tokens with their mask, maps of several depths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.errors import UserError
from bench.data.access import Access
from bench.declarations.catalog import Catalog
from bench.execute.backbones import Backbone, Origin, make_backbone

from .conftest import Go


def twin(name: str, inputs: list[str] | None = None) -> Backbone:
    declared = Catalog.find().backbone(name)
    task: dict[str, Any] = {"name": "t", "image": {"size": 32, "channels": 3}, "inputs": inputs or ["image"]}
    torch.manual_seed(0)
    return make_backbone(Origin(declared.body, task, declared.home, Access.from_environment(True), True)).eval()


def pixels(count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


@pytest.mark.parametrize(("name", "tokens"), [("dino-b16", 16), ("shapes", 64), ("mobilenetv2", 1)])
def test_tokens_of_images_are_patches_or_places(name: str, tokens: int) -> None:
    backbone = twin(name)
    with torch.no_grad():
        features = backbone.features(pixels(), ["tokens"])
        torch.testing.assert_close(features.pooled, backbone(pixels()))
    assert features.tokens is not None
    assert features.tokens.shape == (2, tokens, *backbone.widths("tokens"))
    if name == "shapes":  # its pooled features are the mean of its tokens under the last norm
        assert features.mask is None


def test_tokens_of_texts_come_with_their_mask() -> None:
    backbone = twin("minilm", ["sentence"])
    encoded = backbone.encoder([("w1 w2 w3",), ("w4",)])
    with torch.no_grad():
        features = backbone.features(encoded, ["tokens"])
        torch.testing.assert_close(features.pooled, backbone(encoded))
    assert features.tokens is not None
    assert features.mask is not None
    assert features.mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    share = features.mask[..., None].float()
    mean = (features.tokens * share).sum(1) / share.sum(1)
    torch.testing.assert_close(features.pooled, mean)


@pytest.mark.parametrize("name", ["dino-b16", "mobilenetv2", "resnet-unet"])
def test_maps_of_several_depths(name: str) -> None:
    backbone = twin(name)
    with torch.no_grad():
        features = backbone.features(pixels(), ["maps"])
        torch.testing.assert_close(features.pooled, backbone(pixels()))
    assert tuple(one.shape[1] for one in features.maps) == backbone.widths("maps")
    assert all(one.ndim == 4 for one in features.maps)
    if name == "resnet-unet":
        assert torch.equal(features.maps[-1], features.pooled)
        sizes = [one.shape[-1] for one in features.maps]
        assert sizes == sorted(sizes)


def test_what_a_backbone_does_not_give_is_a_sentence() -> None:
    backbone = twin("mlp", ["a", "b"])
    with pytest.raises(UserError, match=r"asks for tokens; this backbone \(MlpBackbone\) gives pooled features\."):
        backbone.features(torch.zeros(2, 2), ["tokens"])
    with pytest.raises(UserError, match="gives pooled features, maps"):
        twin("resnet-unet").widths("tokens")


DEEP = '''
"""Every level of the decoder predicts, enlarged and averaged."""

import torch
from torch import nn
from torch.nn.functional import interpolate

from bench import Head


class Deep(Head):
    wants = ("maps",)

    def build(self):
        self.levels = nn.ModuleList(nn.Conv2d(width, self.info.outputs, 1) for width in self.info.widths["maps"])

    def forward(self, features):
        size = features.maps[-1].shape[-2:]
        return torch.stack([interpolate(level(at), size) for level, at in zip(self.levels, features.maps)]).mean(0)
'''


def test_a_head_on_several_depths_of_a_decoder(toy: Path, go: Go) -> None:
    (toy / "methods/kinds/deep.py").write_text(DEEP)
    (toy / "methods/kinds/deep.yaml").write_text('title: Deep\nhead: {head: "deep:Deep"}\n')
    store, (row,) = go("deep=demo/cells", "task.backbone=resnet-unet", twin=True)
    assert row["state"] == "done", store.error(row["key"])
    _, rows = go("deep=demo/cells", twin=True)  # its own backbone gives features at every pixel alone
    assert rows == []
