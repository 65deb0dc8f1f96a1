"""An adaptation changes what it should, is noticed where it is bypassed, and leaves the network whole."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.execute.adapters import Adaptation, Adapter, make_adaptation
from bench.execute.adapters.training import moving


def adapted(network: nn.Module, cls: type[Adapter], targets: Any, seed: int = 5, **params: Any) -> Adaptation:
    torch.manual_seed(seed)
    adaptation = Adaptation(network, adapter=cls, params=params, targets=targets)
    adaptation.attach()
    return adaptation


def displace(adaptation: Adaptation) -> None:
    torch.manual_seed(6)
    with torch.no_grad():
        for _, parameter in adaptation.named_trained():
            parameter.add_(0.3 * torch.randn_like(parameter))


def near(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() < 1e-10)


class Scale(Adapter):
    """weight0 and bias0, each row times a trained factor."""

    def setup(self) -> None:
        self.factor = nn.Parameter(self.weight0.new_ones(len(self.weight0)))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("fixed", torch.zeros(3), persistent=False)

    def weight(self) -> Tensor:
        return self.weight0 * self.factor.view(-1, *[1] * (self.weight0.dim() - 1))

    def bias(self) -> Tensor | None:
        return None if self.bias0 is None else self.bias0 * self.factor

    def penalty(self) -> Tensor:
        return (self.factor - 1).square().sum()


class Shift(Adapter):
    """A trained bias, also where the layer has none."""

    def setup(self) -> None:
        self.shift = nn.Parameter(self.weight0.new_zeros(len(self.weight0)))

    def bias(self) -> Tensor:
        return self.shift if self.bias0 is None else self.bias0 + self.shift


class Doubled(Scale):
    """Depends on the input, so it cannot merge."""

    mergeable = False


def test_names_and_state_dict_survive(bert: Callable[[], nn.Module], lora: Any, hidden: Any) -> None:
    network = bert()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    adaptation = adapted(network, lora, "attention")
    assert list(network.state_dict()) == list(before)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(isinstance(module, (nn.ModuleList, Adapter, Adaptation)) for module in adaptation.modules())
    assert near(hidden(network), hidden(bert()))
    displace(adaptation)
    assert not near(hidden(network), hidden(bert()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("kind", ["vit", "bert", "convnet"])
def test_merge_equals_forward(kind: str, request: pytest.FixtureRequest, lora: Any, hidden: Any) -> None:
    network = request.getfixturevalue(kind)()
    for cls in (lora, Scale, Shift):
        adaptation = adapted(network, cls, ["all"] if kind == "convnet" else ["attention", "attention-output"])
        displace(adaptation)
        want = hidden(network).detach()
        adaptation.merge()
        assert near(hidden(network), want)
        assert all("forward" not in vars(module) for module in network.modules())
        displace(adaptation)
        assert near(hidden(network), want)


def test_deep_copies_are_apart(vit: Callable[[], nn.Module], lora: Any, hidden: Any) -> None:
    network = vit()
    adaptation = adapted(network, lora, "attention")
    displace(adaptation)
    want = hidden(network)
    other, plan = copy.deepcopy((network, adaptation))
    assert near(hidden(other), want)
    for _, parameter in plan.named_trained():
        parameter.data.zero_()
    assert near(hidden(network), want)
    assert near(hidden(other), hidden(vit()))
    assert near(hidden(copy.deepcopy(network)), want)


def test_rows_equal_separate_layers(vit: Callable[[], nn.Module], lora: Any) -> None:
    network = vit()
    adaptation = adapted(network, lora, ["blocks.0.attn.qkv[q,v]"], rank=2)
    displace(adaptation)
    fused = network.get_submodule("blocks.0.attn.qkv")
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    parts = []
    for place, adapter in ((0, adaptation.adapters[0]), (1, None), (2, adaptation.adapters[1])):
        layer = nn.Linear(12, 12).double()
        layer.load_state_dict({name: tensor.chunk(3)[place] for name, tensor in fused.state_dict().items()})
        if adapter is not None:
            single = adapted(nn.ModuleDict({"one": layer}), lora, ["one"], rank=2)
            single.adapters[0].load_state_dict(adapter.state_dict())
        parts.append(layer(x))
    assert near(fused(x), torch.cat(parts, -1))


def test_rows_of_a_convolution(lora: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1, padding_mode="circular")).double()
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64)
    before = network(x).detach()
    adaptation = adapted(network, lora, ["0[1:3]", "0[4:]"], rank=2)
    displace(adaptation)
    moved = (network(x) - before).abs().amax(dim=(0, 2, 3)) > 1e-6
    assert moved.tolist() == [False, True, True, False, True, True]
    want = network(x).detach()
    adaptation.merge()
    assert near(network(x), want)


def test_trained_state_round_trip(vit: Callable[[], nn.Module], lora: Any, hidden: Any) -> None:
    network, fresh = vit(), vit()
    adaptation = adapted(network, lora, ["*.qkv[q,v]", "fc1"], rank=2)
    displace(adaptation)
    state = adaptation.trained_state()
    assert "adapter.blocks.0.attn.qkv[24:36].A" in state
    assert len(state) == 2 * 3 * 2
    assert sum(map(Tensor.numel, state.values())) == 2 * (2 * 2 * (12 + 12) + 2 * (12 + 48))
    other = adapted(fresh, lora, ["*.qkv[q,v]", "fc1"], seed=77, rank=2)
    assert not near(hidden(fresh), hidden(network))
    other.load_trained_state(state)
    assert near(hidden(fresh), hidden(network))
    with pytest.raises(UserError, match="does not fit"):
        other.load_trained_state({name: state[name] for name in list(state)[1:]})
    with pytest.raises(UserError, match=r"is \(2, 12\) and not \(3, 12\)"):
        adapted(vit(), lora, ["*.qkv[q,v]", "fc1"], rank=3).load_trained_state(state)


def test_persistent_buffers_are_kept_and_others_not() -> None:
    adaptation = adapted(nn.Sequential(nn.Linear(2, 3)), Scale, ["0"])
    assert list(adaptation.trained_state()) == ["adapter.0.factor", "adapter.0.seen"]
    adaptation.adapters[0].seen.add_(3)  # type: ignore[operator,union-attr]
    other = adapted(nn.Sequential(nn.Linear(2, 3)), Scale, ["0"])
    other.load_trained_state(adaptation.trained_state())
    assert other.adapters[0].seen == 3


def test_the_same_seed_starts_the_same(bert: Callable[[], nn.Module], lora: Any) -> None:
    states = [adapted(bert(), lora, "attention", seed=seed).trained_state() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_penalty_is_the_sum(lora: Any) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    adaptation = adapted(network, Scale, "linear")
    for adapter in adaptation.adapters:
        adapter.factor.data += 2
    assert adaptation.penalty() == 4 * (3 + 2)
    assert adapted(nn.Sequential(nn.Linear(2, 3)), lora, "linear").penalty() is None


# -- layers whose weight is read and that are not called ---------------------------------------------------------------


class Reader(nn.Module):
    """Reads one layer's weight and calls another."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.called = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.called(F.linear(x, self.read.weight, self.read.bias))


