"""The page as text: its structure, that no string of a board can leave its place, and what its cells say."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from bench.tables.page import SCRIPTS, render
from bench.tables.page.faces import Face, faces, number, ranks, scaled, writer, written
from bench.tables.page.pack import inert, packed_board, packed_records
from bench.tables.page.static import link, ordered

from . import boards

VOID = {"meta", "link", "input", "br"}
HOSTILE = (
    "<script>window.alerted = 1</script>",
    "</script><script>window.alerted = 1</script>",
    "<!--<script>",
    "\"onmouseover=window.alerted=1 x='",
    "'><img src=x onerror=window.alerted=1>",
    "javascript:window.alerted=1",
    'https://example.org/"onmouseover="window.alerted=1',
    "&lt;b&gt; &#60; ${7*7} $title",
    "\u202egnp.exe\u2066",
    "a\x1b[31m\x00b\u2028c\u2029d\x85",
    "\ud800",
    "]]>{{7*7}}\\u003cscript>",
    "__proto__",
)


class Parsed(HTMLParser):
    """The page's elements in order, with their attributes, depth and own text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[int] = []
        self.unclosed: list[str] = []
        self.comments: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for place in self.open:
            self.texts[place] += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def all(self, tag: str, **wanted: str) -> list[int]:
        return [
            place
            for place, (name, attributes) in enumerate(self.elements)
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]

    def one(self, tag: str, **wanted: str) -> str:
        (place,) = self.all(tag, **wanted)
        return self.texts[place]

    def shape(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]


@pytest.fixture(scope="module")
def page() -> str:
    return render(boards.demo())


@pytest.fixture(scope="module")
def parsed(page: str) -> Parsed:
    return Parsed(page)


@pytest.fixture(scope="module")
def plain() -> Parsed:
    return Parsed(render(boards.hostile("plain")))


def test_the_page_is_whole(page: str, parsed: Parsed) -> None:
    assert page.startswith("<!DOCTYPE html>\n")
    assert parsed.open == []
    assert parsed.elements[0] == ("html", {"lang": "en"})
    for tag in ("main", "header", "footer", "h1", "title", "caption", "thead", "tbody", "noscript", "dialog"):
        assert len(parsed.all(tag)) == 1, tag
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    refers = {attributes.get("aria-labelledby") for _, attributes in parsed.elements} - {None}
    assert refers <= set(ids)
    assert parsed.elements[parsed.all("a")[0]][1]["href"] == "#board"


def test_every_heading_of_the_table_has_a_scope(parsed: Parsed) -> None:
    scopes = [parsed.elements[place][1].get("scope") for place in parsed.all("th")]
    assert scopes.count("col") == 1 + 4 + 6
    assert scopes.count("row") == 7
    assert len(scopes) == 18


def test_every_control_has_a_label(page: str) -> None:
    for control in re.findall(r"<(?:input|select)[^>]*>", page):
        before = page[: page.index(control)]
        assert before.rindex("<label>") > before.rfind("</label>"), control


