"""EVA: exact decompositions of all inputs, peft's initialisation, and ranks that are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.parts import Info

from ..conftest import Go
from .runs import STEPS, equal_under_micro_batches, same_bits_when_stopped_at_every_step

HOME = Path(__file__).parents[2] / "methods" / "adapters"


@pytest.fixture
def eva() -> Any:
    return load("eva:EVA", HOME)


def made(eva: Any, network: nn.Module, targets: Any, **params: Any) -> Any:
    torch.manual_seed(5)
    adaptation = eva(network, params=params, targets=targets)
    adaptation.bind(Info(task="t", method="eva"))
    adaptation.attach()
    return adaptation


def calibrated(adaptation: Any, network: nn.Module, batches: list[Tensor]) -> list[Tensor]:
    """The batches that were looked at."""
    seen: list[Tensor] = []

    def forward(batch: Any) -> Tensor:
        seen.append(batch.inputs)
        return network(batch.inputs).sum()

    adaptation.calibrate((SimpleNamespace(inputs=batch) for batch in batches), forward)
    return seen


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.middle, self.last = nn.Linear(10, 14), nn.Linear(14, 9), nn.Linear(9, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.wide(x).tanh()).tanh())


def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().double()


def data(count: int, *shape: int) -> list[Tensor]:
    """Batches whose directions differ a little in strength, and are not centred."""
    torch.manual_seed(1)
    strength = torch.linspace(1.2, 0.8, shape[-1], dtype=torch.float64)
    return [torch.randn(*shape, dtype=torch.float64) * strength + 0.5 for _ in range(count)]


def exact(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right-singular vectors of the centred rows with their greatest entry positive, and their shares."""
    centred = rows - rows.mean(axis=0)
    _, values, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    return right * signs[:, None], values**2 / (centred**2).sum()


def distributed(shares: dict[str, np.ndarray], rank: int, most: int) -> dict[str, int]:
    """Ranks by taking the greatest share that is left, one after the other."""
    ranks = dict.fromkeys(shares, 0)
    for _ in range(rank * len(shares)):
        free = {name: given[ranks[name]] for name, given in shares.items() if ranks[name] < min(most, len(given))}
        ranks[max(free, key=lambda name: free[name])] += 1
    return ranks


def test_starts_at_the_exact_components_of_all_inputs(eva: Any) -> None:
    network, batches = net(), data(6, 20, 10)
    network.wide.weight.data[:, 3:] *= 0.3
    before = network(batches[0]).detach()
    adaptation = made(eva, network, ["wide", "middle", "last"], rank=2, similarity=1.1)
    assert len(calibrated(adaptation, network, batches)) == 6
    rows = torch.cat(batches)
    inputs = {"wide": rows, "middle": network.wide(rows).tanh()}
    inputs["last"] = network.middle(inputs["middle"]).tanh()
    found = {name: exact(given.detach().numpy()) for name, given in inputs.items()}
    ranks = distributed({name: shares for name, (_, shares) in found.items()}, 2, 4)
    assert len(set(ranks.values())) > 1
    assert adaptation.shapes() == ranks
    assert sum(ranks.values()) == 3 * 2
    for label, adapter in adaptation.labelled().items():
        assert np.abs(adapter.A.detach().numpy() - found[label][0][: ranks[label]]).max() < 1e-10
        assert adapter.B.abs().max() == 0
        assert adapter.scale == pytest.approx(16 / 2)
    assert (network(batches[0]) - before).abs().max() < 1e-12
    trained = sum(part.numel() for _, part in adaptation.named_trained())
    sizes = {"wide": 24, "middle": 23, "last": 17}
    assert trained == sum(rank * sizes[name] for name, rank in ranks.items())


