"""AdaLoRA by peft, and what its schedule needs of a training loop (Zhang et al., 2023, arXiv:2303.10512)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.execute.adapters.peft import PeftAdaptation

if TYPE_CHECKING:
    from bench.execute.step import Step

IMPORTANCES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


class AdaLoRAAdaptation(PeftAdaptation):
    """peft's AdaLoRA. A `tinit` or `tfinal` between 0 and 1 is a share of the run's steps.

    peft prunes after the optimizer's step from the gradients of that step (`after_step`), and adds its
    penalty in a forward that the harness does not call (`penalty`).
    """

    def values(self) -> dict[str, Any]:
        steps = self.info.steps
        if not steps:
            raise UserError("peft's ADALORA follows a schedule and needs a budget with a number of steps.")
        values = {"total_step": steps, **self.params}
        for word in ("tinit", "tfinal"):
            if 0 < values.get(word, 0) < 1:
                values[word] = math.floor(values[word] * steps)
        return values

    def build(self) -> None:
        super().build()
        # peft means ranknum, a constant, to stay; its cast of a layer to another dtype or device makes it trainable.
        for name, parameter in self.backbone.named_parameters():
            if ".ranknum." in name:
                parameter.requires_grad_(False)
        self.moving = [name for name in self.moving if ".ranknum." not in name]

    def penalty(self) -> Tensor:
        """orth_reg_weight times the mean of ‖PᵀP - I‖_F over every P and Q."""
        norms = []
        for name, matrix in self.backbone.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                gram = matrix @ matrix.T if ".lora_A." in name else matrix.T @ matrix
                norms.append(torch.linalg.norm(gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)))
        weight: float = self.config.orth_reg_weight
        return weight * torch.stack(norms).mean()

    def after_step(self, step: Step) -> None:
        """Update the importances and prune, where the step has moved the factors; peft counts steps from 1."""
        if all(parameter.grad is None for _, parameter in self.named_trained()):
            return
        self._tuner.update_and_allocate(step.number + 1)

    def ranks(self) -> dict[str, int]:
        """The number of singular values that are not pruned, by layer."""
        values = [(name, one) for name, one in self.backbone.named_parameters() if ".lora_E." in name]
        return {name.partition(".lora_E.")[0]: int(one.count_nonzero()) for name, one in values}

    # The importances and the pruned places are no parameters, but a resumed run goes on from them. They
    # travel in the state dict as one tensor: two flags whether there are any, then for each parameter its
    # importances, and for each singular value whether it is kept.
    def get_extra_state(self) -> Tensor:
        if not self._peft:
            return torch.zeros(0)
        allocator, pattern = self._tuner.rankallocator, self._pattern or {}
        parts = [torch.tensor([float(bool(allocator.ipt)), float(bool(pattern))])]
        for name, parameter in self._watched():
            zeros = torch.zeros_like(parameter)
            parts += [getattr(allocator, word).get(name, zeros).detach().cpu().flatten() for word in IMPORTANCES]
            if ".lora_E." in name:
                parts.append(torch.tensor(pattern.get(name, [True] * parameter.numel())))
        return torch.cat([part.double() for part in parts])

    def set_extra_state(self, state: Tensor) -> None:
        pattern: dict[str, list[bool]] = {}
        importances: dict[str, dict[str, Tensor]] = {word: {} for word in IMPORTANCES}
        at = 2
        for name, parameter in self._watched():
            size = parameter.numel()
            for word in IMPORTANCES:
                importances[word][name] = state[at : at + size].to(parameter).view_as(parameter)
                at += size
            if ".lora_E." in name:
                pattern[name] = [bool(kept) for kept in state[at : at + size].tolist()]
                at += size
        for word in IMPORTANCES:
            setattr(self._tuner.rankallocator, word, importances[word] if bool(state[0]) else {})
        vars(self.config)["rank_pattern"] = pattern if bool(state[1]) else None

    def _watched(self) -> list[tuple[str, Tensor]]:
        """What peft keeps an importance for."""
        named = self.backbone.named_parameters()
        return [(name, one.detach()) for name, one in named if "lora_" in name and "default" in name]

    @property
    def _pattern(self) -> dict[str, list[bool]] | None:
        """Which singular values are kept, by parameter name; None before the first pruning."""
        pattern: dict[str, list[bool]] | None = vars(self.config)["rank_pattern"]
        return pattern

    @property
    def _tuner(self) -> Any:
        return self.model.base_model
