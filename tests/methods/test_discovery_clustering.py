"""The clusterings of category discovery against other ways to the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.core.loading import load
from bench.execute.parts import Info, ready
from bench.metrics import Truth, metric

HOME = Path(__file__).parents[2] / "methods" / "discovery"
Array = NDArray[Any]


def named(reference: str) -> Any:
    return load(reference, HOME)


def philox(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


def random(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def blobs(count: int, rows: int, spread: float = 0.3, seed: int = 0) -> tuple[Array, Array]:
    drawn = np.random.default_rng(seed)
    middles = 3 * drawn.normal(size=(count, 6))
    labels = np.arange(rows) % count
    return (middles[labels] + spread * drawn.normal(size=(rows, 6))).astype(np.float32), labels


def test_plain_kmeans_is_scikit_learns() -> None:
    from sklearn.cluster import KMeans

    rows, _ = blobs(5, 80, spread=2)
    found = named("_clustering:plain")(rows, 5, philox(3), 4, 50)
    want = KMeans(5, n_init=4, max_iter=50, random_state=int(philox(3).integers(2**32))).fit(rows)
    np.testing.assert_array_equal(found.places, want.labels_)
    np.testing.assert_allclose(found.centres, want.cluster_centers_, rtol=1e-6)


def test_fewer_rows_than_clusters() -> None:
    rows, _ = blobs(3, 4)
    found = named("_clustering:plain")(rows, 7, philox(0), 2, 10)
    assert found.centres.shape == (7, 6)
    assert (found.centres[4:] == found.centres[0]).all()
    kept = named("_clustering:semi_supervised")(rows, np.array([0, 1, -1, -1]), 7, philox(0), 2, 10)
    assert kept.centres.shape == (7, 6)
    assert np.isfinite(kept.centres).all()


@pytest.mark.parametrize("seed", range(5))
def test_labelled_rows_stay_and_inertia_falls(seed: int) -> None:
    rows, truth = blobs(6, 90, spread=2.5, seed=seed)
    labels = np.where((truth < 3) & (np.arange(90) % 2 == 0), truth, -1)
    before = math.inf
    for iterations in (0, 1, 2, 5, 100):
        found = named("_clustering:semi_supervised")(rows, labels, 6, philox(seed), 1, iterations)
        assert (found.places[labels >= 0] == labels[labels >= 0]).all()
        assert found.inertia == pytest.approx(((rows - found.centres[found.places]) ** 2).sum(), rel=1e-4)
        assert found.inertia <= before * (1 + 1e-6)
        before = found.inertia
    free = labels < 0
    distances = ((rows[free, None] - found.centres) ** 2).sum(axis=2)
    assert (found.places[free] == distances.argmin(axis=1)).all()
    for number in np.unique(found.places):  # it has come to rest
        np.testing.assert_allclose(found.centres[number], rows[found.places == number].mean(axis=0), atol=0.05)
    many = named("_clustering:semi_supervised")(rows, labels, 6, philox(seed), 8, 100)
    assert many.inertia <= before


def test_without_labels_it_is_lloyds_iteration() -> None:
    """From the same seeds scikit-learn comes to the same centres."""
    from sklearn.cluster import KMeans

    rows, _ = blobs(5, 120, spread=2)
    none = np.full(120, -1)
    start = named("_clustering:semi_supervised")(rows, none, 5, philox(1), 1, 0).centres
    found = named("_clustering:semi_supervised")(rows, none, 5, philox(1), 1, 200)
    want = KMeans(5, init=start, n_init=1, max_iter=200, tol=1e-4).fit(rows)
    np.testing.assert_allclose(found.centres, want.cluster_centers_, atol=1e-3)
    assert found.inertia == pytest.approx(want.inertia_, rel=1e-4)


def test_seeds_are_class_means_and_far_rows() -> None:
    rows = np.array([[0, 0], [2, 0], [10, 0], [10, 0], [0, 50], [0, 50]], dtype=np.float32)
    labels = np.array([0, 0, 2, -1, -1, -1])
    found = named("_clustering:semi_supervised")(rows, labels, 4, philox(0), 1, 0)
    np.testing.assert_array_equal(found.centres[[0, 2]], [[1, 0], [10, 0]])
    np.testing.assert_array_equal(found.centres[1], [0, 50])  # the only unlabelled row away from the classes


def test_labels_pull_a_cluster_together() -> None:
    """Two classes lie on one another's line: without labels rows go by place, with them classes hold."""
    rows = np.array([[0.0], [1.0], [1.2], [5.0]], dtype=np.float32)
    found = named("_clustering:semi_supervised")(rows, np.array([0, -1, 1, 1]), 2, philox(0), 1, 50)
    assert found.places.tolist() == [0, 0, 1, 1]


def test_the_number_of_classes_is_the_best_of_all_numbers() -> None:
    """Against trying every number: five blobs, of which one, a tight one, is not known."""
    rows, truth = blobs(5, 200, spread=0.3)
    rows[truth == 4] = rows[truth == 4].mean(axis=0) + (rows[truth == 4] - rows[truth == 4].mean(axis=0)) / 100
    labels = np.where((truth < 4) & (np.arange(200) < 120), truth, -1)
    known, plain = labels >= 0, named("_clustering:plain")
    accuracy = named("_number:clustering_accuracy")
    tried = {
        count: accuracy(plain(rows, count, philox(9), 3, 100).places[known], labels[known]) for count in range(3, 15)
    }
    found = named("_number:estimate")(rows, labels, 3, 15, 9, 3, 100)
    assert tried[found] == max(tried.values()) == 1
    assert found in (4, 5), "with four, the blob without labels joins another"
    assert tried[3] < 0.8
    assert tried[14] < 0.8
    assert named("_number:estimate")(rows, labels, 4, 4, 9, 3, 100) == 4
    with pytest.raises(ValueError, match="without a labelled row"):
        named("_number:estimate")(rows, np.full(200, -1), 4, 9, 9, 1, 10)


def test_clustering_accuracy_is_the_metrics() -> None:
    drawn = np.random.default_rng(4)
    places, labels = drawn.integers(0, 7, 60), drawn.integers(0, 4, 60)
    logits = np.eye(7)[places]
    want = metric("discovery-all").compute({"logits": logits}, Truth(labels, 4, 2))
    assert named("_number:clustering_accuracy")(places, labels) == pytest.approx(want, abs=1e-12)


def centres(**params: Any) -> Any:
    """Four centres of features of width 6."""
    return ready(named("kmeans:Centres")(**params), Info(width=6, outputs=4))


def test_centres_give_minus_squared_distances() -> None:
    head, features = centres(inits=1), random(30, 6)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    head.fit(unit, np.full(30, -1), 4, philox(0))
    want = -((unit[:, None] - head.centres.numpy()) ** 2).sum(axis=2)
    np.testing.assert_allclose(head(torch.from_numpy(features)).numpy(), want, atol=1e-5)


def test_centres_of_an_estimated_number_are_restored() -> None:
    fitted, other = centres(inits=1), centres()
    fitted.fit(random(30, 6), np.full(30, -1), 9, philox(0))
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.centres, fitted.centres)
    assert other.centres.shape == (9, 6)
