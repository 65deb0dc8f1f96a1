"""All, Old and New: by brute force over assignments, by the definition of "v2", and where nothing is defined."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.metrics import Truth, metric

NAMES = ("discovery-all", "discovery-old", "discovery-new")
Array = NDArray[Any]


def logits_of(clusters: Array, count: int, seed: int = 0) -> Array:
    """Logits whose highest is at each row's cluster."""
    noise = np.random.default_rng(seed).random((len(clusters), count)).astype(np.float32)
    noise[np.arange(len(clusters)), clusters] += 1
    return noise


def values(logits: Array, labels: Array, known: int | None, classes: int | None = None) -> tuple[float, ...]:
    truth = Truth(labels, classes, known)
    return tuple(metric(name).compute({"logits": logits}, truth) for name in NAMES)


def brute(clusters: Array, labels: Array, known: int, count: int, classes: int) -> tuple[float, float, float]:
    """Every way of giving clusters to classes; of the best, the one with the most rows of known classes."""
    size = max(count, classes)
    old_row = labels < known
    best = (-1, -1)
    for places in permutations(range(size)):
        right = np.array(places)[clusters] == labels
        best = max(best, (int(right.sum()), int(right[old_row].sum())))
    shares = [best[0] / len(labels)]
    for hits, rows in ((best[1], old_row.sum()), (best[0] - best[1], (~old_row).sum())):
        shares.append(hits / rows if rows else 0.0)
    return shares[0], shares[1], shares[2]


@pytest.mark.parametrize("seed", range(25))
def test_equals_brute_force(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    count, classes = int(drawn.integers(1, 7)), int(drawn.integers(2, 7))
    rows = int(drawn.integers(1, 30))
    clusters, labels = drawn.integers(0, count, rows), drawn.integers(0, classes, rows)
    known = int(drawn.integers(0, classes + 1))
    found = values(logits_of(clusters, count), labels, known, classes)
    assert found == pytest.approx(brute(clusters, labels, known, count, classes), abs=1e-12)


def test_equals_the_papers_definition() -> None:
    """max over permutations of the mean of 1[y = p(cluster)] by the Hungarian method; its map serves Old and New."""
    from scipy.optimize import linear_sum_assignment

    drawn = np.random.default_rng(5)
    labels = drawn.integers(0, 40, 3000)
    clusters = np.where(drawn.random(3000) < 0.6, (labels * 7 + 3) % 40, drawn.integers(0, 40, 3000))
    table = np.zeros((40, 40))
    for cluster, label in zip(clusters, labels, strict=True):
        table[cluster, label] += 1
    given = dict(zip(*linear_sum_assignment(table.max() - table), strict=True))
    right = np.array([given[cluster] for cluster in clusters]) == labels
    old = labels < 25
    want = (right.mean(), right[old].mean(), right[~old].mean())
    assert values(logits_of(clusters, 40), labels, 25, 40) == pytest.approx(want, abs=1e-12)
    assert 0.5 < want[0] < 0.7


@pytest.mark.parametrize("seed", range(8))
def test_clusters_numbers_and_the_order_of_rows_say_nothing(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    labels, clusters = drawn.integers(0, 5, 12), drawn.integers(0, 6, 12)  # few rows: many assignments are as good
    want = values(logits_of(clusters, 6), labels, 2, 5)
    order, names = drawn.permutation(12), drawn.permutation(6)
    assert values(logits_of(clusters[order], 6), labels[order], 2, 5) == want
    assert values(logits_of(names[clusters], 6), labels, 2, 5) == want


def test_of_equally_good_assignments_known_classes_have_it() -> None:
    """One cluster, a known and an unknown class of two rows each."""
    labels = np.array([0, 0, 1, 1])
    assert values(np.ones((4, 1)), labels, 1, 2) == (0.5, 1.0, 0.0)


def test_one_assignment_serves_both_shares() -> None:
    """Each half alone could be matched fully ("v1"); together the two classes want the same cluster."""
    labels, clusters = np.array([0, 0, 0, 1, 1]), np.array([2, 2, 2, 2, 2])
    assert values(logits_of(clusters, 3), labels, 1, 2) == (0.6, 1.0, 0.0)


def test_more_and_fewer_clusters_than_classes() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    split = np.array([0, 1, 2, 3, 4, 5])
    assert values(logits_of(split, 6), labels, 1, 3) == (0.5, 0.5, 0.5)
    assert values(logits_of(split, 60), labels, 1, 3) == (0.5, 0.5, 0.5)
    joined = np.array([0, 0, 1, 1, 1, 1])
    assert values(logits_of(joined, 2), labels, 1, 3) == (4 / 6, 1.0, 0.5)


def test_shares_of_no_rows_are_zero() -> None:
    clusters = np.array([0, 1, 1])
    assert values(logits_of(clusters, 2), np.array([2, 3, 3]), 2, 4) == (1.0, 0.0, 1.0)
    assert values(logits_of(clusters, 2), np.array([0, 1, 1]), 2, 4) == (1.0, 1.0, 0.0)


def test_rows_without_a_finite_logit_are_wrong() -> None:
    labels, clusters = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    logits = logits_of(clusters, 2)
    logits[0, 1], logits[2, 0] = np.nan, np.inf
    assert values(logits, labels, 1, 2) == (0.5, 0.5, 0.5)
    assert values(np.full((4, 2), np.nan), labels, 1, 2) == (0.0, 0.0, 0.0)


def test_all_needs_no_known_classes() -> None:
    labels, logits = np.array([0, 1]), logits_of(np.array([1, 0]), 2)
    assert metric("discovery-all").compute({"logits": logits}, Truth(labels)) == 1.0
    for name in NAMES[1:]:
        with pytest.raises(UserError, match="number of known classes"):
            metric(name).compute({"logits": logits}, Truth(labels, 2))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="labels from 0 to 1; these run from 0 to 2"):
        values(np.zeros((3, 2)), np.array([0, 1, 2]), 1, 2)
    with pytest.raises(UserError, match="at least one cluster"):
        values(np.zeros((2, 0)), np.array([0, 1]), 1, 2)
    with pytest.raises(UserError, match="as many predictions as labels"):
        values(np.zeros((2, 2)), np.array([0, 1, 1]), 1, 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_protocols_version_is_named(name: str) -> None:
    found = metric(name)
    assert (found.version, found.higher, found.range, found.reads) == (2, True, (0.0, 1.0), "logits")
    assert "v2" in found.title
