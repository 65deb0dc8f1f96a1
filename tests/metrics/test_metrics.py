"""Each metric against scikit-learn or SciPy, on random and degenerate input."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from bench.core.errors import UserError
from bench.metrics import metric, names

ORACLES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "f1": lambda truth, found: sklearn.metrics.f1_score(truth, found, zero_division=0),
    "matthews": sklearn.metrics.matthews_corrcoef,
    "pearson": lambda truth, found: scipy.stats.pearsonr(truth, found).statistic,
    "spearman": lambda truth, found: scipy.stats.spearmanr(truth, found).statistic,
}


def logits(classes: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[classes] * 3 - 1


def value(name: str, predictions: dict[str, np.ndarray], labels: np.ndarray, count: int | None = None) -> float:
    return metric(name).compute(predictions, labels, count)


@pytest.mark.parametrize("name", ["accuracy", "f1", "matthews"])
@pytest.mark.parametrize("seed", range(5))
def test_classification_agrees_with_scikit_learn(name: str, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    for count in (2,) if name == "f1" else (2, 3, 7):
        truth, found = drawn.integers(count, size=(2, 50))
        got = value(name, {"logits": logits(found, count)}, truth, count)
        assert got == pytest.approx(ORACLES[name](truth, found), abs=1e-6)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_correlations_agree_with_scipy(name: str, offset: float) -> None:
    drawn = np.random.default_rng(0)
    for truth in (drawn.random(200), drawn.integers(6, size=200) / 5.0, drawn.integers(2, size=200) * 1.0):
        found = (truth + drawn.normal(0, 1, 200)).round(1) + offset
        got = value(name, {"values": found}, truth)
        assert got == pytest.approx(ORACLES[name](truth, found), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "truth", "found", "expected"),
    [
        ("accuracy", [1, 1, 1], [1, 1, 0], 2 / 3),
        ("accuracy", [0], [0], 1.0),
        ("f1", [0, 0, 0], [0, 0, 0], 0.0),
        ("f1", [1, 1], [0, 0], 0.0),
        ("f1", [1, 1], [1, 1], 1.0),
        ("matthews", [0, 1, 0], [1, 1, 1], 0.0),
        ("matthews", [1, 1, 1], [0, 1, 1], 0.0),
        ("matthews", [1, 1], [1, 1], 0.0),
        ("matthews", [0, 1, 0, 1], [1, 0, 1, 0], -1.0),
    ],
)
def test_degenerate_classes(name: str, truth: list[int], found: list[int], expected: float) -> None:
    got = value(name, {"logits": logits(np.array(found), 2)}, np.array(truth), 2)
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize(
    ("truth", "found"),
    [([1.0], [2.0]), ([1.0, 2.0], [3.0, 3.0]), ([1.0, 1.0], [3.0, 4.0]), ([1.0, 2.0], [math.nan, 1])],
)
def test_undefined_correlations_are_zero(name: str, truth: list[float], found: list[float]) -> None:
    assert value(name, {"values": np.array(found)}, np.array(truth)) == 0.0


@pytest.mark.parametrize("name", ["accuracy", "f1", "matthews"])
def test_a_row_that_is_not_a_number_is_wrong(name: str) -> None:
    truth = np.array([0, 1, 1, 0, 1])
    given = logits(truth, 2)
    given[1] = np.nan
    wrong = truth.copy()
    wrong[1] = 0
    assert value(name, {"logits": given}, truth, 2) == pytest.approx(ORACLES[name](truth, wrong))


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_order_does_not_matter(name: str) -> None:
    drawn = np.random.default_rng(1)
    order = drawn.permutation(40)
    truth = drawn.integers(2, size=40)
    predictions = {"logits": drawn.normal(size=(40, 2)).astype(np.float32), "values": drawn.normal(size=40)}
    turned = {key: array[order] for key, array in predictions.items()}
    assert value(name, predictions, truth, 2) == pytest.approx(value(name, turned, truth[order], 2), abs=1e-12)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_no_rows_and_another_problem_s_predictions_are_refused(name: str) -> None:
    empty = {"logits": np.zeros((0, 2)), "values": np.zeros(0)}
    with pytest.raises(UserError, match="at least one"):
        value(name, empty, np.zeros(0, int), 2)
    with pytest.raises(UserError, match="another problem's"):
        value(name, {"masks": np.zeros((3, 2))}, np.zeros(3, int), 2)


def test_every_file_is_tested_here_and_a_misspelt_name_is_named() -> None:
    assert names() == sorted(ORACLES)
    with pytest.raises(UserError, match='Did you mean "accuracy"'):
        metric("acuracy")


def test_listing_imports_nothing_heavy() -> None:
    heavy = "('torch', 'torchmetrics', 'numpy')"
    code = f"import sys, bench.metrics as m; m.names(); print([x for x in {heavy} if x in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
