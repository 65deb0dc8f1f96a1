"""peft by declaration: the tuners that take a backbone train, save and merge; the others are refused in a sentence."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.execute.adapters import Adaptation, make_adaptation
from bench.execute.parts import Info

pytestmark = pytest.mark.filterwarnings("ignore")
Features = Callable[[nn.Module], Tensor]


def attached(network: nn.Module, peft: str, targets: Any = "attention", steps: int = 12, **params: Any) -> Adaptation:
    torch.manual_seed(8)
    body = {"peft": peft, "params": params, "targets": targets}
    adaptation = make_adaptation(network, body, info=Info(steps=steps))
    adaptation.attach()
    return adaptation


def at(step: int) -> Any:
    """As much of a step as a hook of peft's looks at."""
    return SimpleNamespace(number=step)


def train(network: nn.Module, adaptation: Adaptation, hidden: Features, steps: range) -> list[float]:
    """Plain steps in the order in which the engine calls the hooks; the losses."""
    optimizer = torch.optim.Adam([part for _, part in adaptation.named_trained()], lr=0.01)
    losses = []
    for step in steps:
        optimizer.zero_grad()
        output = hidden(network)
        target = torch.linspace(0, 9, output.numel(), dtype=output.dtype).sin().view_as(output)
        loss = (output - target).square().mean()
        losses.append(float(loss))
        penalty = adaptation.penalty()
        (loss if penalty is None else loss + 0.01 * penalty).backward()
        adaptation.check_used()
        adaptation.after_backward(at(step), "main")
        optimizer.step()
        adaptation.after_step(at(step))
    return losses


def near(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() < 1e-10)


@pytest.mark.parametrize(
    ("peft", "params"),
    [
        ("lora", {"r": 2}), ("LORA", {"r": 2, "use_dora": True}),
        ("VERA", {"r": 4}), ("IA3", {}), ("LOHA", {"r": 2}), ("LOKR", {"r": 2}), ("HRA", {"r": 2}),
        ("FOURIERFT", {"n_frequency": 20}), ("RANDLORA", {"r": 4}), ("OFT", {"oft_block_size": 4}),
        ("VBLORA", {"r": 1, "num_vectors": 8, "vector_length": 4, "topk": 2}), ("MISS", {"r": 2}),
    ],
)  # fmt: skip
def test_a_tuner_trains_and_merges(
    peft: str, params: dict[str, Any], bert: Callable[[], nn.Module], hidden: Features
) -> None:
    network = bert()
    adaptation = attached(network, peft, **params)
    losses = train(network, adaptation, hidden, range(8))
    assert losses[-1] < losses[0]
    state = adaptation.trained_state()
    assert 0 < sum(map(Tensor.numel, state.values())) < 2000
    want = hidden(network.eval()).detach()
    again = bert()
    fresh = attached(again, peft, **params)
    fresh.load_trained_state(state)
    assert near(hidden(again.eval()), want)
    adaptation.merge()
    assert near(hidden(network), want)
    assert list(network.state_dict()) == list(bert().state_dict())


def test_fused_layers_are_adapted_whole(vit: Callable[[], nn.Module], hidden: Features) -> None:
    network = vit()
    adaptation = attached(network, "LORA", r=2)
    assert sum(part.numel() for _, part in adaptation.named_trained()) == 2 * 2 * (12 + 36)
    losses = train(network, adaptation, hidden, range(5))
    assert losses[-1] < losses[0]


def test_norms_may_be_targets(vit: Callable[[], nn.Module]) -> None:
    adaptation = attached(vit(), "LN_TUNING", targets=["norm1", "norm2"])
    assert sum(part.numel() for _, part in adaptation.named_trained()) == 2 * 2 * 24


def test_dora_starts_exact(bert: Callable[[], nn.Module], hidden: Features) -> None:
    network = bert()
    attached(network, "LORA", r=2, use_dora=True)
    assert near(hidden(network), hidden(bert()))


SCHEDULE = {"init_r": 4, "target_r": 2, "tinit": 0.25, "tfinal": 0.25, "orth_reg_weight": 0.1}


def test_adalora_prunes_to_its_budget(bert: Callable[[], nn.Module], hidden: Features) -> None:
    network = bert()
    adaptation: Any = attached(network, "adalora", steps=24, **SCHEDULE)
    assert (adaptation.config.total_step, adaptation.config.tinit, adaptation.config.tfinal) == (24, 6, 6)
    counts = []
    for step in range(24):
        train(network, adaptation, hidden, range(step, step + 1))
        counts.append(sum(adaptation.ranks().values()))
    assert counts[:6] == [16] * 6
    assert counts[17:] == [8] * 7
    assert counts == sorted(counts, reverse=True)


