"""An objective with three optimizers and an averaging method, as a project might write them: counts, bits, errors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.execute.training import Training

from ..conftest import Go
from .runs import STEPS, record_of, same_bits_when_stopped_at_every_step, trained
from .updates import CLASSES, gap, in_hand, small, step

GAN = '''
"""A generator of features and a critic that tells them from the network's, which learns its task beside them."""

import torch
from torch import nn

from bench.execute.objective import Objective


class Gan(Objective):
    """A step: the task, `turns` updates of the critic, one of the generator."""

    def setup(self, turns=2, noise=3):
        self.turns, self.noise = turns, noise

    def build(self):
        self.generator = nn.Linear(self.noise, self.info.width)
        self.critic = nn.Linear(self.info.width, 1)

    def optimizers(self, declared):
        return {
            "generator": {"params": list(self.generator.parameters()), "lr": 0.3, "clip": 0.01, "optimizer": "sgd"},
            "critic": {"params": list(self.critic.parameters()), "lr": 0.02, "options": {"betas": [0.5, 0.9]}},
        }

    def forward(self, method, batch):
        features = method.features(batch.inputs)
        return method.problem.loss(method.head(features), batch.labels) - 0.1 * self.critic(features).mean()

    def made(self, step, rows, *where):
        drawn = step.generator(*where).standard_normal((rows, self.noise))
        return self.generator(torch.as_tensor(drawn).to(self.generator.weight))

    def update(self, method, batch, step):
        for part in step.parts(batch):
            step.backward(method.loss(part), into="main")
        step.apply("main")
        for turn in range(self.turns):
            for part in step.parts(batch):
                real = self.critic(method.features(part.inputs)).mean()
                step.backward(self.critic(self.made(step, len(part), "critic", turn)).mean() - real, into="critic")
            step.apply("critic")
        step.backward(-self.critic(self.made(step, len(batch), "generator")).mean(), into="generator")
        step.apply("generator")


class Nothing(Objective):
    """Computes a loss and forgets to use it."""

    def update(self, method, batch, step):
        for part in step.parts(batch):
            method.loss(part)


class Halfway(Objective):
    """Computes gradients and forgets to use them."""

    def update(self, method, batch, step):
        for part in step.parts(batch):
            step.backward(method.loss(part))


class Idle(Gan):
    """Never applies its critic."""

    def setup(self):
        super().setup(turns=0)


class Forgetful(Objective):
    """Leaves out what the adaptation adds to the loss."""

    def update(self, method, batch, step):
        for part in step.parts(batch):
            step.backward(self(method, part))
        step.apply()


class Mindful(Objective):
    """Adds it by itself."""

    def update(self, method, batch, step):
        for part in step.parts(batch):
            step.backward(self(method, part) + method.penalty())
        step.apply()
'''
AVERAGED = '''
"""An exponential moving average of all weights, with which a run ends."""

import torch

from bench.execute.method import Method


class Averaged(Method):
    def setup(self, decay=0.5):
        self.decay = decay

    def build(self):
        for place, parameter in enumerate(self.moving()):
            self.register_state(f"average{place}", parameter.detach().clone(), kept="checkpoint")

    def moving(self):
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    @torch.no_grad()
    def after_step(self, step):
        for place, parameter in enumerate(self.moving()):
            getattr(self, f"average{place}").lerp_(parameter, 1 - self.decay)

    @torch.no_grad()
    def finish(self):
        for place, parameter in enumerate(self.moving()):
            parameter.copy_(getattr(self, f"average{place}"))
'''
HELD = '''
"""`scaled`, held near its start."""

from .scaled import Scaled


class Held(Scaled):
    def penalty(self):
        return (self.scale - 1).square().sum()
