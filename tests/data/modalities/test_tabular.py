"""Tables: scaled by their declared range, kept as floats, and nothing but numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.data.modalities import modality
from bench.data.modalities.tabular import MODALITY, TabularInputs
from bench.data.sources import Rows
from bench.declarations.fields import Field, check_value

TASK: dict[str, Any] = {"inputs": ["a", "b"], "tabular": {"range": [0, 10], "noise": 0.0}}


def written(tmp_path: Path, columns: dict[str, Any], order: list[int], **tabular: Any) -> TabularInputs:
    task = {**TASK, "tabular": tabular or TASK["tabular"]}
    MODALITY.write(Rows(columns), task, np.array(order), tmp_path)
    return MODALITY.open(tmp_path)


def test_columns_are_scaled_by_one_range(tmp_path: Path) -> None:
    columns = {"x": ["text"] * 3, "a": np.array([0, 5, 10]), "b": [2.5, 7.5, 10.0]}
    found = written(tmp_path, columns, [2, 0, 1])
    assert len(found) == 3
    taken = found.take(np.array([0, 1, 2]))
    assert taken.dtype == np.float32
    assert taken.tolist() == [[1, 1], [-1, -0.5], [0, 0.5]]
    assert found.take(np.array([1, 1])).tolist() == [[-1, -0.5]] * 2
    assert found.lengths().tolist() == [0, 0, 0]


def test_columns_are_scaled_by_ranges_of_their_own(tmp_path: Path) -> None:
    columns = {"a": [True, False], "b": [-100, 100]}
    found = written(tmp_path, columns, [0, 1], ranges={"b": [-100, 100], "a": [0, 1]})
    assert found.take(np.arange(2)).tolist() == [[1, -1], [-1, 1]]
    with pytest.raises(UserError, match="tabular.ranges has no range for the column 'b'"):
        written(tmp_path, columns, [0, 1], ranges={"a": [0, 1]})


def test_equal_rows_have_equal_content_and_others_have_not(tmp_path: Path) -> None:
    found = written(tmp_path, {"a": [1, 1, 2, 1], "b": [3, 3, 3, 4]}, [0, 1, 2, 3]).content()
    assert found.dtype == np.uint64
    assert found[0] == found[1]
    assert len(set(found.tolist())) == 3


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (["1", "2"], "The column 'b' holds something other than numbers"),
        ([[1, 2], [3, 4]], "The column 'b' holds something other than numbers"),
        ([[1], [3, 4]], "The column 'b' holds something other than numbers"),
        ([1.0, None], "The column 'b' holds something other than numbers"),
        (np.array([1, np.nan]), "The column 'b' has 1 gaps .* the first in row 1"),
        ([np.inf, 1.0], "The column 'b' has 1 gaps .* the first in row 0"),
        ([0, 11], r"The column 'b' runs from 0 to 11, beyond its declared range \[0, 10\]"),
        ([-1, 1], "The column 'b' runs from -1 to 1, beyond"),
    ],
)
def test_what_is_no_number_in_its_range_is_a_sentence(tmp_path: Path, column: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        written(tmp_path, {"a": [1, 2], "b": column}, [0, 1])


def test_an_unknown_column_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"inputs names the column 'b'; the data has a, bb. Did you mean \"bb\""):
        written(tmp_path, {"a": [1], "bb": [1]}, [0])


def test_noise_is_each_row_s_own(tmp_path: Path) -> None:
    inputs = np.zeros((500, 40), np.float32)
    labels = np.arange(500)
    same, kept = MODALITY.augment(inputs, TASK, list(range(500)), labels)
    assert same is inputs
    assert kept is labels
    task = {**TASK, "tabular": {"range": [0, 10], "noise": 0.25}}
    seeds = list(range(1, 501))
    noisy, kept = MODALITY.augment(inputs, task, seeds, labels)
    assert kept is labels
    assert noisy.dtype == np.float32
    assert not inputs.any(), "what was read is not written to"
    assert noisy.std() == pytest.approx(0.25, rel=0.02)
    assert abs(noisy.mean()) < 0.01
    order = np.random.default_rng(0).permutation(500)
    shuffled, _ = MODALITY.augment(inputs[order], task, [seeds[place] for place in order])
    assert (shuffled == noisy[order]).all(), "the draw of a row depends on its seed alone"
    assert len(np.unique(noisy[:, 0])) == 500


def test_the_twin_fits_the_declaration_and_can_be_learned(tmp_path: Path) -> None:
    labels = np.arange(200) % 5
    task = {"inputs": ["a", "b"], "tabular": {"ranges": {"a": [-3, -1], "b": [0, 255]}}}
    made = [MODALITY.twin(task, labels / 4, np.random.default_rng(7)) for _ in range(2)]
    assert all((made[0].columns[name] == made[1].columns[name]).all() for name in "ab")
    MODALITY.write(made[0], task, np.arange(200), tmp_path)
    rows = MODALITY.open(tmp_path).take(np.arange(200))
    assert np.abs(rows).max() <= 1
    centres = np.stack([rows[:100][labels[:100] == one].mean(0) for one in range(5)])
    nearest = np.linalg.norm(rows[100:, None] - centres, axis=2).argmin(1)
    assert (nearest == labels[100:]).mean() > 0.9


def test_what_is_written_depends_on_the_range_and_not_on_the_noise() -> None:
    assert modality("tabular") is MODALITY
    assert MODALITY.kept(TASK) == {"range": [0, 10]}
    assert MODALITY.kept({"tabular": {"ranges": {"a": [0, 1]}, "noise": 3}}) == {"ranges": {"a": [0, 1]}}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "must hold one of range, ranges"),
        ({"range": [0, 1], "ranges": {"a": [0, 1]}}, "only one of range, ranges"),
        ({"range": [1, 1]}, "whose low is below its high"),
        ({"range": [0, 1, 2]}, "a list of 2 items"),
        ({"ranges": {"a": [5, 1]}}, "whose low is below its high"),
        ({"range": [0, 1], "noise": -1}, "at least 0"),
    ],
)
def test_declarations_that_are_refused(given: dict[str, Any], sentence: str) -> None:
    schema = Field("mapping", fields=MODALITY.fields)
    with pytest.raises(UserError, match=sentence):
        check_value({"tabular": given}, schema, "", "x.yaml")
    assert check_value({"tabular": {"range": [0, 15]}}, schema, "", "x.yaml")["tabular"]["noise"] == 0
