"""Each metric against scikit-learn or SciPy, on random and degenerate input."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.metrics import Metric, Truth, metric, names, path

ORACLES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "f1": lambda truth, found: sklearn.metrics.f1_score(truth, found, zero_division=0),
    "matthews": sklearn.metrics.matthews_corrcoef,
    "pearson": lambda truth, found: scipy.stats.pearsonr(truth, found).statistic,
    "spearman": lambda truth, found: scipy.stats.spearmanr(truth, found).statistic,
}
OF_CLASSES = ["accuracy", "f1", "matthews"]
OF_VALUES = ["pearson", "spearman"]
Array = NDArray[Any]


def logits(classes: Array, count: int) -> Array:
    return np.eye(count, dtype=np.float32)[classes] * 3 - 1


def value(name: str, predictions: dict[str, Array], labels: Array, count: int | None = None) -> float:
    return metric(name).compute(predictions, Truth(labels, count))


def drawn_rows(seed: int, rows: int) -> tuple[dict[str, Array], Array]:
    """Predictions of both problems, and labels 0 and 1."""
    drawn = np.random.default_rng(seed)
    predictions = {
        "logits": drawn.normal(size=(rows, 2)).astype(np.float32),
        "values": drawn.normal(size=rows).astype(np.float32),
    }
    return predictions, drawn.integers(2, size=rows)


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize("seed", range(5))
def test_classification_agrees_with_scikit_learn(name: str, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    for count in (2,) if name == "f1" else (2, 3, 7):
        truth, found = drawn.integers(count, size=(2, 50))
        expected = pytest.approx(ORACLES[name](truth, found), abs=1e-12)
        assert value(name, {"logits": logits(found, count)}, truth, count) == expected


@pytest.mark.parametrize("name", OF_CLASSES)
def test_a_class_predicted_once_among_many_rows(name: str) -> None:
    """In float32, Matthews' correlation is wrong in its third digit here."""
    truth, found = np.arange(1_000_000) % 3 % 2, np.zeros(1_000_000, int)
    found[1] = 1
    expected = pytest.approx(ORACLES[name](truth, found), rel=1e-9)
    assert value(name, {"logits": logits(found, 2)}, truth, 2) == expected


@pytest.mark.parametrize("name", OF_VALUES)
@pytest.mark.parametrize("rows", [2, 3, 200])
@pytest.mark.parametrize("offset", [0.0, 1e6, -1e9])
def test_correlations_agree_with_scipy(name: str, rows: int, offset: float) -> None:
    """With labels that are all different, of six values, and of two."""
    drawn = np.random.default_rng(0)
    for truth in (drawn.random(rows), np.arange(rows) * 7 % 6 / 5, np.arange(rows) % 2 * 1.0):
        found = (truth + drawn.normal(0, 1, rows)).round(1) + offset
        expected = pytest.approx(ORACLES[name](truth, found), abs=1e-9)
        assert value(name, {"values": found}, truth) == expected


def test_ties_among_many_rows() -> None:
    """So many that sums of ranks do not fit in 32 bits."""
    drawn = np.random.default_rng(0)
    truth = drawn.integers(6, size=300_000).astype(float)
    found = (truth + drawn.normal(size=len(truth))).round()
    expected = pytest.approx(ORACLES["spearman"](truth, found), abs=1e-9)
    assert value("spearman", {"values": found}, truth) == expected


@pytest.mark.parametrize("name", OF_VALUES)
@pytest.mark.parametrize("unit", [5e-324, 1e-200, 1e-30, 1e30, 1e200, 1.7e308])
def test_the_unit_does_not_matter(name: str, unit: float) -> None:
    whole = np.array([1.0, -3.0, 2.0, 2.0, 4.0]) if unit < 1 else np.array([0.25, -0.75, 0.5, 0.5, 1.0])
    truth = np.array([0.0, 1.0, 3.0, 2.0, 5.0])
    expected = pytest.approx(ORACLES[name](truth, whole), abs=1e-12)
    assert value(name, {"values": whole * unit}, truth) == expected


