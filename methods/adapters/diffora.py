"""DiffoRA: differential module selection for LoRA (Jiang, Wang, Yuan, 2025, arXiv:2502.08905)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from bench.core.errors import UserError
from bench.execute.adapters import Adaptation
from bench.execute.phases import Phase

from .lora import LoRA

if TYPE_CHECKING:
    from bench.execute.step import Step


class Gated(LoRA):
    """W = W0 + sigmoid(gate) (alpha / rank) B A while the gate is there, then LoRA."""

    gate: nn.Parameter | None

    def setup(self, rank: int = 8, alpha: float = 16.0, gated: bool = True) -> None:  # type: ignore[override]
        super().setup(rank, alpha)
        self.register_parameter("gate", nn.Parameter(self.weight0.new_zeros(())) if gated else None)

    @property
    def scale(self) -> Any:
        return super().scale if self.gate is None else super().scale * self.gate.sigmoid()

    def peft_form(self) -> Any:
        return super().peft_form() if self.gate is None else None


class DiffoRA(Adaptation):
    """LoRA on those modules alone whose gates a search found to be the greatest.

    The paper's matrix of gates (layer x module) is one number for each site. For `search` of the steps gates and
    weights are found together, in two levels: of each batch the gates are updated on rows that the weights do not
    learn from, then the weights on theirs. Then the `keep` share of sites of the greatest gates, one at least, is kept,
    and their LoRA starts afresh without gates for the rest of the steps.

    No code is published, and what could be read of the paper leaves these open; they are ours: gates are relaxed by a
    sigmoid and start at 0; the levels take turns in every step, the gates first, to the first order; each has half of
    the training rows (never validation rows); Adam moves the gates at a rate of their own; the head goes on from where
    the search left it.
    """

    def setup(
        self, rank: int = 8, alpha: float = 16.0, keep: float = 0.5, search: float = 0.25, gate_lr: float = 0.01
    ) -> None:
        if not 0 < keep <= 1 or not 0 < search < 1:
            raise UserError(f"DiffoRA needs keep in (0, 1] and search in (0, 1), not {keep} and {search}.")
        self.lora = {"rank": rank, "alpha": alpha}
        self.share, self.search, self.gate_lr = keep, search, gate_lr
        self.kept: list[str] | None = None  # labels, once they are selected

    def build(self) -> None:
        for site in self.sites():
            self.add(Gated(site, **self.lora))

    def gates(self) -> dict[str, nn.Parameter]:
        """By the sites' labels; none after the search."""
        found: Mapping[str, Any] = self.labelled()
        return {label: adapter.gate for label, adapter in found.items() if adapter.gate is not None}

    def phases(self, steps: int) -> list[Phase]:
        halves = {"weights": 0.5, "gates": 0.5}
        return [Phase("search", self.search, rows=halves), Phase("retrain", 1 - self.search)]

    def optimizers(self, declared: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        rates = {"optimizer": "adam", "options": {}, "lr": self.gate_lr, "weight_decay": 0.0}
        gates = list(self.gates().values())
        return {"gates": {**rates, "params": gates}} if gates else {}

    def before_step(self, step: Step) -> None:
        if step.phase == "search":
            for part in step.parts(step.batch.others["gates"]):
                step.backward(step.method.loss(part) * part.share, into="gates")
            step.apply("gates")

    def begin(self, phase: str) -> None:
        if phase == "retrain":
            gates = {label: float(gate.detach()) for label, gate in self.gates().items()}
            count = max(1, round(self.share * len(gates)))
            best = sorted(gates, key=lambda label: -gates[label])[:count]  # of equal ones the earlier first
            self.reshape({"kept": [label for label in gates if label in best]})

    def shapes(self) -> dict[str, Any] | None:
        return None if self.kept is None else {"kept": self.kept}

    def reshape(self, shapes: Mapping[str, Any]) -> None:
        """Keep the selected sites, with LoRA as at its start."""
        self.kept = list(shapes["kept"])
        self.keep(self.kept)
        for adapter in self.labelled().values():
            adapter.setup(**self.lora, gated=False)  # type: ignore[call-arg]
