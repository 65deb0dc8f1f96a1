"""The backbone's features of a part's rows, as clusterings see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from bench.data.prepare import Part
    from bench.execute.batch import Rows
    from bench.execute.method import Method


def features(method: Method, part: Part) -> Tensor:
    """(rows, dim) in the part's order, of length 1, float32 on the CPU; without augmentation and dropout."""

    def unit(rows: Rows) -> Tensor:
        return F.normalize(method.backbone(rows.inputs).float(), dim=-1)

    return method.over(part, unit)