@pytest.mark.parametrize(
    ("name", "truth", "found", "expected"),
    [
        ("accuracy", [1, 1, 1], [1, 1, 0], 2 / 3),
        ("accuracy", [0], [0], 1.0),
        ("accuracy", [0], [1], 0.0),
        ("f1", [0, 0, 0], [0, 0, 0], 0.0),
        ("f1", [0, 0], [1, 1], 0.0),
        ("f1", [1, 1], [0, 0], 0.0),
        ("f1", [1, 1], [1, 1], 1.0),
        ("f1", [1], [1], 1.0),
        ("matthews", [0, 1, 0], [1, 1, 1], 0.0),
        ("matthews", [1, 1, 1], [0, 1, 1], 0.0),
        ("matthews", [1, 1], [1, 1], 0.0),
        ("matthews", [1], [0], 0.0),
        ("matthews", [0, 1, 0, 1], [0, 1, 0, 1], 1.0),
        ("matthews", [0, 1, 0, 1], [1, 0, 1, 0], -1.0),
    ],
)
def test_degenerate_classes(name: str, truth: list[int], found: list[int], expected: float) -> None:
    got = value(name, {"logits": logits(np.array(found), 2)}, np.array(truth), 2)
    assert got == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("name", ["accuracy", "matthews"])
def test_a_declared_class_may_be_absent(name: str) -> None:
    truth, found = np.array([0, 2, 2, 0, 2]), np.array([0, 2, 0, 0, 3])
    assert value(name, {"logits": logits(found, 4)}, truth, 4) == pytest.approx(ORACLES[name](truth, found))


def test_of_equal_logits_the_first_counts() -> None:
    assert value("accuracy", {"logits": np.zeros((4, 3), np.float32)}, np.array([0, 0, 1, 2]), 3) == 0.5


@pytest.mark.parametrize("name", OF_VALUES)
@pytest.mark.parametrize(
    ("truth", "found"),
    [
        ([1.0], [2.0]),
        ([1.0, 2.0], [3.0, 3.0]),
        ([1.0, 1.0], [3.0, 4.0]),
        ([0.1, 0.1, 0.1], [0.1, 0.1, 0.1]),
        ([0.0, 1.0], [0.0, -0.0]),
    ],
)
def test_undefined_correlations_are_zero(name: str, truth: list[float], found: list[float]) -> None:
    assert value(name, {"values": np.array(found)}, np.array(truth)) == 0.0


@pytest.mark.parametrize("name", OF_VALUES)
@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rest", [[], [1.0], [1.0, 2.0, 3.0]])
def test_a_value_that_is_not_finite_is_the_worst(name: str, lost: float, rest: list[float]) -> None:
    found = np.array([lost, *rest])
    assert value(name, {"values": found}, np.arange(len(found)) * 1.0) == metric(name).range[0]


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_wrong(name: str, lost: float) -> None:
    truth = np.array([0, 1, 1, 0, 1])
    given, wrong = logits(truth, 2), truth.copy()
    for row in (1, 3):
        given[row, truth[row]] = lost
        wrong[row] = 1 - truth[row]
    assert value(name, {"logits": given}, truth, 2) == pytest.approx(ORACLES[name](truth, wrong))
    nothing = np.full_like(given, lost)
    assert value(name, {"logits": nothing}, truth, 2) == metric(name).range[0]