def test_only_its_own_style_and_script_may_run(parsed: Parsed) -> None:
    policy = next(one["content"] for tag, one in parsed.elements if tag == "meta" and "http-equiv" in one)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    scripts = [place for place in parsed.all("script") if "type" not in parsed.elements[place][1]]
    for (place,), rule in ((scripts, "script-src"), (parsed.all("style"), "style-src")):
        digest = b64encode(hashlib.sha256(parsed.texts[place].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_nothing_is_loaded_from_elsewhere(page: str, parsed: Parsed) -> None:
    addresses = [
        value
        for _, attributes in parsed.elements
        for name, value in attributes.items()
        if name in ("href", "src", "srcset", "action", "data", "poster", "xlink:href")
    ]
    assert addresses == ["data:,", "#board", "https://example.org/lora"]
    assert "@import" not in page
    assert "url(" not in page
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert not [attributes for _, attributes in parsed.elements if "style" in attributes]


def test_links_open_without_a_trace(parsed: Parsed) -> None:
    (place,) = parsed.all("a", href="https://example.org/lora")
    assert parsed.elements[place][1]["rel"] == "noopener noreferrer"


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_never_makes_markup_of_a_string(name: str) -> None:
    source = files("bench.tables.page").joinpath(name).read_text(encoding="utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser"):
        assert word not in source, word
    assert "</" not in source
    assert "<!--" not in source
    assert len(source.splitlines()) < 400


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_string_is_inert_wherever_it_stands(text: str, plain: Parsed) -> None:
    page = render(boards.hostile(text))
    page.encode()  # no lone surrogate is left
    found = Parsed(page)
    assert found.shape() == plain.shape()  # no element and no attribute more than with a harmless word
    assert found.comments == []
    hidden = [mark for mark in page if mark != "\n" and not mark.isprintable() and mark not in "\u00a0"]
    assert hidden == []
    for place in found.all("script", type="application/json"):
        raw = found.texts[place]
        assert not set("<>&") & set(raw)
        json.loads(raw)


def test_a_hostile_board_says_what_it_was_given() -> None:
    """Escaped, not dropped: the string is to be read in the title, in cells, and in what the script reads."""
    text = "</script>\u202e<b>"
    found = Parsed(render(boards.hostile(text)))
    shown = "</script>\\u202e<b>"
    assert found.one("h1") == shown
    data = json.loads(found.one("script", id="data"))
    assert data["methods"][0]["title"] == shown
    records = json.loads(found.one("script", id="data-records"))
    assert records["rows"][0][-2] == shown
    assert {shown} <= {one for one in records["shared"] if isinstance(one, str)}


@pytest.mark.parametrize(
    "address",
    [
        *("javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "//example.org"),
        *("https://", "https://exam\u202eple.org", 'https://example.org/"x', "https://example.org/a b", "file:///etc"),
        *("https://[example.org", " https://example.org", "https:\\\\example.org", "vbscript:x", "http:/x"),
    ],
)
def test_other_addresses_are_text(address: str) -> None:
    found = Parsed(link(address, "words"))
    assert found.elements == []


def test_addresses_of_the_web_are_links() -> None:
    found = Parsed(link("https://example.org/a?b=1&c=2#d", "<words>"))
    assert found.elements == [("a", {"href": "https://example.org/a?b=1&c=2#d", "rel": "noopener noreferrer"})]
    assert found.texts == ["<words>"]


def test_the_static_table_is_the_default_view(parsed: Parsed) -> None:
    rows = [parsed.texts[place] for place in parsed.all("tr")]
    assert len(rows) == 8
    assert rows[1].startswith("LoRA: Low-Rank Adaptationlora189.2 ± 1.2a1.00")
    cells = [parsed.texts[place] for place in parsed.all("td")]
    assert len(cells) == 7 * 10
    assert "" not in cells
    assert cells.count("missing") == 1
    assert [one for one in cells if one.startswith("failed")] == [
        "failedRuntimeError: the loss is not finite at step 120"
    ]
    assert [one for one in cells if "n\u00a0=\u00a01" in one and "±" in one] == []
    for mark in ("provisional", "stale", "reported", "verified"):
        assert [one for one in cells if one.endswith(mark)], mark


def test_bold_is_the_whole_top_group(parsed: Parsed) -> None:
    board = boards.demo()
    best = [one for one in board["cells"] if one["best"] and one["rule"] == "val" and one["metric"] == "accuracy"]
    bold = [parsed.texts[place] for place in parsed.all("strong")]
    assert {f"{100 * one['mean']:.1f} ± 1.0" for one in best if one["task"] == "glue/cola"} <= set(bold)


def test_the_same_board_gives_the_same_bytes(page: str) -> None:
    script = (
        "import sys; from bench.tables.page import render; from tests.tables.page import boards;"
        "sys.stdout.buffer.write(render(boards.demo()).encode())"
    )
    root = Path(__file__).parents[3]
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        found = subprocess.run([sys.executable, "-c", script], env=env, cwd=root, capture_output=True, check=True)
        assert found.stdout.decode() == page


def test_a_board_of_almost_nothing_is_a_page() -> None:
    board = {**boards.demo(), "cells": [], "overall": [], "critical_difference": [], "win_rates": [], "records": []}
    found = Parsed(render({**board, "notes": [], "caption": ""}))
    assert [found.texts[place] for place in found.all("td")] == ["missing"] * (7 * 6)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        *(("cells", "method"), ("cells", "task"), ("cells", "rule"), ("cells", "metric")),
        *(("overall", "method"), ("overall", "rule"), ("overall", "normalisation")),
        *(("records", "method"), ("records", "task"), ("win_rates", "rule"), ("critical_difference", "rule")),
    ],
)
def test_what_the_board_does_not_have_is_not_dropped(part: str, field: str) -> None:
    board = boards.demo()
    board[part][0][field] = "nowhere"
    with pytest.raises(KeyError, match="nowhere"):
        render(board)


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        (0.912, 0.904, 0.920, "91.2 ± 0.8"),
        (0.912, None, None, "91.2"),
        (0.912, 0.904, None, "91.2"),
        (0.912, 0.850, 0.920, "91.2 [85.0, 92.0]"),
        (0.912, 0.912, 0.912, "91.2 ± 0.0"),
        (-0.0001, None, None, "0.0"),
    ],
)
def test_how_an_interval_is_written(mean: float, low: float | None, high: float | None, text: str) -> None:
    assert written(mean, low, high, writer("%", ())) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([250.04], "250.0"),
        ([2.5], "2.50"),
        ([0.25], "0.250"),
        ([0.0025], "0.0025"),
        ([123456.0], "1.23e+05"),
        ([0.0], "0.000"),
    ],
)
def test_other_units_get_about_three_figures(values: list[float], text: str) -> None:
    assert writer("pixels", values)(values[0]) == text