def test_a_bypass_is_noticed(lora: Any) -> None:
    network = Reader()
    adaptation = adapted(network, lora, "linear", rank=2)
    network(torch.randn(3, 4)).sum().backward()
    with pytest.raises(UserError, match=r"never calls read:"):
        adaptation.check_used()
    network = Reader()
    adaptation = adapted(network, lora, ["called"], rank=2)
    with pytest.raises(UserError, match=r"never calls called"):
        adaptation.check_used()
    network(torch.randn(3, 4)).sum().backward()
    adaptation.check_used()


class Idle(Scale):
    def setup(self) -> None:
        super().setup()
        self.idle = nn.Parameter(torch.zeros(2))


def test_a_parameter_without_gradient_is_noticed() -> None:
    network = nn.Sequential(nn.Linear(2, 3))
    adaptation = adapted(network, Idle, ["0"])
    network(torch.ones(1, 2)).sum().backward()
    with pytest.raises(UserError, match=r"adapter\.0\.idle"):
        adaptation.check_used()


@pytest.mark.parametrize("cls", ["lora", "scale"])
def test_multi_head_attention_reads_its_projection(cls: str, lora: Any) -> None:
    torch.manual_seed(0)
    network = nn.MultiheadAttention(8, 2, batch_first=True).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    before = network(x, x, x)[0].detach()
    adaptation = adapted(network, {"lora": lora, "scale": Scale}[cls], ["out_proj"])
    with pytest.raises(UserError, match="never calls"):  # attaching reads nothing
        adaptation.check_used()
    assert near(network(x, x, x)[0], before)
    network(x, x, x)[0].square().sum().backward()
    adaptation.check_used()
    assert all(parameter.grad is None for parameter in network.parameters() if not parameter.requires_grad)
    displace(adaptation)
    want = network(x, x, x)[0].detach()
    assert not near(want, before)
    other, plan = copy.deepcopy((network, adaptation))
    assert near(other(x, x, x)[0], want)
    plan.merge()
    assert near(other(x, x, x)[0], want)
    assert [name for name, _ in other.named_parameters()][-1] == "out_proj.bias"
    adaptation.merge()
    assert near(network(x, x, x)[0], want)
    assert type(network.out_proj).__name__ == "NonDynamicallyQuantizableLinear"


