"""New: the share of rows of unknown classes that lie in the cluster matched with their class,
by one assignment over all classes ("v2" of Vaze et al., 2022, arXiv:2201.02609).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric, Truth
from bench.metrics._assignment import known_of, matched

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(predictions: Mapping[str, NDArray[Any]], truth: Truth) -> float:
    """In 0..1; 0 where no row is of an unknown class. Rows with a logit that is not finite are wrong."""
    found = matched(predictions, known_of(truth))
    return found.new / found.new_rows if found.new_rows else 0.0


METRIC = Metric(
    name="discovery-new",
    version=2,
    title="New (v2)",
    higher=True,
    range=(0.0, 1.0),
    reads="logits",
    compute=compute,
    needs="known",
)
