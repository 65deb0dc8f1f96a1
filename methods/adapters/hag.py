"""HAG: hard-attention gates with gradient routing (Roffo, Biffi, Salvagnini, Cherubini, 2024, arXiv:2407.04400)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bench.core.errors import UserError
from bench.execute.adapters import Adaptation, Adapter

if TYPE_CHECKING:
    from bench.execute.step import Step


def start(like: Tensor, channels: int) -> nn.Parameter:
    """a (channels,) from N(0, 2 / (1 + channels)), Xavier's normal of a (1, channels) matrix: gates are near 0.5."""
    return nn.Parameter(nn.init.xavier_normal_(like.new_empty(1, channels)).squeeze(0))


class Gate(Adapter):
    """x + sigmoid(a) * branch(x): W = diag(sigmoid(a)) W0, b = sigmoid(a) b0 in a branch's last layer."""

    exact_at_start = False  # a pretrained branch begins at about half its strength

    def setup(self) -> None:
        self.a = start(self.weight0, len(self.weight0))

    def weight(self) -> Tensor:
        return self.a.sigmoid().view(-1, *[1] * (self.weight0.dim() - 1)) * self.weight0

    def bias(self) -> Tensor | None:
        return None if self.bias0 is None else self.a.sigmoid() * self.bias0


class Behind(nn.Module):
    """A hook that multiplies what a module gives, (rows, channels, ...), by sigmoid(a)."""

    def __init__(self, a: nn.Parameter) -> None:
        super().__init__()
        self.a = a

    def forward(self, module: nn.Module, given: Any, output: Tensor) -> Tensor:
        return output * self.a.sigmoid().view(-1, *[1] * (output.dim() - 2))


class HAG(Adaptation):
    """A gate for each channel of each attention and MLP branch, while the whole network moves.

    Of timm's ResNets each stage has one instead, and so have the pooled features; these cannot be merged into weights.
    Of each batch a first pass updates the gates alone, by Adam with their own rate and clipping; a second pass, through
    the updated gates, is the objective's and updates all the rest. The authors' code clears the gradients once, so that
    its second pass adds those of the first; here, as in the paper, each pass has its own. The first pass takes the
    objective's loss of the whole batch, also where the objective's own update divides it in another way.
    """

    def setup(self, gate_lr: float = 0.01, gate_clip: float = 128.0) -> None:
        self.gate_lr, self.gate_clip = gate_lr, gate_clip
        self.train_spec = "all"

    def build(self) -> None:
        network: Any = self.backbone
        self.behind = nn.ModuleList()
        described = [(str(stage["module"]), int(stage["num_chs"])) for stage in getattr(network, "feature_info", [])]
        stages = [(path, channels) for path, channels in described if re.fullmatch(r"layer\d+", path)]
        for path, channels in [*stages, ("global_pool", int(network.num_features))] if stages else []:
            gate = Behind(start(next(network.parameters()), channels))
            network.get_submodule(path).register_forward_hook(gate)
            self.behind.append(gate)
        for site in [] if stages else self.sites():
            self.add(Gate(site))

    @property
    def mergeable(self) -> bool:
        return not len(self.behind) and super().mergeable

    def merge(self) -> None:
        if len(self.behind):
            raise UserError("HAG's gates behind the stages of a ResNet are no weights and cannot be merged into them.")
        super().merge()

    def optimizers(self, declared: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        rates = {"optimizer": "adam", "options": {}, "lr": self.gate_lr, "clip": self.gate_clip, "weight_decay": 0.0}
        return {"gates": {**rates, "params": [parameter for _, parameter in self.named_added()]}}

    def before_step(self, step: Step) -> None:
        for part in step.parts():
            step.backward(step.method.loss(part) * part.share, into="gates")
        step.apply("gates")
