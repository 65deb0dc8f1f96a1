"""Tables: how numbers are written, what stands in the remarks, what a program gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.aggregate import Line
from bench.tables import bytes_, count, results, seconds, suites


def line(**changed: Any) -> Line:
    base: dict[str, Any] = {
        "method": "lora",
        "task": "toy/waves",
        "replicates": 1,
        "mean": {"accuracy": 0.656, "score": 0.656},
        "half": None,
        "cost": {"trainable_parameters": 1234, "fit_seconds": 75.0, "stored_bytes": 19_100, "steps": 3},
        "states": {},
        "provisional": [],
    }
    return Line(**{**base, "base": changed.get("task", "toy/waves"), **changed})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1k"),
        (1234, "1.23k"),
        (22_700_000, "22.7M"),
        (999_949, "1M"),
        (999_400, "999k"),
        (1_000_000, "1M"),
        (999_999_999, "1G"),
        (7.24e9, "7.24G"),
        (1.5e12, "1500G"),
    ],
)
def test_counts(value: float, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (19_100, "19.1 kB"),
        (999_960, "1.0 MB"),
        (871_700_000, "871.7 MB"),
        (999_999_999, "1.0 GB"),
        (139e9, "139.0 GB"),
        (2.5e12, "2500.0 GB"),
    ],
)
def test_bytes(value: float, text: str) -> None:
    assert bytes_(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0s"),
        (0.04, "0.0s"),
        (59.94, "59.9s"),
        (59.96, "1m 00s"),
        (60, "1m 00s"),
        (3599, "59m 59s"),
        (3599.9, "1h 00m"),
        (3600, "1h 00m"),
        (5025, "1h 24m"),
        (100 * 3600, "100h 00m"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) == text


def test_one_seed_prints_no_interval() -> None:
    table = results([line()])
    assert table.header[:4] == ["task", "method", "accuracy", "seeds"]
    assert table.rows[0][:4] == ["toy/waves", "lora", "65.6", "1"]
    assert not any("±" in cell for row in table.rows for cell in row)
    assert table.notes == ["Metrics in per cent."]


def test_two_seeds_print_one_and_the_note_says_of_what() -> None:
    table = results([line(replicates=2, half={"accuracy": 0.0123, "score": 0.0123})])
    assert table.rows[0][2] == "65.6 ± 1.2"
    assert any("new seeds, same test rows" in note for note in table.notes)


def test_an_interval_of_nothing_is_printed() -> None:
    assert results([line(replicates=2, half={"accuracy": 0.0, "score": 0.0})]).rows[0][2] == "65.6 ± 0.0"


def test_one_metric_is_the_score_and_stands_once() -> None:
    assert "score" not in results([line()]).header
    two = results([line(mean={"f1": 0.5, "accuracy": 0.7, "score": 0.6})])
    assert two.header[2:5] == ["score", "f1", "accuracy"]
    assert two.rows[0][2:5] == ["60.0", "50.0", "70.0"]


def test_several_tasks_have_the_score_in_common() -> None:
    table = results([line(), line(task="toy/angle", mean={"pearson": 0.31, "score": 0.31})])
    assert table.header[2:4] == ["score", "seeds"]
    assert [row[2] for row in table.rows] == ["65.6", "31.0"]
    assert (table.header[-1], [row[-1] for row in table.rows]) == ("metrics", ["accuracy 65.6", "pearson 31.0"])


def test_remarks_name_what_is_not_done_and_why_a_number_is_provisional() -> None:
    table = results([line(states={"queued": 2, "failed": 1}, provisional=["made from uncommitted changes"])])
    assert table.rows[0][-1] == "1 failed, 2 queued, provisional"
    assert "provisional: made from uncommitted changes." in table.notes


def test_a_line_without_results() -> None:
    table = results([line(replicates=0, mean={}, cost={}, states={"failed": 1})])
    assert table.rows[0] == ["toy/waves", "lora", "-", "0", "1 failed"]
    assert table.header == ["task", "method", "score", "seeds", ""]


def test_costs_are_columns() -> None:
    table = results([line(), line(method="full", cost={"trainable_parameters": 22e6})])
    assert table.header[4:] == ["trained", "stored", "fit", ""]
    assert table.rows[0][4:7] == ["1.23k", "19.1 kB", "1m 15s"]
    assert table.rows[1][4:7] == ["22M", "", ""]


def test_rows_are_as_wide_as_the_header() -> None:
    made = [line(), line(task="b", mean={"f1": 0.5, "score": 0.5}, cost={"peak_bytes": 5}), line(mean={}, cost={})]
    table = results(made)
    assert {len(row) for row in table.rows} == {len(table.header)}


def test_a_program_gets_values() -> None:
    made = [line(replicates=2, half={"accuracy": 0.01, "score": 0.01}, provisional=["x"], states={"failed": 1}), line()]
    first, second = json.loads(json.dumps(results(made).raw))
    assert first["mean"] == {"accuracy": 0.656, "score": 0.656}
    assert first["half"] == {"accuracy": 0.01, "score": 0.01}
    assert first["states"] == {"failed": 1}
    assert first["provisional"] == ["x"]
    assert first["cost"]["fit_seconds"] == 75.0
    assert second["half"] is None


def test_nothing_makes_an_empty_table() -> None:
    table = results([])
    assert list(table.rows) == []
    assert list(table.raw) == []


def test_a_suite_s_table() -> None:
    made = [line(task="a"), line(task="b"), line(task="a", method="full"), line(task="b", method="full", mean={})]
    table = suites("both", {"both": ["a", "b"]}, made)
    assert table.rows == [["both", "full", "-", "1 of 2", "1", ""], ["both", "lora", "65.6", "2 of 2", "1", ""]]
    assert [row["average"] for row in table.raw] == [None, pytest.approx(0.656)]
    assert table.notes == ["The average of a suite needs all its tasks."]
