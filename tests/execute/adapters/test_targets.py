"""Targets name layers and rows, and what they cannot mean is said in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from bench.core.errors import UserError
from bench.execute.adapters.targets import module_names, resolve


class Block(nn.Module):
    def __init__(self, fused: int = 18) -> None:
        super().__init__()
        self.attn = nn.ModuleDict({"qkv": nn.Linear(6, fused), "proj": nn.Linear(6, 6)})
        self.norm = nn.LayerNorm(6)
        self.conv = nn.Conv2d(6, 6, 1)
        self.depthwise = nn.Conv2d(6, 6, 3, groups=6)


def labels(network: nn.Module, targets: Any, **rest: Any) -> list[str]:
    return [site.label for site in resolve(network, targets, **rest)]


def network(**settings: Any) -> nn.Module:
    return nn.Sequential(Block(**settings), Block(**settings))


def test_patterns() -> None:
    assert labels(network(), ["*.proj"]) == ["0.attn.proj", "1.attn.proj"]
    assert labels(network(), ["proj"]) == labels(network(), ["attn.proj"]) == labels(network(), ["*.proj"])
    assert labels(network(), ["1.*", "1.attn.proj"]) == ["1.attn.qkv", "1.attn.proj", "1.conv", "1.depthwise"]
    assert labels(network(), ["?.conv"]) == ["0.conv", "1.conv"]
    assert labels(network().get_submodule("0"), ["attn.proj"]) == ["attn.proj"]


def test_row_slices() -> None:
    assert labels(network(), ["0.attn.qkv[q,v]"]) == ["0.attn.qkv[0:6]", "0.attn.qkv[12:18]"]
    assert labels(network(), ["0.attn.qkv[3:7]", "0.attn.qkv[10:]"]) == ["0.attn.qkv[3:7]", "0.attn.qkv[10:18]"]
    assert labels(network(), ["0.attn.qkv[:18]"]) == ["0.attn.qkv"]
    site = resolve(network(), ["0.attn.qkv[v]"])[0]
    assert site.weight().shape == (6, 6)
    assert site.bias().tolist() == site.layer.module.bias[12:].tolist()  # type: ignore[union-attr]


def test_groups() -> None:
    assert labels(network(), "attention") == [f"{n}.attn.qkv[{rows}]" for n in (0, 1) for rows in ("0:6", "12:18")]
    assert labels(network(), "linear") == [f"{n}.attn.{name}" for n in (0, 1) for name in ("qkv", "proj")]
    assert len(labels(network(), "conv")) == 4
    assert len(labels(network(), ["linear", "conv"])) == len(labels(network(), "all")) == 8
    own = {"attention": ["*.proj"], "middle": ["conv", "nowhere"]}
    assert labels(network(), "attention", groups=own) == ["0.attn.proj", "1.attn.proj"]
    assert labels(network(), ["middle"], groups=own) == ["0.conv", "1.conv"]


def test_alternatives_are_the_first_that_is_there() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    assert labels(network(), "attention|conv") == labels(network(), "attention")
    assert labels(plain, "attention|conv") == ["0", "1"]
    assert labels(nn.Sequential(nn.Linear(2, 2)), "attention|conv|linear") == ["0"]
    with pytest.raises(UserError, match="mlp"):
        labels(plain, "attention|mlp")


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["*.prj"], ["'*.prj'", "0.attn.qkv", "attention", "conv"]),
        ("atention", ['Did you mean "attention"']),
        (["0.attn.qkv[q,x]"], ["'x'", "q, k, v"]),
        (["0.attn.qkv[0:19]"], ["0.attn.qkv", "18 rows"]),
        (["0.attn.qkv[5:5]"], ["0.attn.qkv", "18 rows"]),
        (["0.attn.qkv[q]", "0.attn.qkv[3:9]"], ["same rows", "[0:6] and [3:9]"]),
        (["0.attn.qkv", "0.attn.qkv[q]"], ["same rows"]),
        (["0.norm"], ["0.norm", "LayerNorm", "adaptable layers are Linear"]),
        (["0.depthwise[0:2]"], ["grouped"]),
        (["0.attn.qkv[q"], ["is not a target"]),
        (["*.proj", "*.nothing"], ["'*.nothing'"]),
    ],
)
def test_errors(targets: Any, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        resolve(network(), targets)
    for word in words:
        assert word in str(error.value)


def test_rows_that_do_not_divide() -> None:
    with pytest.raises(UserError, match="20 rows of 0.attn.qkv do not divide into 3"):
        resolve(network(fused=20), "attention")


def test_rows_that_go_head_by_head() -> None:
    block = network()
    block[0].attn.head_first = True
    with pytest.raises(UserError, match="head by head"):
        resolve(block, "attention")


def test_tied_weights_are_refused_by_name() -> None:
    block = network()
    block[1].attn.proj.weight = block[0].attn.proj.weight
    with pytest.raises(UserError, match=r"0\.attn\.proj cannot be adapted.*tied to 1\.attn\.proj\.weight"):
        resolve(block, ["0.attn.proj"])
    assert labels(block, ["qkv"])


def test_a_tied_decoder(libraries: Any) -> None:
    config = libraries.transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    with pytest.raises(UserError, match="cls.predictions.decoder.*tied to bert.embeddings.word_embeddings"):
        resolve(libraries.transformers.BertForMaskedLM(config), "linear")


def test_architectures(libraries: Any, bert: Callable[[], nn.Module], vit: Callable[[], nn.Module]) -> None:
    assert labels(bert(), "attention")[:2] == [f"encoder.layer.0.attention.self.{name}" for name in ("query", "value")]
    assert labels(bert(), "mlp")[:2] == ["encoder.layer.0.intermediate.dense", "encoder.layer.0.output.dense"]
    assert labels(bert(), "attention-output")[0] == "encoder.layer.0.attention.output.dense"
    assert labels(vit(), "attention")[:2] == ["blocks.0.attn.qkv[0:12]", "blocks.0.attn.qkv[24:36]"]
    assert labels(vit(), ["mlp", "attention-output"])[:3] == [
        "blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2",
    ]  # fmt: skip
    gpt = libraries.transformers.GPT2Model(
        libraries.transformers.GPT2Config(vocab_size=9, n_positions=8, n_embd=6, n_layer=1, n_head=2)
    )
    assert labels(gpt, "attention") == ["h.0.attn.c_attn[0:6]", "h.0.attn.c_attn[12:18]"]


def test_whole_layers_for_peft() -> None:
    assert module_names(network(), "attention") == ["0.attn.qkv", "1.attn.qkv"]
    assert module_names(network(), ["norm"]) == ["0.norm", "1.norm"]
    with pytest.raises(UserError, match="whole layers"):
        module_names(network(), ["*.qkv[q,v]"])
