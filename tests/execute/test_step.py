"""The step: what a method may do with a batch, and what is a failure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.execute.adapters import Adaptation
from bench.execute.objective import Objective
from bench.testing.little import assembled, drive


def with_objective(cls: type[Objective], steps: int = 4, **slots: Any) -> Any:
    return assembled({"objective": {"objective": cls}, **slots}, steps)


class Idle(Objective):
    def update(self, method: Any, batch: Any, step: Any) -> None:
        step.backward(method.loss(batch))


def test_an_update_that_applies_nothing_is_a_failure() -> None:
    with pytest.raises(RuntimeError, match=r"step 1 of 4 ended without an update; Idle\.update must call"):
        drive(with_objective(Idle), 4)


class Raw(Objective):
    """Calls the optimizer itself, as in torch's own examples."""

    def update(self, method: Any, batch: Any, step: Any) -> None:
        step.backward(method.loss(batch))
        step.optimizers["main"].step()


def test_updates_are_counted_whoever_makes_them() -> None:
    training = drive(with_objective(Raw), 4)
    assert training.counts()["updates"] == {"train": {"main": 4}}


def test_clipping_that_is_declared_is_done_or_refused() -> None:
    with pytest.raises(RuntimeError, match=r"'main' was stepped without step\.apply, which alone can clip"):
        drive(with_objective(Raw, optimizer={"clip": 0.1}), 4)


class Twice(Objective):
    def update(self, method: Any, batch: Any, step: Any) -> None:
        for _ in range(3):
            step.backward(method.loss(batch))
            step.apply("main")


def test_a_step_is_a_batch_however_many_updates_it_has() -> None:
    training = drive(with_objective(Twice), 4)
    counts = training.counts()
    assert (counts["steps"], counts["declared_steps"]) == (4, 4)
    assert counts["updates"] == {"train": {"main": 12}}


class Pair(Objective):
    """A critic that follows the features' mean, with a rate and a clip of its own."""

    apply_critic = True

    def build(self) -> None:
        self.critic = nn.Linear(self.info.width, 1)

    def optimizers(self, declared: Any) -> dict[str, dict[str, Any]]:
        return {"critic": {"params": list(self.critic.parameters()), "lr": 0.5, "clip": 1e-3, "optimizer": "sgd"}}

    def update(self, method: Any, batch: Any, step: Any) -> None:
        features = method.backbone(batch.inputs)
        if self.apply_critic:
            before = [one.detach().clone() for one in self.critic.parameters()]
            step.backward(100 * self.critic(features).square().mean(), into="critic")
            assert all(one.grad is None for one in step.parameters("main"))
            step.apply("critic")
            moved = torch.cat([(a - b).flatten() for a, b in zip(before, self.critic.parameters(), strict=True)])
            assert float(moved.norm()) == pytest.approx(0.5 * 1e-3, rel=1e-3)  # the rate times the clipped gradient
        step.backward(method.loss(batch), into="main")
        assert all(one.grad is None for one in self.critic.parameters())
        step.apply("main")


def test_gradients_go_where_they_are_meant() -> None:
    training = drive(with_objective(Pair), 4)
    training.check()
    assert training.counts()["updates"] == {"train": {"main": 4, "critic": 4}}


def test_an_optimizer_that_is_never_applied_is_a_failure() -> None:
    class Forgotten(Pair):
        apply_critic = False

    with pytest.raises(RuntimeError, match="'critic' was never applied"):
        drive(with_objective(Forgotten), 4).check()


def test_what_predicts_nothing_is_in_checkpoints_and_not_in_records() -> None:
    method = with_objective(Pair)
    assert not any("critic" in name for name in method.trained_state())
    assert any("critic" in name for name in method.resume_state())


def test_a_name_that_no_optimizer_has_is_said() -> None:
    class Misspelt(Pair):
        def update(self, method: Any, batch: Any, step: Any) -> None:
            step.apply("crittic")

    with pytest.raises(KeyError, match=r"this phase has main, critic.*Did you mean"):
        drive(with_objective(Misspelt), 4)


def test_a_setting_that_no_optimizer_has_is_said() -> None:
    class Odd(Pair):
        def optimizers(self, declared: Any) -> dict[str, dict[str, Any]]:
            return {"critic": {"params": list(self.critic.parameters()), "rate": 1}}

    with pytest.raises(UserError, match=r"Odd\.optimizers\(\)\['critic'\] sets 'rate'"):
        drive(with_objective(Odd), 4)


class Penalised(Adaptation):
    def setup(self) -> None:
        self.train_spec = "all"

    def penalty(self) -> Tensor:
        return torch.stack([one.square().sum() for one in self.backbone.parameters()]).sum()