def test_ranks_are_intervals() -> None:
    assert [ranks(one) for one in ([1, 3], [2, 2], None)] == ["1–3", "2", ""]


def test_only_finite_numbers_count() -> None:
    found = [number(value) for value in (float("nan"), float("inf"), None, "1", True, 1e9, 0.123456789)]
    assert found == [None, None, None, None, None, 1000000000, 0.123457]
    board = boards.demo()
    board["cells"][0]["mean"] = float("nan")
    board["records"][0]["scores"] = {"accuracy": float("nan")}
    board["records"][0]["parameters"] = {"clip": float("inf")}
    assert "failed" in render(board)


def test_the_bars_of_a_column_share_a_scale() -> None:
    column = {"a": Face("", 1.0, 0.0, 2.0), "b": Face("", 3.0, 2.0, 4.0), "c": Face("", 2.0), "d": Face("failed")}
    found = scaled(column)
    assert found["a"].bar == (2, 17, 32)
    assert found["b"].bar == (32, 47, 62)
    assert found["c"].bar == (32, 32, 32)
    assert found["d"].bar is None


def test_the_first_order_is_by_rank_then_mean() -> None:
    overall = {
        "a": [Face("2", 2.0), Face("", 0.5)],
        "b": [Face("1", 1.0), Face("", 0.7)],
        "c": [Face("1", 1.0), Face("", 0.8)],
    }
    assert ordered(["d", "a", "b", "c"], overall) == [3, 2, 1, 0]


def test_the_records_are_compact_and_whole() -> None:
    board = boards.big(methods=6, tasks=4, seeds=3)
    found = packed_records(board)
    assert len(found["rows"]) == len(board["records"]) == 72
    assert len(inert(found)) < 260 * 72
    row, first = found["rows"][-1], board["records"][-1]
    assert row[-1] == first["key"]
    assert found["shared"][row[8]] == first["parameters"]
    assert dict(zip(found["shared"][row[4]], row[5])) == {name: number(one) for name, one in first["scores"].items()}


def test_cells_refer_to_their_records() -> None:
    board = boards.demo()
    data = packed_board(board, faces(board))
    cell: dict[str, Any] = data["cells"]["0/0/0"][0]
    assert [board["records"][place]["key"] for place in cell["k"]] == board["cells"][0]["keys"]
