"""All: the share of all rows that lie in the cluster matched with their class,
by one assignment over all classes ("v2" of Vaze et al., 2022, arXiv:2201.02609).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._assignment import matched

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In 0..1. Rows with a logit that is not finite are in no cluster, and wrong."""
    found = matched(predictions, truth)
    return (found.old + found.new) / len(truth.labels)


METRIC = Metric(
    name="discovery-all",
    version=2,
    title="All (v2)",
    higher=True,
    range=(0.0, 1.0),
    reads="logits",
    compute=compute,
    needs="known",
)