class Careless(Objective):
    def update(self, method: Any, batch: Any, step: Any) -> None:
        step.backward(method.problem.loss(method(batch.inputs), batch.labels))
        step.apply()


def test_an_update_that_leaves_out_the_penalty_is_a_failure() -> None:
    drive(with_objective(Careless), 2)
    with pytest.raises(RuntimeError, match=r"Careless\.update leaves out the adaptation's penalty"):
        drive(with_objective(Careless, adaptation={"adaptation": Penalised}), 2)
    drive(with_objective(Objective, adaptation={"adaptation": Penalised}), 2)


class Patient(Objective):
    def update(self, method: Any, batch: Any, step: Any) -> None:
        super().update(method, batch, step)
        if step.number == 2:
            step.stop("patience")


def test_a_rule_may_end_the_training_and_is_named() -> None:
    training = drive(with_objective(Patient, 6), 6)
    training.check()
    counts = training.counts()
    assert (counts["steps"], counts["declared_steps"], counts["stopped_by"]) == (3, 6, "patience")


class Dropped(Objective):
    """Notes what is drawn in each pass."""

    micro_batches = True

    def setup(self) -> None:
        self.drawn: list[tuple[int, list[float]]] = []

    def update(self, method: Any, batch: Any, step: Any) -> None:
        for _ in range(2):
            self.drawn.append((step.number, [float(torch.rand(())) for _ in step.parts(batch)]))
        self.drawn.append((step.number, [float(step.generator("mine").random())]))
        super().update(method, batch, step)


def test_draws_depend_on_the_step_the_pass_and_the_piece() -> None:
    whole, cut = with_objective(Dropped, 2), with_objective(Dropped, 2)
    drive(whole, 2)
    drive(cut, 2, micro_batch=6)
    first, second, own = whole.objective.drawn[:3]
    assert first[1] != second[1], "two passes over a batch draw differently"
    assert first[1] != whole.objective.drawn[3][1], "and so do two steps"
    assert own == cut.objective.drawn[2], "the step's own generator does not know of pieces"
    assert len(cut.objective.drawn[0][1]) == 2
    assert cut.objective.drawn[0][1][0] == first[1][0]


def test_pieces_are_refused_where_rows_are_compared() -> None:
    with pytest.raises(UserError, match="Idle does not say micro_batches = True"):
        drive(with_objective(Idle), 4, micro_batch=3)


def test_forgetting_moments() -> None:
    class Forgetful(Objective):
        def update(self, method: Any, batch: Any, step: Any) -> None:
            if step.number == 2:
                step.reset()
                assert not step.optimizers["main"].state
            super().update(method, batch, step)

    method = with_objective(Forgetful)
    training = drive(method, 4)
    state = next(iter(training._updates.entries["main"].optimizer.state.values()))  # type: ignore[union-attr]
    assert int(state["step"]) == 2


class Overflowing(Objective):
    """Two optimizers on one backward pass, the second step with gradients that overflow."""

    def build(self) -> None:
        self.extra = nn.Parameter(torch.zeros(()))

    def optimizers(self, declared: Any) -> dict[str, dict[str, Any]]:
        return {"extra": {"params": [self.extra], "optimizer": "sgd", "lr": 0.1, "options": {}}}

    def update(self, method: Any, batch: Any, step: Any) -> None:
        factor = torch.inf if step.number == 1 else 1.0
        step.backward(factor * (method.loss(batch) + self.extra))
        step.apply("main", "extra")
        if step.number == 2:  # once more in the same step
            step.backward(method.loss(batch), into="main")
            step.apply("main")


def test_half_precision_scales_once_for_each_update_and_counts_what_it_skips() -> None:
    from torch.amp.grad_scaler import GradScaler

    from bench.execute.training import Training

    plain = with_objective(Overflowing)
    scaled = with_objective(Overflowing)
    scaler = GradScaler("cpu", init_scale=1024.0, growth_interval=1000)
    start = Training.start

    def with_scaler(training: Training, state: Any) -> None:
        training.scaler = scaler
        start(training, state)

    drive(plain, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "start", with_scaler)
        training = drive(scaled, 4)
        first = with_objective(Overflowing)
        drive(first, 1)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(dict(first.named_parameters())[name], parameter, rtol=1e-12, atol=1e-14)
    counts = training.counts()
    assert counts["updates"] == {"train": {"main": 4, "extra": 3}}, "one of each was skipped, one of main is more"
    assert counts["skipped_updates"] == 2
    assert counts["steps"] == 4
    assert scaler.get_scale() == 512.0, "halved once"
    assert all(parameter.isfinite().all() for parameter in scaled.parameters())
