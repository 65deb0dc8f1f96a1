"""Backbones that give features at every pixel: MONAI's networks, and timm's encoders under a decoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.core.errors import UserError
from bench.data.access import Access
from bench.declarations.catalog import Catalog
from bench.execute.adapters import make_adaptation
from bench.execute.adapters.targets import resolve
from bench.execute.backbones import Backbone, Origin, make_backbone
from bench.execute.head import LinearHead
from bench.execute.parts import Info, ready

DECLARED = ["unet", "attention-unet", "unetr", "swin-unetr", "segresnet", "resnet-unet"]
SMALL: dict[str, Any] = {"channels": [4, 8], "strides": [2], "dim": 3}
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


def twin(name: str, size: int = 24, channels: int = 3) -> Backbone:
    torch.manual_seed(0)
    declared = Catalog.find().backbone(name)
    task = {"name": "t", "image": {"size": size, "channels": channels}}
    return make_backbone(Origin(declared.body, task, declared.home, Access(Path("/nowhere")), True))


def monai(home: Path = Path("/nowhere"), channels: int = 1, size: int = 16, **declared: Any) -> Backbone:
    torch.manual_seed(0)
    body = {"library": "monai", "name": "UNet", "args": SMALL, **declared}
    task = {"name": "t", "image": {"size": size, "channels": channels}}
    return make_backbone(Origin(body, task, home, Access(home), False))


def encoder(home: Path, mirror: Path | None = None, **declared: Any) -> Backbone:
    body = {"library": "encoder", "name": "someone/tiny", "args": {"dim": 4, "widths": [8]}, **declared}
    task = {"name": "t", "image": {"size": 32, "channels": 3}}
    return make_backbone(Origin(body, task, home, Access(home, mirror, True), False))


def images(count: int, channels: int, size: int, seed: int = 0) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=drawn)


@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize(("size", "channels"), [(32, 3), (21, 1)])
def test_features_at_every_pixel_that_every_weight_shapes(name: str, size: int, channels: int) -> None:
    """At any size, for grey images and colours; a network of one channel is built for one."""
    backbone = twin(name, size, channels)
    head = ready(LinearHead(), Info(width=backbone.dim, outputs=3))
    found = backbone(images(2, channels, size))
    assert found.shape == (2, backbone.dim, size, size)
    outputs = head(found)
    assert outputs.shape == (2, 3, size, size)
    outputs.square().mean().backward()
    assert [path for path, weight in backbone.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("name", DECLARED)
def test_a_prediction_does_not_depend_on_its_batch(name: str) -> None:
    backbone, inputs = twin(name).eval(), images(3, 3, 24)
    with torch.no_grad():
        together = backbone(inputs)
        alone = torch.cat([backbone(inputs[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert together.std() > 0


@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize("train", ["all", "none", ["bias"], ["norm"]])
def test_what_trains_moves_and_reaches_the_output(name: str, train: Any) -> None:
    """`unetr` and `swin-unetr` have norms in their transformers; every other network has them in its blocks."""
    backbone = twin(name)
    adaptation = make_adaptation(backbone.network, {"train": train}, backbone.groups)
    adaptation.attach()
    ready(LinearHead(), Info(width=backbone.dim, outputs=2))(backbone(images(2, 3, 24))).square().mean().backward()
    moving = [weight for weight in backbone.network.parameters() if weight.requires_grad]
    assert bool(moving) == (train != "none")
    assert all(weight.grad is not None for weight in moving)
    assert all(weight.grad is None for weight in backbone.network.parameters() if not weight.requires_grad)


@pytest.mark.parametrize("name", DECLARED)
def test_lora_on_every_group_is_used(name: str) -> None:
    for target in ["conv", *twin(name).groups]:
        backbone = twin(name)
        before = backbone.eval()(images(2, 3, 24)).detach()
        lora = {"adapter": "lora:LoRA", "params": {"rank": 2}, "targets": target}
        home = Catalog.find().method("lora").home
        adaptation = make_adaptation(backbone.network, lora, backbone.groups, home)
        adaptation.attach()
        found = backbone(images(2, 3, 24))
        torch.testing.assert_close(found, before, atol=1e-5, rtol=1e-4)
        found.square().mean().backward()
        adaptation.check_used()


@pytest.mark.parametrize("name", DECLARED)
def test_groups_name_layers_of_the_network_as_declared(name: str) -> None:
    declared = Catalog.find().backbone(name)
    if declared.body["library"] == "encoder":
        pytest.skip("its weights are on the hub")
    task = {"name": "t", "image": {"size": 256, "channels": 3}}
    # Swin UNETR reads numbers while it is built, which a tensor without memory does not have.
    with nullcontext() if name == "swin-unetr" else torch.device("meta"):
        backbone = make_backbone(Origin(declared.body, task, declared.home, Access(Path("/nowhere")), False))
    assert sum(weight.numel() for weight in backbone.network.parameters()) == declared.body["parameters"]
    for group, patterns in backbone.groups.items():
        for pattern in patterns:
            assert resolve(backbone.network, pattern), f"{group} of {name}: {pattern}"


def test_the_features_are_those_of_monais_network_on_standardised_pixels() -> None:
    backbone, inputs = monai(channels=3), images(2, 3, 16)
    pixels = inputs.double()
    means, variances = pixels.mean((2, 3), keepdim=True), pixels.var((2, 3), keepdim=True, correction=0)
    expected = backbone.network(((pixels - means) / variances.sqrt()).float())
    torch.testing.assert_close(backbone(inputs), expected, atol=1e-3, rtol=1e-3)


def test_a_dark_image_is_the_same_image() -> None:
    """Brightness and contrast of a scanner say nothing; an image of one value has features all the same."""
    backbone, inputs = monai(), images(1, 1, 16) // 2
    torch.testing.assert_close(backbone(inputs), backbone(inputs * 2), atol=1e-3, rtol=1e-3)
    assert backbone(torch.full((1, 1, 16, 16), 7, dtype=torch.uint8)).isfinite().all()


def test_a_padded_image_keeps_its_place() -> None:
    """What changes most where a few pixels change are the features at those pixels, though 15 x 15 is padded."""
    backbone = monai(size=15).eval()
    inputs = images(1, 1, 15)
    changed = inputs.clone()
    changed[..., 10:13, 2:5] = 255 - changed[..., 10:13, 2:5]
    moved = (backbone(changed) - backbone(inputs)).abs().sum(1)[0]
    assert moved.shape == (15, 15)
    assert moved[10:13, 2:5].mean() > 3 * moved[:8, 7:].mean()


def test_weights_beside_a_declaration_are_loaded(tmp_path: Path) -> None:
    first = monai()
    state = {name: tensor + 1 for name, tensor in first.network.state_dict().items()}
    save_file(state, tmp_path / "small.safetensors")
    found = monai(tmp_path, weights="small.safetensors").network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    with pytest.raises(UserError, match="do not fit the declared architecture"):
        monai(tmp_path, weights="small.safetensors", args={**SMALL, "channels": [4, 16]})


def test_mistakes_in_a_declaration_are_sentences() -> None:
    with pytest.raises(UserError, match='not .Unet.. Did you mean "UNet"'):
        monai(name="Unet")
    with pytest.raises(UserError, match='args of UNet are dim, channels.* Did you mean "channels"'):
        monai(args={"strides": [2], "chanels": [4, 8]})
    with pytest.raises(UserError, match="cannot make UNet.*'strides'"):
        monai(args={"channels": [4, 8]})
    with pytest.raises(UserError, match="not 'in_channels'"):
        monai(args={**SMALL, "in_channels": 2})


def published(root: Path, architecture: str, **args: Any) -> Path:
    """An architecture with its classifier in a mirror, as timm saves it."""
    import timm

    torch.manual_seed(1)
    folder = root / "mirror" / "models" / "someone" / "tiny"
    folder.mkdir(parents=True)
    network = timm.create_model(architecture, num_classes=5, **args)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.normal_(buffer)
    save_file(network.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architecture": architecture, "num_classes": 5, "model_args": args}
    config["pretrained_cfg"] = {"input_size": [3, 32, 32], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def mirrored(tmp_path: Path) -> Path:
    return published(tmp_path, "resnet18", **TINY)


def test_an_encoders_weights_and_its_normalisation_come_from_the_repository(mirrored: Path, tmp_path: Path) -> None:
    backbone = encoder(tmp_path, tmp_path / "mirror")
    state = load_file(mirrored / "model.safetensors")
    found = backbone.network.state_dict()
    assert found
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())
    inputs, seen = images(1, 3, 32), []
    backbone.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    backbone.eval()(inputs)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    torch.testing.assert_close(seen[0], (inputs / 255 - mean) / std)


@pytest.mark.parametrize(
    ("architecture", "args", "lost"),
    [("resnet18", TINY, "layer3.0.conv1.weight"), ("mobilenetv2_035", {}, "blocks.3.0.conv_dw.weight")],
)
def test_an_encoder_whose_weights_are_not_all_there_is_refused(
    architecture: str, args: dict[str, Any], lost: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the second kind timm itself would leave them random; those of the classifier are no loss."""
    folder = published(tmp_path, architecture, **args)
    encoder(tmp_path, tmp_path / "mirror")
    assert caplog.records == []
    state = load_file(folder / "model.safetensors")
    del state[lost]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"Missing key.*{lost}"):
        encoder(tmp_path, tmp_path / "mirror")


