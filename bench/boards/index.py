"""The index of a project's boards: one page of links and what each board holds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.boards.declare import read_board
from bench.boards.records import read_records
from bench.core.files import write_atomic
from bench.core.printable import printable

_STYLE = (
    ":root{color-scheme:light dark;font-family:system-ui,sans-serif}"
    "body{max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #8884}"
)


def write_index(paths: Sequence[Path]) -> Path:
    """Write `index.html` beside the boards; its place."""
    rows = []
    for path in paths:
        board = read_board(path)
        file = board.beside("records.jsonl")
        count = len(read_records(file).records) if file.exists() else 0
        name = escape(printable(board.name), quote=True)
        rows.append(
            f'<tr><th scope="row"><a href="{name}.html">{_text(board.body["title"])}</a></th>'
            f"<td>{_text(board.body['caption'])}</td><td>{len(board.body['methods'])}</td><td>{count}</td></tr>"
        )
    head = "<tr><th>board</th><th>about</th><th>methods</th><th>records</th></tr>"
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Leaderboards</title>'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; style-src 'unsafe-inline'\"><style>{_STYLE}</style></head>"
        f"<body><main><h1>Leaderboards</h1><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></main>"
        "</body></html>\n"
    )
    target = paths[0].parent / "index.html"
    write_atomic(target, page)
    return target


def _text(text: object) -> str:
    return escape(printable(text), quote=True)
