"""How parts are made, what they may know, and what is kept of them."""

from __future__ import annotations

import pytest
import torch

from bench.core.errors import UserError
from bench.execute.parts import Info, Part, ready, resume_only


class Stateful(Part):
    slot = "objective"

    def setup(self, size: int = 2) -> None:
        self.order, self.size = ["setup"], size

    def bind(self, info: Info) -> None:
        super().bind(info)
        self.order.append("bind")

    def build(self) -> None:
        self.order.append("build")
        self.register_state("kept", torch.zeros(self.size))
        self.register_state("mean", torch.zeros(self.info.width), kept="checkpoint")
        self.register_state("table", torch.zeros(3), kept="no")


def test_one_order_for_all_parts() -> None:
    part = ready(Stateful(size=5), Info(width=7))
    assert part.order == ["setup", "bind", "build"]
    assert part.kept.shape == (5,)
    assert part.mean.shape == (7,)


def test_state_says_what_it_is_kept_for() -> None:
    outer = torch.nn.ModuleDict({"inner": ready(Stateful(), Info(width=1))})
    assert set(outer.state_dict()) == {"inner.kept", "inner.mean"}
    assert resume_only(outer) == {"inner.mean"}
    with pytest.raises(ValueError, match="record, checkpoint, no"):
        Stateful().register_state("x", torch.zeros(1), kept="sometimes")


def test_a_wrong_param_names_its_slot() -> None:
    with pytest.raises(UserError, match=r"^objective\.params\.sise: Stateful has no parameter 'sise'.*mean \"size\""):
        Stateful(sise=3)


def test_random_numbers_of_a_step_are_its_own() -> None:
    info = Info(task="t", method="m", seed=1)
    first = info.generator(3, "gates").random()
    assert first == info.generator(3, "gates").random()
    others = [info.generator(4, "gates"), info.generator(3), Info(task="t", method="m", seed=2).generator(3, "gates")]
    assert all(first != other.random() for other in others)
