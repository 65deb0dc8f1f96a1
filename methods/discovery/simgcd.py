"""SimGCD: parametric prototypes with self-distillation (Wen, Zhao, Qi. 2023. arXiv:2211.11727)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.execute.head import Head
from bench.execute.objective import Objective

from ._contrastive import Projector, contrast, two_views

if TYPE_CHECKING:
    from bench.execute.batch import Batch
    from bench.execute.method import Method


class Prototypes(Head):
    """The cosine of a feature and each prototype over the student's temperature: (rows, dim) -> (rows, prototypes).

    `prototypes` is their number, 0 for the number of classes. `project` is what the contrastive losses look through.
    """

    def setup(self, temperature: float = 0.1, hidden: int = 2048, bottleneck: int = 256, prototypes: int = 0) -> None:
        self.temperature, self.chosen, self.sizes = temperature, prototypes, (hidden, bottleneck)

    def build(self) -> None:
        self.projector = Projector(self.info.width, *self.sizes)
        start = nn.Linear(self.info.width, self.chosen or self.info.outputs, bias=False)
        self.weight = nn.Parameter(start.weight.detach().clone())

    def project(self, features: Tensor) -> Tensor:
        projected: Tensor = self.projector(features)
        return projected

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):  # the temperatures need more than 8 bits
            cosines = F.linear(F.normalize(features.float(), dim=-1), F.normalize(self.weight, dim=-1))
        return cosines / self.temperature


class SimGCD(Objective):
    """weight (cross-entropy + supervised contrast) of labelled rows + (1 - weight) (distillation + contrast) of all.

    Distillation: the cross-entropy of each view with the sharper, detached prediction of the other, minus
    `memax_weight` times the entropy of the mean prediction (counted from its maximum). The teacher's temperature falls
    linearly from `teacher_start` to `teacher_end` within `teacher_warmup` of the steps: the authors' 30 of 200 epochs.
    Temperatures of the contrastive losses are those of the authors' code.
    """

    def setup(
        self,
        weight: float = 0.35,
        memax_weight: float = 2.0,
        teacher_start: float = 0.07,
        teacher_end: float = 0.04,
        teacher_warmup: float = 0.15,
        temperature: float = 1.0,
        labelled_temperature: float = 0.07,
    ) -> None:
        self.weight, self.memax_weight = weight, memax_weight
        self.teacher = teacher_start, teacher_end, teacher_warmup
        self.temperatures = temperature, labelled_temperature

    def forward(self, method: Method, batch: Batch) -> Tensor:
        head, labels = _prototypes(method), batch.labels
        features = two_views(method, batch)
        logits = head(features)
        sharper = head.temperature / self.teacher_temperature(batch.step, self.info.steps)
        parametric = (1 - self.weight) * (
            distillation(logits, logits * sharper) - self.memax_weight * mean_entropy(logits)
        ) + self.weight * labelled_cross_entropy(logits, labels)
        return parametric + contrast(head.project(features), labels, self.weight, *self.temperatures)

    def teacher_temperature(self, step: int, steps: int) -> float:
        start, end, warmup = self.teacher
        done = min(1.0, step / (warmup * steps)) if warmup else 1.0
        return start + (end - start) * done


def distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean cross-entropy of each view (of 2n rows) with the other view's prediction, through which no gradient."""
    target = teacher.detach().softmax(dim=-1).roll(len(teacher) // 2, dims=0)
    crossed: Tensor = -(target * student.log_softmax(dim=-1)).sum(dim=-1)
    return crossed.mean()


def mean_entropy(logits: Tensor) -> Tensor:
    """The entropy of the mean prediction less the greatest there is, so that 0 is best."""
    mean = logits.softmax(dim=-1).mean(dim=0)
    entropy: Tensor = torch.special.entr(mean).sum()
    return entropy - math.log(len(mean))


def labelled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of both views of the labelled rows; 0 where there is none."""
    both = labels.repeat(2)
    kept = both >= 0
    return F.cross_entropy(logits[kept], both[kept]) if bool(kept.any()) else logits.sum() * 0


def _prototypes(method: Method) -> Prototypes:
    head = method.head
    if not isinstance(head, Prototypes):
        raise UserError(f"The objective of simgcd needs prototypes as a head, not {type(head).__name__}.")
    if getattr(method.problem, "number", "known") == "estimated" and not head.chosen:
        raise UserError(
            "simgcd must be told how many prototypes there are where the number of classes is not known: "
            "set head.params.prototypes."
        )
    return head
