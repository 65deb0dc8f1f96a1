"""The method: a LightningModule that carries the four slots through training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from bench.core.errors import UserError
from bench.core.loading import load
from bench.core.streams import seed
from bench.execute.adapters import Adaptation, AdaptationContext, make_adaptation
from bench.execute.backbones import Backbone
from bench.execute.draws import drawn, reseed
from bench.execute.head import LinearHead
from bench.execute.objective import Objective
from bench.execute.optimizer import make_optimizer, make_schedule

if TYPE_CHECKING:
    from bench.execute.data import Data
    from bench.execute.loaders import Batch
    from bench.problems import Problem


# What an adaptation needs to go on training (budgets, schedules) stands in checkpoints, not in records.
_RESUME_ONLY = "_extra_state"


@dataclass(frozen=True)
class Blueprint:
    """What a method is built from. Holds no path to data or labels; `homes` are folders of declarations."""

    method: Mapping[str, Any]  # the resolved declaration
    task: str
    replicate: int
    problem: Problem
    steps: int  # optimizer steps of the whole run
    homes: Mapping[str, Path]

    @property
    def own(self) -> tuple[str, int, str]:
        """The coordinates of what the method draws for itself."""
        return self.task, self.replicate, str(self.method["name"])

    def slot(self, name: str) -> Mapping[str, Any]:
        """The declaration of one slot, {} where it is left at its default."""
        return self.method.get(name) or {}


class Method(LightningModule):
    """Plain supervised fine-tuning of an adapted backbone under a head; a variant overrides one hook.

    `build` the network · `loss` of a batch · `fit` on the data · `predict` a batch · `finish` after the fit.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.strict_loading = False  # checkpoints hold only what is trained
        self._frozen: frozenset[str] = frozenset()
        self._checked = False

    # -- hooks

    def build(self, backbone: Backbone) -> None:
        """Make the network: the backbone, the problem's head, the adaptation, the objective.

        The head is drawn from the stream init(task, replicate), the same for every method; the rest from
        method(task, replicate, method).
        """
        published = {id(tensor) for tensor in (*backbone.parameters(), *backbone.buffers())}
        self.backbone = backbone
        with drawn("init", self.blueprint.task, self.blueprint.replicate):
            self.head = self._make_head(backbone.dim)
        with drawn("method", *self.blueprint.own):
            self.adaptation: Adaptation = make_adaptation(
                backbone.network,
                self.blueprint.slot("adaptation"),
                backbone.groups,
                self.blueprint.homes.get("adaptation"),
                AdaptationContext(self.blueprint.steps, self.blueprint.problem.classes()),
            )
            self.adaptation.attach()
            self.objective = self._make_objective()
        self._frozen = frozenset(self._unchanged(published))

    def forward(self, inputs: Any) -> Tensor:
        """Inputs -> outputs (batch, problem.outputs())."""
        outputs: Tensor = self.head(self.backbone(inputs))
        return outputs

    def loss(self, batch: Batch) -> Tensor:
        """The objective's loss plus the adaptation's penalty."""
        loss: Tensor = self.objective(self, batch)
        penalty = self.adaptation.penalty()
        if penalty is not None:
            loss = loss + penalty
        return loss

    def fit(self, data: Data, trainer: Trainer) -> None:
        """Train. Override for closed-form methods and for those that train several members."""
        trainer.fit(self, train_dataloaders=data.training(), ckpt_path=data.resume, weights_only=True)

    def predict(self, batch: Batch) -> Tensor:
        """Outputs for a batch of `inputs` and `ids`; no labels are there."""
        outputs: Tensor = self(batch["inputs"])
        return outputs

    def finish(self) -> None:
        """After the fit, before the last predictions: average, merge, whatever ends a method."""

    # -- training under Lightning

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Micro-batch losses are weighted by their rows, so that a step means the same however it is cut."""
        self.adaptation.context(batch)
        weighted: Tensor = self.loss(batch) * (batch["share"] * self.trainer.accumulate_grad_batches)
        return weighted

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Dropout and whatever else is drawn in a step depends on the step and its rows alone."""
        reseed(seed("dropout", *self.blueprint.own, *batch["draw"]))

    def on_after_backward(self) -> None:
        """The first gradients tell whether every adapter is really in the network's way."""
        if not self._checked:
            self.adaptation.check_used()
            self._checked = True

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.adaptation.after_backward(self.trainer.global_step, self.blueprint.steps)

    def configure_optimizers(self) -> Any:
        declared = self.blueprint.slot("optimizer")
        groups = self.parameter_groups(declared)
        if not groups:
            raise UserError(f"{self.blueprint.method['name']} trains no parameters; override fit() for such a method.")
        optimizer = make_optimizer(groups, declared, self.blueprint.homes.get("optimizer"))
        schedule = make_schedule(optimizer, declared, self.blueprint.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def parameter_groups(self, declared: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The adaptation's own groups, then the rest; biases and normalisation weights do not decay."""
        own = self.adaptation.param_groups(declared)
        taken = {id(one) for group in own for one in group["params"]}
        head_lr = declared["lr"] if declared.get("head_lr") is None else declared["head_lr"]
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad and id(parameter) not in taken:
                rate = head_lr if name.startswith("head.") else declared["lr"]
                decay = declared["weight_decay"] if parameter.ndim > 1 else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        return own + [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()]

    def train(self, mode: bool = True) -> Method:
        """Training mode. A backbone in which nothing moves, and frozen normalisation, stay as in prediction."""
        super().train(mode)
        if mode and hasattr(self, "backbone"):
            if not any(parameter.requires_grad for parameter in self.backbone.parameters()) and not self._adapters():
                self.backbone.eval()
            for module in self._still():
                module.eval()
        return self

    # -- what is kept

    def trained_state(self) -> dict[str, Tensor]:
        """Every tensor that differs from the published backbone, or may: what a record keeps."""
        return {
            name: tensor.detach().cpu().clone().contiguous()
            for name, tensor in self.state_dict().items()
            if name not in self._frozen and not name.endswith(_RESUME_ONLY)
        }

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `trained_state` gave; everything it holds must be there."""
        missing, unexpected = self.load_state_dict(dict(state), strict=False)
        lacking = [name for name in missing if name not in self._frozen and not name.endswith(_RESUME_ONLY)]
        if lacking or unexpected:
            raise RuntimeError(f"the kept state does not fit: missing {lacking[:3]}, unexpected {list(unexpected)[:3]}")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: tensor for name, tensor in state.items() if name not in self._frozen}

    # -- building

    def _make_head(self, dim: int) -> nn.Module:
        declared = self.blueprint.slot("head")
        name = str(declared.get("head") or "linear")
        made = LinearHead if name == "linear" else load(name, self.blueprint.homes["head"])
        params = dict(declared.get("params") or {})
        try:
            head: nn.Module = made(dim, self.blueprint.problem.outputs(), **params)
        except TypeError as error:
            raise UserError(f"head.params do not fit {name}: {error}.") from None
        return head

    def _make_objective(self) -> Objective:
        declared = self.blueprint.slot("objective")
        name = declared.get("objective")
        made = Objective if name is None else load(name, self.blueprint.homes["objective"])
        objective: Objective = made(**(declared.get("params") or {}))
        return objective

    def _adapters(self) -> bool:
        return any(parameter.requires_grad for parameter in self.adaptation.parameters())

    def _still(self) -> Iterator[nn.Module]:
        """Normalisation that does not move: its statistics are pretrained weights, frozen with its own weights.

        Without weights of its own it moves where anything else of the backbone does.
        """
        anything = any(parameter.requires_grad for parameter in self.backbone.parameters())
        for module in self.backbone.modules():
            if isinstance(module, _NormBase):
                own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
                if not (any(own) if own else anything):
                    yield module

    def _unchanged(self, published: set[int]) -> Iterator[str]:
        """Names of the backbone's tensors that stay as published: frozen weights, and buffers that do not move."""
        moving = self._adapters() or any(parameter.requires_grad for parameter in self.backbone.parameters())
        still = {id(buffer) for module in self._still() for buffer in module.buffers(recurse=False)}
        parameters = {id(parameter) for parameter in self.parameters()}
        for name, tensor in self.state_dict(keep_vars=True).items():
            frozen = id(tensor) in parameters and not tensor.requires_grad
            if id(tensor) in published and (
                frozen or (id(tensor) not in parameters and (not moving or id(tensor) in still))
            ):
                yield name