def test_adalora_resumes_where_it_was(bert: Callable[[], nn.Module], hidden: Features) -> None:
    def plain(network: nn.Module, adaptation: Adaptation, steps: range) -> None:
        for step in steps:  # without an optimizer's state, which is the engine's affair
            network.zero_grad()
            hidden(network).square().mean().backward()
            with torch.no_grad():
                for _, part in adaptation.named_trained():
                    part.sub_(0.1 * part.grad)
            adaptation.after_step(at(step))

    network = bert()
    whole = attached(network, "ADALORA", steps=24, **SCHEDULE)
    plain(network, whole, range(12))
    saved = copy.deepcopy((network.state_dict(), whole.state_dict()))
    assert all(isinstance(value, Tensor) for value in saved[1].values())
    plain(network, whole, range(12, 24))
    other = bert()
    resumed = attached(other, "ADALORA", steps=24, **SCHEDULE)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert torch.equal(resumed.state_dict()["_extra_state"], saved[1]["_extra_state"])
    plain(other, resumed, range(12, 24))
    assert all(torch.equal(value, resumed.trained_state()[name]) for name, value in whole.trained_state().items())


def test_adalora_penalty_is_pefts(bert: Callable[[], nn.Module]) -> None:
    network = bert()
    adaptation: Any = attached(network, "ADALORA", **SCHEDULE)

    loss = torch.zeros((), dtype=torch.float64)
    network.forward = lambda: SimpleNamespace(loss=loss.clone())  # type: ignore[method-assign]
    theirs = adaptation.model.base_model.forward().loss
    assert theirs > 0
    assert abs(float(adaptation.penalty() - theirs)) < 1e-12


def test_saved_adapters_open(bert: Callable[[], nn.Module], hidden: Features, libraries: Any, tmp_path: Path) -> None:
    network = bert()
    adaptation = attached(network, "ADALORA", **SCHEDULE)
    train(network, adaptation, hidden, range(12))
    assert adaptation.save_adapter(tmp_path / "adapter")
    opened = libraries.peft.PeftModel.from_pretrained(bert(), tmp_path / "adapter", autocast_adapter_dtype=False)
    assert not list(tmp_path.glob("**/*.bin"))
    assert near(hidden(opened.base_model.model), hidden(network))


@pytest.mark.parametrize(
    ("peft", "params", "targets", "words"),
    [
        ("LORAA", {}, "attention", "no tuner type 'LORAA'.*Did you mean \"LORA\""),
        ("LORA", {"rank": 3}, "attention", "no field 'rank'"),
        ("LORA", {"lora_alfa": 3}, "attention", 'Did you mean "lora_alpha"'),
        ("LORA", {"target_modules": ["query"]}, "attention", "set by the harness"),
        ("LORA", {"r": 0}, "attention", "LORA does not accept"),
        ("LORA", {}, ["query[0:4]"], "whole layers"),
        ("LORA", {"init_lora_weights": "eva"}, "attention", "'eva' needs data"),
        ("ADALORA", {"tinit": 100}, "attention", "ADALORA refuses adaptation.params"),
        ("PROMPT_TUNING", {}, None, "PROMPT_TUNING changes the inputs"),
        ("PREFIX_TUNING", {}, None, "PREFIX_TUNING changes the inputs"),
        ("ADAPTION_PROMPT", {}, None, "ADAPTION_PROMPT"),
        ("XLORA", {}, "attention", "XLORA"),
        ("LORA", {}, ["*.LayerNorm"], "LORA does not accept the backbone BertModel"),
    ],
)
def test_refusals(peft: str, params: dict[str, Any], targets: Any, words: str, bert: Callable[[], nn.Module]) -> None:
    with pytest.raises(UserError, match=words):
        attached(bert(), peft, targets, **params)


def test_a_schedule_needs_steps(bert: Callable[[], nn.Module]) -> None:
    with pytest.raises(UserError, match="number of steps"):
        attached(bert(), "ADALORA", steps=0)


def test_a_bypass_is_noticed() -> None:
    network = nn.ModuleDict({"read": nn.Linear(4, 4), "called": nn.Linear(4, 4)})
    adaptation = attached(network, "LORA", ["read", "called"], r=2)
    x = torch.randn(2, 4)
    network["called"](nn.functional.linear(x, network["read"].weight)).sum().backward()
    with pytest.raises(UserError, match="added to read:"):
        adaptation.check_used()
