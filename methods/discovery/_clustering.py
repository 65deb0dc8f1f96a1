"""k-means, plain and semi-supervised. Arrays are float32 (rows, dim); labels are class numbers, -1 where unknown."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_TOLERANCE = 1e-4  # of the centres' shift, in units of the features' variance as in scikit-learn
_CHUNK = 2**24  # distances held at a time


@dataclass(frozen=True)
class Clusters:
    """Centres (k, dim), the cluster of each row, and the sum of the squared distances to their centres."""

    centres: Array
    places: Array
    inertia: float


def plain(rows: Array, count: int, drawn: np.random.Generator, inits: int, iterations: int) -> Clusters:
    """scikit-learn's k-means from k-means++ seeds. Of fewer rows than clusters the first centre stands in for the rest.

    A centre that is there twice attracts no row: of equal ones the first counts.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    fewer = min(count, len(rows))
    seed = int(drawn.integers(2**32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal rows: some clusters stay empty
        found = KMeans(fewer, n_init=inits, max_iter=iterations, random_state=seed).fit(rows)
    missing = np.repeat(found.cluster_centers_[:1], count - fewer, axis=0)
    return Clusters(np.concatenate([found.cluster_centers_, missing]), found.labels_, float(found.inertia_))


def semi_supervised(
    rows: Array, labels: Array, count: int, drawn: np.random.Generator, inits: int, iterations: int
) -> Clusters:
    """k-means in which labelled rows stay in their class's cluster: cluster c is class c.

    Seeds are the classes' means, and by k-means++ among the unlabelled rows for the other clusters; of `inits` such
    starts the one of least inertia is kept (Vaze et al. Generalized Category Discovery. 2022. arXiv:2201.02609).
    """
    runs = [_once(rows, labels, count, drawn, iterations) for _ in range(inits)]
    return min(runs, key=lambda run: run.inertia)


def squared_distances(rows: Array, centres: Array) -> Array:
    """(rows, centres), at least 0."""
    products = -2 * rows @ centres.T + (centres**2).sum(axis=1)
    distances: Array = np.maximum(products + (rows**2).sum(axis=1, keepdims=True), 0)
    return distances


def nearest(rows: Array, centres: Array) -> tuple[Array, Array]:
    """The nearest centre of each row, the first of equal ones, and the squared distance to it."""
    step = max(1, _CHUNK // len(centres))
    places, distances = np.empty(len(rows), dtype=np.int64), np.empty(len(rows), dtype=np.float64)
    for low in range(0, len(rows), step):
        cut = squared_distances(rows[low : low + step], centres)
        places[low : low + step], distances[low : low + step] = cut.argmin(axis=1), cut.min(axis=1)
    return places, distances


def _once(rows: Array, labels: Array, count: int, drawn: np.random.Generator, iterations: int) -> Clusters:
    labelled, tolerance = labels >= 0, _TOLERANCE * float(rows.var(axis=0).mean())
    centres = _seeds(rows, labels, count, drawn)
    found = _assigned(rows, labels, labelled, centres)
    for _ in range(iterations):
        moved = _means(rows, found)
        shift = float(((moved - found.centres) ** 2).sum())
        found = _assigned(rows, labels, labelled, moved)
        if shift <= tolerance:
            break
    return found


def _seeds(rows: Array, labels: Array, count: int, drawn: np.random.Generator) -> Array:
    """Means of the labelled classes in their places, unlabelled rows drawn by k-means++ in the others."""
    classes = np.unique(labels[labels >= 0])
    if len(classes) and classes[-1] >= count:
        raise ValueError(f"{count} clusters cannot hold the class {classes[-1]}")
    centres = np.zeros((count, rows.shape[1]), dtype=rows.dtype)
    for number in classes:
        centres[number] = rows[labels == number].mean(axis=0)
    free = rows[labels < 0] if (labels < 0).any() else rows
    distances = nearest(free, centres[classes])[1] if len(classes) else np.ones(len(free))
    for place in np.setdiff1d(np.arange(count), classes):
        total = distances.sum()
        chosen = drawn.choice(len(free), p=distances / total if total > 0 else None)
        centres[place] = free[chosen]
        distances = np.minimum(distances, squared_distances(free, centres[place : place + 1])[:, 0])
    return centres


def _assigned(rows: Array, labels: Array, labelled: Array, centres: Array) -> Clusters:
    places, distances = nearest(rows, centres)
    places[labelled] = labels[labelled]
    distances[labelled] = ((rows[labelled] - centres[labels[labelled]]) ** 2).sum(axis=1)
    return Clusters(centres, places, float(distances.sum()))


def _means(rows: Array, found: Clusters) -> Array:
    """The mean of each cluster's rows; an empty cluster keeps its centre."""
    count = len(found.centres)
    sizes = np.bincount(found.places, minlength=count)
    order = np.argsort(found.places, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    means = found.centres.copy()
    kept = sizes > 0
    sums = np.add.reduceat(rows[order].astype(np.float64), starts[kept], axis=0)
    means[kept] = sums / sizes[kept, None]
    return means
