"""LoRA against peft's LoRA: equal outputs, gradients and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.execute.adapters import Adaptation
from bench.testing.adapters import check_adapter

pytestmark = pytest.mark.filterwarnings("ignore")
CASES = {"bert": "linear", "vit": "mlp", "convnet": "conv"}
Features = Callable[[nn.Module], Tensor]


def displaced(network: nn.Module, lora: Any, targets: Any, **params: Any) -> Adaptation:
    torch.manual_seed(4)
    adaptation = Adaptation(network, adapter=lora, params=params, targets=targets)
    adaptation.attach()
    with torch.no_grad():
        for _, parameter in adaptation.named_trained():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return adaptation


def gradients(network: nn.Module, hidden: Features) -> Tensor:
    output = hidden(network)
    output.square().sum().backward()
    return output.detach()


@pytest.mark.parametrize("kind", CASES)
def test_equals_peft(kind: str, request: pytest.FixtureRequest, lora: Any, libraries: Any, hidden: Features) -> None:
    make = request.getfixturevalue(kind)
    network, theirs = make(), make()
    adaptation = displaced(network, lora, CASES[kind], rank=3, alpha=5.0)
    paths = [adapter.site.path for adapter in adaptation.adapters]
    config = libraries.peft.LoraConfig(r=3, lora_alpha=5, target_modules=paths)
    libraries.peft.PeftModel(theirs, config, autocast_adapter_dtype=False)
    twins = {}
    for path, adapter in zip(paths, adaptation.adapters, strict=True):
        layer = theirs.get_submodule(path)
        twins[path] = (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
        assert twins[path][0].shape == adapter.A.shape
        twins[path][0].data.copy_(adapter.A)
        twins[path][1].data.copy_(adapter.B)
    assert (gradients(network, hidden) - gradients(theirs, hidden)).abs().max() < 1e-10
    for path, adapter in zip(paths, adaptation.adapters, strict=True):
        for mine, other in zip((adapter.A, adapter.B), twins[path], strict=True):
            assert mine.grad.abs().max() > 0
            assert (mine.grad - other.grad).abs().max() < 1e-10 * max(1.0, float(other.grad.abs().max()))


@pytest.mark.parametrize(("kind", "targets"), [*CASES.items(), ("vit", "attention"), ("vit", ["*.qkv[q,v]", "fc1"])])
def test_peft_opens_what_is_saved(
    kind: str, targets: Any, request: pytest.FixtureRequest, lora: Any, libraries: Any, hidden: Features, tmp_path: Path
) -> None:
    make = request.getfixturevalue(kind)
    network = make()
    adaptation = displaced(network, lora, targets, rank=3, alpha=5.0)
    assert adaptation.save_adapter(tmp_path, "owner/name")
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/name"
    opened = libraries.peft.PeftModel.from_pretrained(make(), tmp_path, autocast_adapter_dtype=False)
    want = hidden(network)
    assert (hidden(opened.base_model.model) - want).abs().max() < 1e-10
    assert (hidden(make()) - want).abs().max() > 1e-3


def test_gpt2_with_transposed_weights(libraries: Any, lora: Any, hidden: Features, tmp_path: Path) -> None:
    def make() -> nn.Module:
        torch.manual_seed(0)
        config = libraries.transformers.GPT2Config(
            vocab_size=40, n_positions=8, n_embd=12, n_layer=1, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
        )
        return libraries.transformers.GPT2Model(config).double()

    network = make()
    adaptation = displaced(network, lora, ["c_attn[q,v]"], rank=2)
    want = hidden(network).detach()
    adaptation.save_adapter(tmp_path)
    opened = libraries.peft.PeftModel.from_pretrained(make(), tmp_path, autocast_adapter_dtype=False)
    assert (hidden(opened.base_model.model) - want).abs().max() < 1e-10
    adaptation.merge()
    assert (hidden(network) - want).abs().max() < 1e-10


def test_peft_is_given_only_what_it_computes_alike(lora: Any, tmp_path: Path) -> None:
    for settings in ({"groups": 2}, {"dilation": 2}, {"padding": 1, "padding_mode": "circular"}):
        network = nn.Sequential(nn.Conv2d(4, 4, 3, **settings))
        assert not displaced(network, lora, ["0"]).save_adapter(tmp_path / "none")
        assert not (tmp_path / "none").exists()


def test_conforms(lora: Any) -> None:
    check_adapter(lora, rank=3, alpha=5.0)
    check_adapter(lora, rank=40, dropout=0.5)


def test_start(lora: Any) -> None:
    torch.manual_seed(0)
    adaptation = Adaptation(nn.Sequential(nn.Linear(300, 40)), adapter=lora, targets=["0"])
    adaptation.attach()
    a, b = adaptation.adapters[0].A, adaptation.adapters[0].B
    assert b.abs().max() == 0
    # Kaiming-uniform with a = sqrt(5): uniform on +-1/sqrt(in)
    assert 0.95 / 300**0.5 < a.abs().max() <= 1 / 300**0.5


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_convolutions_merge(groups: int, lora: Any) -> None:
    network = nn.Sequential(nn.Conv2d(8, 4, 3, padding=1, groups=groups)).double()
    adaptation = displaced(network, lora, ["0"], rank=3)
    assert adaptation.adapters[0].A.shape == (3, 8 // groups, 3, 3)
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    want = network(x).detach()
    adaptation.merge()
    assert (network(x) - want).abs().max() < 1e-10


def test_dropout_acts_in_training_on_the_update_alone(lora: Any) -> None:
    network = nn.Sequential(nn.Linear(6, 5)).double()
    adaptation = displaced(network, lora, ["0"], rank=2, dropout=0.5)
    adapter: Any = adaptation.adapters[0]
    x = torch.randn(4, 6, dtype=torch.float64)
    adaptation.eval()
    plain = network(x)
    adaptation.train()
    torch.manual_seed(3)
    noisy = network(x)
    torch.manual_seed(3)
    want = nn.functional.linear(x, adapter.weight0, adapter.bias0) + nn.functional.dropout(x, 0.5) @ adapter.delta().T
    assert (noisy - want).abs().max() < 1e-10
    assert (noisy - plain).abs().max() > 1e-3


def test_count(vit: Callable[[], nn.Module], lora: Any) -> None:
    """rank (in + out) for each site: 2 blocks x (q, v) of 12 x 12."""
    adaptation = Adaptation(vit(), adapter=lora, params={"rank": 8}, targets="attention")
    adaptation.attach()
    assert sum(part.numel() for _, part in adaptation.named_trained()) == 2 * 2 * 8 * (12 + 12)


@pytest.mark.parametrize("alpha", [6.0, 4.0])
def test_rows_of_different_ranks_open_in_peft(lora: Any, libraries: Any, tmp_path: Path, alpha: float) -> None:
    """As EVA leaves q and v; peft scales by alpha / r, so that a part of another scale has no form there."""

    def make() -> nn.Module:
        torch.manual_seed(4)
        return nn.ModuleDict({"qkv": nn.Linear(12, 30)}).double()

    network = make()
    adaptation = Adaptation(network, adapter=lora, params={"rank": 2, "alpha": 4.0}, targets=["qkv[q,v]"])
    adaptation.attach()
    adaptation.adapters[1].setup(rank=3, alpha=alpha)  # type: ignore[operator]
    for _, parameter in adaptation.named_trained():
        parameter.data.normal_()
    if alpha != 6.0:
        assert not adaptation.save_adapter(tmp_path)
        return
    assert adaptation.save_adapter(tmp_path)
    opened = libraries.peft.PeftModel.from_pretrained(make(), tmp_path, autocast_adapter_dtype=False)
    x = torch.randn(3, 12, dtype=torch.float64)
    assert (opened.base_model.model["qkv"](x) - network["qkv"](x)).abs().max() < 1e-10