def test_the_decoder_is_trained_when_the_encoder_stands_still(mirrored: Path, tmp_path: Path) -> None:
    backbone = encoder(tmp_path, tmp_path / "mirror")
    make_adaptation(backbone.network, {"train": "none"}, backbone.groups).attach()
    trained = {name for name, weight in backbone.named_parameters() if weight.requires_grad}
    assert trained == {f"decoder.{name}" for name, _ in backbone.get_submodule("decoder").named_parameters()}


def test_grey_images_reach_an_encoder_of_colours(mirrored: Path, tmp_path: Path) -> None:
    backbone, grey = encoder(tmp_path, tmp_path / "mirror").eval(), images(2, 1, 32)
    torch.testing.assert_close(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)))


def test_an_architecture_that_has_no_feature_maps_is_a_sentence(tmp_path: Path) -> None:
    declared: Mapping[str, Any] = {"library": "encoder", "name": "mixer_s32_224", "args": {}, "twin": {"dpeth": 1}}
    task = {"name": "t", "image": {"size": 32, "channels": 3}}
    with pytest.raises(UserError, match="timm cannot make an encoder of mixer_s32_224"):
        make_backbone(Origin(declared, task, tmp_path, Access(tmp_path), True))


def test_a_published_encoder(mirror: Path, tmp_path: Path) -> None:
    backbone = encoder(tmp_path, mirror, name="timm/mobilenetv2_100.tflite_in1k")
    state = load_file(mirror / "models" / "timm" / "mobilenetv2_100.tflite_in1k" / "model.safetensors")
    found = backbone.network.state_dict()
    same = [name for name, tensor in found.items() if name in state and torch.equal(tensor, state[name])]
    assert len(same) == len(found)
    assert backbone.eval()(images(1, 3, 40)).shape == (1, 4, 40, 40)
