"""The pages under test and one headless browser for all tests of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.tables.page import render

from . import boards
from .browser import Browser, find


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of the pages, by name."""
    folder = tmp_path_factory.mktemp("pages")
    found = {"demo": boards.demo(), "big": boards.big()}
    bare = {"cells": [], "overall": [], "critical_difference": [], "win_rates": [], "records": [], "notes": []}
    found["bare"] = {**boards.demo(), **bare}
    for name, board in found.items():
        (folder / f"{name}.html").write_text(render(board), encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in found}


@pytest.fixture(scope="session")
def only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("no browser: install chromium, or name one in BENCH_BROWSER")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(only: Browser) -> Browser:
    only.size(1280, 900)
    only.media(scheme="light")
    return only


@pytest.fixture
def demo(browser: Browser, pages: dict[str, str]) -> Iterator[Browser]:
    """The small board, opened; whatever a test did, the page must not have complained or asked for anything."""
    browser.open(pages["demo"])
    yield browser
    assert browser.complaints() == []
    assert {address.partition("#")[0] for address in browser.requests()} == {pages["demo"]}
