"""The leaderboard as a page: one file that needs no network, can be read without its script, and trusts no string."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from bench.tables.page import static
from bench.tables.page.faces import faces
from bench.tables.page.pack import inert, packed_board, packed_records

# One script in the page, in parts that can be read alone: each uses only what stands before it.
SCRIPTS = ("dom.js", "table.js", "records.js", "plots.js", "page.js")


def render(board: Mapping[str, Any]) -> str:
    """The page of a board, the same bytes for the same board. KeyError where a cell names what the board does not have.

    Style and script are allowed by their digests alone, so that nothing else in the page can run; data stand in
    JSON that no string can leave, and the script writes them as text.
    """
    found = faces(board)
    style = "\n" + _read("page.css")
    script = '\n"use strict";\n(() => {\n' + "\n".join(_read(name) for name in SCRIPTS) + "})();\n"
    rule, norm = board["rules"][0], board["normalisations"][0]
    return Template(_read("page.html")).substitute(
        policy=static.text(_policy(style, script)),
        title=static.prose(board["title"]),
        caption=static.prose(board.get("caption", "")),
        name=static.text(board["name"]),
        built_with=static.text(board["built_with"]),
        estimand=static.prose(board["estimand"]),
        level=f"{100 * board['level']:g}",
        rule=static.text(rule.get("title") or rule["name"]),
        norm=static.text(norm.get("title") or norm["name"]),
        size=f"{len(board['methods'])} methods, {len(board['tasks'])} tasks, {len(board.get('records', ()))} records",
        table=static.table(board, found),
        legend=static.legend(board),
        methods=static.methods(board),
        notes=static.notes(board),
        board=inert(packed_board(board, found)),
        records=inert(packed_records(board)),
        style=style,
        script=script,
    )


def _read(name: str) -> str:
    return files("bench.tables.page").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy: nothing is loaded, and only this style and this script count."""
    rules = {
        "default-src": "'none'",
        "style-src": _digest(style),
        "script-src": _digest(script),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