'''
DECLARED = {
    "gan": 'objective: {objective: "gan:Gan", params: {turns: 2}}',
    "averaged": 'method: {method: "averaged:Averaged", params: {decay: 0.5}}',
    "held": 'adaptation: {adapter: "held:Held", targets: dense}\noptimizer: {lr: 1.0e-2}',
    **{name.lower(): f'objective: {{objective: "gan:{name}"}}'
       for name in ("Nothing", "Halfway", "Idle", "Forgetful", "Mindful")},
}  # fmt: skip


@pytest.fixture
def kinds(toy: Path) -> Path:
    """The folder of the toy project's methods, with those of this test."""
    folder = toy / "methods" / "kinds"
    for name, text in (("gan", GAN), ("averaged", AVERAGED), ("held", HELD)):
        (folder / f"{name}.py").write_text(text)
    for name, text in DECLARED.items():
        (folder / f"{name}.yaml").write_text(f"title: {name}\n{text}\n")
    return folder


def error(store: Any, rows: list[dict[str, Any]]) -> str:
    (row,) = rows
    assert row["state"] == "failed", row
    return str(store.error(row["key"]))


def test_each_optimizer_has_its_own_rate_clip_and_turns(kinds: Path) -> None:
    """The same by hand, in float64."""

    def declared(body: dict[str, Any]) -> None:
        body["optimizer"]["lr"] = 0.01

    training = in_hand(str(kinds / "gan"), small(), 5, steps=6, change=declared)
    method: Any = training.method
    net, head = small(), copy.deepcopy(method.head.linear)
    generator, critic = copy.deepcopy(method.objective.generator), copy.deepcopy(method.objective.critic)
    network = [*net.parameters(), *head.parameters()]
    main = torch.optim.AdamW(network, lr=0.01, weight_decay=0.0)
    makes = torch.optim.SGD(generator.parameters(), lr=0.3)
    tells = torch.optim.AdamW(critic.parameters(), lr=0.02, betas=(0.5, 0.9), weight_decay=0.0)
    everything = nn.ModuleList([net, head, generator, critic])

    def made(number: int, *where: Any) -> Tensor:
        drawn = method.info.generator(number, *where).standard_normal((8, 3))
        return generator(torch.from_numpy(drawn))  # type: ignore[no-any-return]

    torch.manual_seed(3)
    for number in range(6):
        x, y = torch.randn(8, 7).double(), torch.randint(CLASSES, (8,))
        step(training, x, y)
        for turn in ("main", 0, 1, "generator"):
            everything.zero_grad()
            if turn == "main":
                features = net(x)
                (F.cross_entropy(head(features), y) - 0.1 * critic(features).mean()).backward()
                main.step()
            elif turn == "generator":
                (-critic(made(number, "generator")).mean()).backward()
                assert torch.nn.utils.clip_grad_norm_(generator.parameters(), 0.01) > 0.01
                makes.step()
            else:
                (critic(made(number, "critic", turn)).mean() - critic(net(x)).mean()).backward()
                tells.step()
    for ours, theirs in (
        (method.backbone.network, net),
        (method.head.linear, head),
        (method.objective.generator, generator),
        (method.objective.critic, critic),
    ):
        assert gap(ours.state_dict(), theirs.state_dict()) < 1e-10
    assert training.counts()["updates"] == {"train": {"main": 6, "generator": 6, "critic": 12}}


def test_stopped_at_every_step_it_goes_on_to_the_same_bits(kinds: Path, go: Go) -> None:
    record = same_bits_when_stopped_at_every_step(go, "gan+scaled+averaged=toy/waves", "objective.params.turns=3")
    assert record["cost"]["steps"] == STEPS
    assert record["cost"]["updates"] == {"train": {"main": STEPS, "generator": STEPS, "critic": 3 * STEPS}}


def test_a_run_ends_with_its_averages_which_no_record_keeps(kinds: Path, go: Go) -> None:
    found = {}
    for decay in (1.0, 0.5):
        arguments = ("gan+scaled+averaged=toy/waves", f"method.params.decay={decay}", "task.selection=last")
        store, rows = go(*arguments, twin=True, store=f"decay{decay}")
        found[decay] = trained(store, record_of(store, rows))
    assert not [name for name in found[0.5] if "average" in name or name.startswith("objective")]
    scales = {decay: [value for name, value in state.items() if name.endswith("scale")]
              for decay, state in found.items()}  # fmt: skip
    assert len(scales[1.0]) == 2
    assert all((value == 1).all() for value in scales[1.0])  # an average that never moves is the start
    assert not any((value == 1).all() for value in scales[0.5])


def test_it_is_not_cut_into_pieces(kinds: Path) -> None:
    training = in_hand(str(kinds / "gan"), small(), 5, steps=2)
    with pytest.raises(UserError, match="Gan does not say micro_batches = True.*run it without --micro-batch"):
        Training(training.method, training.spans, training.data, 3)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", r"step 1 of 8 ended without an update; Nothing.update must call step.backward and step.apply"),
        ("halfway", r"step 1 of 8 ended without an update; Halfway.update must call step.backward and step.apply"),
        ("idle", "the optimizer 'critic' was never applied"),
    ],
)
def test_an_update_that_is_not_made_is_an_error(kinds: Path, go: Go, name: str, sentence: str) -> None:
    store, rows = go(f"{name}+scaled=toy/waves", twin=True)
    assert sentence in error(store, rows)


def test_a_penalty_that_is_left_out_is_an_error(kinds: Path, go: Go) -> None:
    store, rows = go("forgetful+held=toy/waves", twin=True)
    assert "Forgetful.update leaves out the adaptation's penalty" in error(store, rows)
    for arguments in ("forgetful+scaled=toy/waves", "mindful+held=toy/waves", "gan+held=toy/waves"):
        store, rows = go(arguments, twin=True, store=arguments.partition("=")[0])
        assert record_of(store, rows)["cost"]["steps"] == STEPS