CONVOLUTIONS: dict[str, Callable[[], nn.Module]] = {
    "2d": lambda: nn.Conv2d(4, 5, 3, stride=2, padding=1, padding_mode="reflect"),
    "1d": lambda: nn.Conv1d(4, 5, 3, dilation=2),
    "3d": lambda: nn.Conv3d(4, 5, (2, 1, 2)),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_convolution_sees_patches(kind: str) -> None:
    """A patch is what a kernel is multiplied with: with every kernel the products are the layer's outputs."""
    sites, seen = load("_inputs:Site", HOME), load("_inputs:vectors", HOME)
    from bench.execute.adapters.layers import Layer

    torch.manual_seed(0)
    module = CONVOLUTIONS[kind]().double()
    x = torch.randn(3, 4, *[7] * (module.weight.dim() - 2), dtype=torch.float64)
    patches = seen(sites("0", Layer(module), 0, module.out_channels), x)
    groups, out = module.groups, module.out_channels
    want = module(x) - module.bias.view(-1, *[1] * (x.dim() - 2))
    kernels = module.weight.flatten(1).view(groups, out // groups, -1)
    found = torch.einsum("ngpd,god->ngop", patches.view(3, groups, -1, kernels.shape[-1]), kernels)
    assert (found.reshape_as(want) - want).abs().max() < 1e-10


def test_peft_starts_alike(eva: Any, libraries: Any) -> None:
    """peft's decomposition is in float32 and of lower rank: it agrees as far as that goes."""
    from peft import EvaConfig, LoraConfig
    from peft.tuners.lora.eva import get_eva_state_dict

    network, (batch,) = net(), data(1, 200, 10)
    adaptation = made(eva, network, ["wide", "middle", "last"], rank=3)
    assert len(calibrated(adaptation, network, [batch] * 5)) == 2  # the second time nothing turns
    config = LoraConfig(
        r=3, target_modules=["wide", "middle", "last"], init_lora_weights="eva", eva_config=EvaConfig(rho=2.0)
    )
    theirs = get_eva_state_dict(
        net().float(), [batch.float()] * 3, config, forward_fn=lambda model, given: model(given),
        prepare_model_inputs_fn=None, prepare_layer_inputs_fn=None, show_progress_bar=False,
    )  # fmt: skip
    theirs = {name.removeprefix("base_model.model."): value for name, value in theirs.items()}
    ranks = adaptation.shapes()
    assert ranks == {name: len(value) for name, value in theirs.items()}
    for label, adapter in adaptation.labelled().items():
        cosines = (adapter.A.detach() * theirs[label].double()).sum(1).abs()
        assert cosines.min() > 1 - 1e-4


def test_looks_until_nothing_turns(eva: Any) -> None:
    network = net()
    adaptation = made(eva, network, ["wide", "middle", "last"], rank=2, cap=1.0)
    seen = calibrated(adaptation, network, data(200, 20, 10))
    assert 2 < len(seen) < 200
    assert set(adaptation.shapes().values()) == {2}


def test_layers_without_a_share_are_left_out_and_the_state_is_kept(eva: Any) -> None:
    """The first layer sees ten directions of nearly equal strength; the others few, of which each explains more."""
    network, batches = net(), data(3, 200, 10)
    with torch.no_grad():
        network.wide.weight[:, 2:] = 0
    adaptation = made(eva, network, ["wide", "middle", "last"], rank=1, cap=3.0)
    calibrated(adaptation, network, batches)
    ranks = adaptation.shapes()
    assert ranks["wide"] == 0
    assert list(adaptation.labelled()) == ["middle", "last"]
    assert "forward" not in vars(network.wide)
    with torch.no_grad():
        for _, parameter in adaptation.named_trained():
            parameter.add_(torch.randn_like(parameter))
    want = network(batches[0])

    other = net()
    other.load_state_dict(network.state_dict())
    fresh = made(eva, other, ["wide", "middle", "last"], rank=1, cap=3.0)
    assert fresh.shapes() is None
    fresh.reshape(ranks)
    fresh.load_trained_state(adaptation.trained_state())
    assert (other(batches[0]) - want).abs().max() < 1e-12
    fresh.merge()
    assert (other(batches[0]) - want).abs().max() < 1e-10


def test_padding_is_left_out(eva: Any) -> None:
    network, (batch,) = net(), data(1, 4, 6, 10)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 5 + [0], [1] * 6])
    batch[~mask.bool()] = 50.0
    adaptation = made(eva, network, ["wide"], rank=3)
    inputs = {"input": batch, "attention_mask": mask}
    adaptation.calibrate([SimpleNamespace(inputs=inputs)], lambda given: network(given.inputs["input"]).sum())
    want, _ = exact(batch[mask.bool()].numpy())
    assert np.abs(adaptation.adapters[0].A.detach().numpy() - want[: len(adaptation.adapters[0].A)]).max() < 1e-10


def test_a_layer_that_is_never_called_is_refused(eva: Any) -> None:
    network = net()
    network.spare = nn.Linear(3, 3).double()
    adaptation = made(eva, network, ["wide", "spare"])
    with pytest.raises(UserError, match="spare is never called"):
        calibrated(adaptation, network, data(1, 4, 10))


def test_runs(go: Go) -> None:
    record = same_bits_when_stopped_at_every_step(go, "eva=demo/digits")
    assert record["cost"]["updates"] == {"train": {"main": STEPS}}
    assert record["cost"]["steps"] == STEPS
    # q and v of 2 blocks share 8 x 4 ranks.
    assert record["cost"]["trainable_parameters"] == 8 * 4 * 64 + 33 * 10


def test_pieces_of_a_step_make_the_same_step(go: Go) -> None:
    equal_under_micro_batches(go, "eva=demo/digits")
