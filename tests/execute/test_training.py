"""What a fit may not get away with, and what a phase, a candidate and a resumption are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.execute.adapters import Adaptation, Adapter
from bench.execute.method import Method
from bench.execute.objective import Objective
from bench.execute.optimizer import Rule
from bench.execute.phases import Phase
from bench.testing.little import assembled, drive, saved
from bench.testing.slots import check_method, check_objective, check_optimizer

from .conftest import Go


class Freezing(Method):
    def phases(self, steps: int) -> list[Phase]:
        return [Phase("all"), Phase("head")]

    def begin(self, phase: str) -> None:
        if phase == "head":
            self.backbone.requires_grad_(False)


def test_what_moves_is_said_by_the_phase() -> None:
    with pytest.raises(UserError, match=r"begin\('head'\) froze backbone\.network\.cls_token; .* Phase\.train"):
        drive(assembled({"method": {"method": Freezing}}, 4), 4)
    misspelt: Any = type(
        "Misspelt", (Method,), {"phases": lambda self, steps: [Phase("warm", train=("head", "*nrom*")), Phase("all")]}
    )
    with pytest.raises(UserError, match=r"trains '\*nrom\*', which names nothing that moves"):
        drive(assembled({"method": {"method": misspelt}}, 4), 4)


def test_every_part_is_told_of_a_phase_the_adaptation_first() -> None:
    told: list[str] = []

    class Mine(Method):
        def begin(self, phase: str) -> None:
            told.append(f"method {phase}")

    class Plan(Adaptation):
        def setup(self) -> None:
            self.train_spec = "all"

        def begin(self, phase: str) -> None:
            told.append(f"adaptation {phase}")

    class Divided(Objective):
        def phases(self, steps: int) -> list[Phase]:
            return [Phase("one"), Phase("two")]

        def begin(self, phase: str) -> None:
            told.append(f"objective {phase}")

    slots = {"method": {"method": Mine}, "adaptation": {"adaptation": Plan}, "objective": {"objective": Divided}}
    drive(assembled(slots, 2), 2)
    assert told == [f"{part} {phase}" for phase in ("one", "two") for part in ("adaptation", "objective", "method")]


class Shift(Adapter):
    def setup(self) -> None:
        self.shift = nn.Parameter(torch.zeros_like(self.weight0))

    def weight(self) -> Tensor:
        return self.weight0 + self.shift


class Gated(Adaptation):
    """Looks at the loss before the step, and has a penalty from the third step on."""

    def build(self) -> None:
        self.number = 0
        for site in self.sites():
            self.add(Shift(site))

    def before_step(self, step: Any) -> None:
        self.number = step.number
        with torch.no_grad():
            for part in step.parts():
                step.method.loss(part)

    def context(self, rows: Any) -> None:
        self.ids = rows.ids

    def penalty(self) -> Tensor | None:
        return torch.stack([p.square().sum() for p in self.parameters()]).sum() if self.number >= 2 else None


class Direct(Objective):
    def update(self, method: Any, batch: Any, step: Any) -> None:
        assert torch.equal(method.adaptation.ids, batch.ids), "the context is the batch's again"
        step.backward(method.problem.loss(method(batch.inputs), batch.labels))
        step.apply("main")


def test_a_penalty_that_comes_late_is_not_forgotten() -> None:
    slots = {"adaptation": {"adaptation": Gated, "targets": ["mlp.fc1"]}, "objective": {"objective": Direct}}
    training = None
    with pytest.raises(RuntimeError, match="leaves out the adaptation's penalty"):
        training = drive(assembled(slots, 4), 4)
    assert training is None
    drive(assembled(slots, 2), 2)


def test_rules_update_in_full_precision() -> None:
    seen: list[torch.dtype] = []

    class Product(Rule):
        def update(self, parameter: Tensor, gradient: Tensor, state: Any, group: Any) -> None:
            if gradient.ndim == 2:
                seen.append((gradient @ gradient.T).dtype)
            parameter.sub_(group["lr"] * gradient)

    method = assembled({"optimizer": {"optimizer": Product}}, 1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        drive(method, 1)
    assert set(seen) == {torch.float32}


class Wide(Rule):
    """Moments in double precision, a mask, and places, whatever the parameters are."""

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "mask" not in state:
            state["mask"] = gradient.abs() > gradient.abs().median()
            state["places"] = gradient.flatten().abs().topk(1).indices
            state["mean"] = torch.zeros_like(parameter, dtype=torch.float64)
        state["mean"].mul_(0.9).add_(gradient.double())
        move = torch.where(state["mask"], state["mean"], 0.0)
        parameter.sub_((group["lr"] * move).to(parameter))
        parameter.view(-1)[state["places"]] *= 0.99


def test_a_resumed_rule_remembers_in_the_types_it_chose() -> None:
    check_optimizer(Wide)
    whole = assembled({"optimizer": {"optimizer": Wide}}, 4).float()
    drive(whole, 4)
    first = assembled({"optimizer": {"optimizer": Wide}}, 4).float()
    state = saved(drive(first, 4, until=2))
    second = assembled({"optimizer": {"optimizer": Wide}}, 4).float()
    drive(second, 4, state=state)
    for name, tensor in whole.trained_state().items():
        assert torch.equal(tensor, second.trained_state()[name]), name


def test_optimizers_that_share_or_hide_parameters_are_refused() -> None:
    class Shared(Objective):
        def build(self) -> None:
            self.one = nn.Parameter(torch.zeros(()))

        def optimizers(self, declared: Any) -> dict[str, dict[str, Any]]:
            return {"x": {"params": [self.one]}, "y": {"params": [self.one]}}

    class Hidden(Objective):
        def build(self) -> None:
            self.hidden = [nn.Parameter(torch.zeros(()))]

        def optimizers(self, declared: Any) -> dict[str, dict[str, Any]]:
            return {"x": {"params": self.hidden}}

    with pytest.raises(UserError, match=r"Shared\.optimizers\(\)\['y'\] holds objective\.one, which 'x' trains"):
        drive(assembled({"objective": {"objective": Shared}}, 2), 2)
    with pytest.raises(UserError, match="holds a parameter that is no part of the method"):
        drive(assembled({"objective": {"objective": Hidden}}, 2), 2)


def test_a_phase_sets_keys_of_the_optimizer_slot() -> None:
    class Rates(Method):
        def phases(self, steps: int) -> list[Phase]:
            return [Phase("a", optimizer={"optimizer": "sgd", "lr": 0.1, "params": {"momentum": 0.9}}), Phase("b")]

    method = assembled({"method": {"method": Rates}, "optimizer": {"lr": 0.01, "head_lr": 0.5}}, 4)
    training = drive(method, 4, until=1)
    groups = training._updates.entries["main"].optimizer.param_groups  # type: ignore[union-attr]
    assert {group["momentum"] for group in groups} == {0.9}
    assert {group["lr"] for group in groups} == {0.1}, "a phase's rate is the head's too"
    training = drive(assembled({"method": {"method": Rates}, "optimizer": {"lr": 0.01, "head_lr": 0.5}}, 4), 4)
    groups = training._updates.entries["main"].optimizer.param_groups  # type: ignore[union-attr]
    assert {group["lr"] for group in groups} == {0.01, 0.5}


def test_averages_follow_the_shape_of_the_network(go: Go) -> None:
    """Of EVA's adapters, whose ranks are known after calibration, and of DiffoRA's, which a phase selects."""
    from bench.core.loading import load

    folder = Path(__file__).parents[2] / "methods" / "adapters"

    class Averaged(Method):
        def shaped(self) -> None:
            for place, parameter in enumerate(self.trainable.values()):
                self.register_state(f"mean{place}", parameter.detach().clone(), kept="checkpoint")

        def after_step(self, step: Any) -> None:
            for place, parameter in enumerate(self.trainable.values()):
                self.get_buffer(f"mean{place}").lerp_(parameter.detach(), 0.5)

    for reference in ("eva:EVA", "diffora:DiffoRA"):
        slot = {"adaptation": load(reference, folder), "params": {"rank": 2}, "targets": ["mlp.fc1", "attn.proj"]}
        declared = {"method": {"method": Averaged}, "adaptation": slot}
        whole = assembled(declared, 4)
        drive(whole, 4)
        for step in (1, 2, 3):
            state = saved(drive(assembled(declared, 4), 4, until=step))
            resumed = assembled(declared, 4)
            drive(resumed, 4, state=state)
            for name, tensor in whole.resume_state().items():
                assert torch.equal(tensor, resumed.resume_state()[name]), (reference, step, name)


def test_checks_of_methods_that_stop_and_that_solve() -> None:
    class Stopping(Objective):
        micro_batches = True

        def update(self, method: Any, batch: Any, step: Any) -> None:
            super().update(method, batch, step)
            if step.number == 3:
                step.stop("patience")

    class Means(Method):
        def phases(self, steps: int) -> list[Phase]:
            return [Phase("means", closed_form=True)]

        @torch.no_grad()
        def solve(self, phase: str, data: Any) -> None:
            features = self.over(data.train, lambda rows: self.backbone(rows.inputs))
            self.head.linear.weight.copy_(features[: self.info.outputs])

    check_objective(Stopping)
    check_method(Means)


def test_an_early_phase_is_not_cut() -> None:
    class Hasty(Objective):
        def phases(self, steps: int) -> list[Phase]:
            return [Phase("first"), Phase("second")]

        def update(self, method: Any, batch: Any, step: Any) -> None:
            super().update(method, batch, step)
            step.stop("haste")

    with pytest.raises(RuntimeError, match="'haste' ends the phase 'first'; only the last may be ended early"):
        drive(assembled({"objective": {"objective": Hasty}}, 4), 4)


def test_a_state_that_cannot_be_read_back_is_said_when_it_is_written(tmp_path: Path) -> None:
    import numpy as np

    from bench.execute import checkpoint

    with pytest.raises(RuntimeError, match="cannot be read back; what an optimizer or a part remembers"):
        checkpoint.write(tmp_path / "c", {"done": np.float64(1)}, {})


def test_portions_are_shares_of_all_rows_and_have_none_in_common() -> None:
    from types import SimpleNamespace

    import numpy as np

    from bench.execute.loaders import divide

    class Rows(SimpleNamespace):
        def __len__(self) -> int:
            return 100

    part: Any = Rows(groups=np.repeat([0, 1], [80, 20]))
    places = divide(part, {"weights": 0.5, "gates": 0.1}, "t", 0)
    assert {name: len(rows) for name, rows in places.items()} == {"weights": 50, "gates": 10}
    assert not set(places["weights"]) & set(places["gates"])
    assert (part.groups[places["gates"]] == 1).sum() == 2, "of each group its share"
    assert (divide(part, {"weights": 0.5, "gates": 0.1}, "t", 1)["gates"] != places["gates"]).any()


def test_the_loss_that_is_shown_is_of_the_passes_that_counted() -> None:
    class Looking(Objective):
        def update(self, method: Any, batch: Any, step: Any) -> None:
            step.backward(1000 * method.loss(batch))
            step.clear()
            super().update(method, batch, step)

    plain, looking = assembled({}, 2), assembled({"objective": {"objective": Looking}}, 2)
    assert drive(looking, 2).loss() == pytest.approx(drive(plain, 2).loss())


def test_a_domain_without_rows_has_no_pieces() -> None:
    class Absent(Objective):
        def update(self, method: Any, batch: Any, step: Any) -> None:
            assert list(step.parts(batch.of_domain(99))) == []
            super().update(method, batch, step)

    drive(assembled({"objective": {"objective": Absent}}, 1), 1)


def test_the_scaler_goes_on_where_a_phase_begins() -> None:
    from torch.amp.grad_scaler import GradScaler

    from bench.execute.training import Training, phases_of

    class Two(Method):
        def phases(self, steps: int) -> list[Phase]:
            return [Phase("one"), Phase("two")]

    state = {"done": 1, "counts": {}, "closed": [], "stopped": None, "predicted_at": None}
    kept = GradScaler("cpu", init_scale=64.0).state_dict()
    method = assembled({"method": {"method": Two}}, 2)
    training = Training(method, phases_of(method, 2), None, None)  # type: ignore[arg-type]
    training.scaler = GradScaler("cpu", init_scale=4.0)
    training.start({**state, "updates": {"scaler": kept}})
    assert training.scaler.get_scale() == 64.0