def test_a_row_that_is_not_finite_counts_as_the_next_class() -> None:
    truth, given = np.array([0, 1, 2, 2]), logits(np.array([0, 1, 2, 2]), 3)
    given[[1, 3]] = math.nan
    expected = pytest.approx(ORACLES["matthews"](truth, [0, 2, 2, 0]))
    assert value("matthews", {"logits": given}, truth, 3) == expected


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_order_does_not_matter(name: str) -> None:
    predictions, truth = drawn_rows(1, 400)
    order = np.random.default_rng(2).permutation(len(truth))
    turned = {key: array[order] for key, array in predictions.items()}
    got = value(name, turned, truth[order], 2)
    assert got == pytest.approx(value(name, predictions, truth, 2), abs=0 if name in OF_CLASSES else 1e-14)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_batches_and_the_arrays_in_memory_do_not_matter(name: str) -> None:
    """Joined from batches of any size, read-only, or with a negative stride: the same bits."""
    predictions, truth = drawn_rows(3, 101)
    expected = value(name, predictions, truth, 2)
    for size in (1, 7, 100, 101):
        cuts = range(size, 101, size)
        joined = {key: np.concatenate(np.split(array, cuts)) for key, array in predictions.items()}
        for array in joined.values():
            array.setflags(write=False)
        assert value(name, joined, truth, 2) == expected
    backwards = {key: array[::-1].copy()[::-1] for key, array in predictions.items()}
    assert value(name, backwards, truth[::-1].copy()[::-1], 2) == expected


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_small_tables_of_anything_stay_in_range(name: str) -> None:
    drawn, (low, high) = np.random.default_rng(4), metric(name).range
    odd = np.array([0.0, -0.0, 1.0, 1.0, 2.0, 3e38, -3e38, 1e-45, math.nan, math.inf], np.float32)
    for rows in [1, 2, 3, 4, 5] * 20:
        values = drawn.choice(odd[:8], size=rows)
        predictions = {"logits": drawn.choice(odd, size=(rows, 2)), "values": values}
        got = value(name, predictions, drawn.integers(2, size=rows), 2)
        assert type(got) is float
        assert low <= got <= high


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_no_rows_and_another_problem_s_predictions_are_refused(name: str) -> None:
    empty = {"logits": np.zeros((0, 2)), "values": np.zeros(0)}
    with pytest.raises(UserError, match="at least one"):
        value(name, empty, np.zeros(0, int), 2)
    with pytest.raises(UserError, match="as many predictions as labels"):
        value(name, {"logits": np.zeros((3, 2)), "values": np.zeros(3)}, np.zeros(4, int), 2)
    with pytest.raises(UserError, match="another problem's"):
        value(name, {"masks": np.zeros((3, 2))}, np.zeros(3, int), 2)
    with pytest.raises(UserError, match="dimension"):
        value(name, {"logits": np.zeros(3), "values": np.zeros((3, 1))}, np.zeros(3, int), 2)


@pytest.mark.parametrize("name", OF_CLASSES)
def test_another_number_of_classes_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="logits for 3 classes"):
        value(name, {"logits": np.zeros((2, 2))}, np.array([0, 1]), 3)
    for labels in ([0, 2], [0, -1]):
        with pytest.raises(UserError, match="labels from 0 to 1"):
            value(name, {"logits": np.zeros((2, 2))}, np.array(labels), 2)


def test_f1_is_for_two_classes() -> None:
    with pytest.raises(UserError, match="two classes"):
        value("f1", {"logits": np.zeros((2, 3))}, np.array([0, 1]), 3)


@pytest.mark.parametrize("name", OF_VALUES)
def test_labels_that_are_not_finite_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="finite"):
        value(name, {"values": np.zeros(2)}, np.array([0.0, math.nan]))


ELSEWHERE = {
    "test_masks.py": ["dice", "hausdorff95", "iou", "surface-dice"],
    "test_discovery.py": ["discovery-all", "discovery-new", "discovery-old"],
    "test_groups.py": ["macro-f1", "tenth-percentile-accuracy", "worst-group-accuracy"],
}


def test_every_file_is_tested_and_declares_itself() -> None:
    assert names() == sorted([*ORACLES, *(name for several in ELSEWHERE.values() for name in several)])
    for file, several in ELSEWHERE.items():
        text = (Path(__file__).parent / file).read_text()
        assert all(name in text or name.replace("-", "_") in text for name in several)
    for name in names():
        found = metric(name)
        assert isinstance(found, Metric)
        assert found.name == name
        assert found.higher is (name != "hausdorff95")
        assert found.version >= 1
        assert path(name).is_file()


@pytest.mark.parametrize("name", ["acuracy", "_arrays", "../metrics/accuracy", ""])
def test_a_name_that_is_no_metric_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="expected one of accuracy, dice,"):
        metric(name)


def test_a_misspelt_name_is_named() -> None:
    with pytest.raises(UserError, match='Did you mean "accuracy"'):
        metric("acuracy")


def test_listing_imports_nothing_heavy() -> None:
    heavy = "('torch', 'torchmetrics', 'numpy')"
    code = f"import sys, bench.metrics as m; m.names(); print([x for x in {heavy} if x in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