def test_the_fast_path_of_evaluation_does_not_bypass(lora: Any) -> None:
    """nn.TransformerEncoderLayer calls linear1 in training and reads its weight where no gradient is needed."""
    torch.manual_seed(0)
    network = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    adaptation = adapted(network, lora, ["linear1", "linear2", "out_proj"])
    displace(adaptation)
    want = network(x).detach()
    network.eval()
    with torch.no_grad():
        assert near(network(x), want)


def test_what_is_more_than_a_weight_is_refused_there(lora: Any) -> None:
    network = nn.MultiheadAttention(8, 2)
    with pytest.raises(UserError, match="LoRA cannot adapt out_proj"):
        adapted(network, lora, ["out_proj"], dropout=0.1)


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_mistakes(lora: Any) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 3))

    with pytest.raises(UserError, match=r"LoRA has no parameter 'rnk'.*Did you mean \"rank\""):
        adapted(network(), lora, ["0"], rnk=3)
    with pytest.raises(UserError, match="names no targets"):
        adapted(network(), lora, None)
    with pytest.raises(UserError, match="no parameter 'rank'"):
        make_adaptation(network(), {"train": "all", "params": {"rank": 2}})
    with pytest.raises(UserError, match="peft and train"):
        make_adaptation(network(), {"train": "all", "peft": "LORA"})
    adapted_once = network()
    adapted(adapted_once, lora, ["0"])
    with pytest.raises(UserError, match="already adapted"):
        adapted(adapted_once, lora, ["0"])
    plan = adapted(network(), Doubled, ["0"])
    assert not plan.mergeable
    with pytest.raises(UserError, match="Doubled.*cannot be merged"):
        plan.merge()


# -- the backbone's own parameters -------------------------------------------------------------------------------------


def test_what_moves(bert: Callable[[], nn.Module], convnet: Callable[[], nn.Module]) -> None:
    network = bert()
    names = [name for name, _ in network.named_parameters()]
    assert moving(network, "all") == names
    assert moving(network, "none") == []
    assert moving(network, ["bias"]) == moving(network, ["*.bias"]) == [name for name in names if "bias" in name]
    assert moving(network, ["norm"]) == [name for name in names if "LayerNorm" in name]
    assert moving(network, ["encoder.layer.1.*"]) == [name for name in names if name.startswith("encoder.layer.1.")]
    assert set(moving(network, ["norm", "bias"])) == set(moving(network, ["norm"])) | set(moving(network, ["bias"]))
    assert all("bn" in name or "downsample.1" in name for name in moving(convnet(), "norm"))
    assert moving(nn.MultiheadAttention(4, 2), "bias") == ["in_proj_bias", "out_proj.bias"]
    with pytest.raises(UserError, match=r"'\*\.bais'.*Did you mean \"bias\"|'\*\.bais', which matches no parameter"):
        moving(network, ["*.bais"])


def test_a_backbone_that_moves_is_saved_and_loaded(bert: Callable[[], nn.Module], hidden: Any) -> None:
    network = bert()
    adaptation = make_adaptation(network, {"train": ["norm"]})
    adaptation.attach()
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {f"backbone.{name}" for name in trained} == set(adaptation.trained_names())
    displace(adaptation)
    fresh = bert()
    other = make_adaptation(fresh, {"train": ["norm"]})
    other.attach()
    other.load_trained_state(adaptation.trained_state())
    assert near(hidden(fresh), hidden(network))


def test_compiles_as_one_graph(lora: Any) -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    adapted(network, lora, ["0[0:2]", "1"], rank=2)
    x = torch.randn(3, 4)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), network(x), atol=1e-6)
