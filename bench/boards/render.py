"""A board's tables as Markdown, CSV and LaTeX. Every string in them is somebody's: each format has its own armour."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.printable import printable

Built = Mapping[str, Any]

_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", '"': "''",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#!|<>~&])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(board: Built) -> str:
    """One table: methods down, tasks across, the top group of each task in bold."""
    tasks = [task["name"] for task in board["tasks"]]
    head = ["method", *(_md(name) for name in tasks), "average", "rank"]
    lines = [f"# {_md(board['title'])}", ""]
    if board["caption"]:
        lines += [_md(board["caption"]), ""]
    lines += [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    for method in board["methods"]:
        cells = [_cell(board, method["name"], task, _bold_md) for task in tasks]
        lines.append(f"| {' | '.join([_md(method['name']), *cells, *_overall(board, method['name'], _bold_md)])} |")
    lines += ["", *(f"- {_md(note)}" for note in board["notes"])]
    return "\n".join(lines) + "\n"


def comma_separated(board: Built) -> str:
    """One line per cell, with everything that is known of it; for programs."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fields = (
        "method",
        "task",
        "rule",
        "metric",
        "mean",
        "low",
        "high",
        "seeds",
        "group",
        "rank",
        "best",
        "marks",
        "basis",
        "note",
    )
    writer.writerow(fields)
    for cell in board["cells"]:
        row = {**cell, "rank": "-".join(map(str, cell["rank"] or ())), "marks": ";".join(cell["marks"])}
        writer.writerow([_csv(row[name]) for name in fields])
    return out.getvalue()


def latex(board: Built) -> str:
    """A table for a paper (booktabs): methods down, tasks across, the top group by the paired test in bold."""
    tasks = [task["name"] for task in board["tasks"]]
    lines = [
        "% Needs \\usepackage{booktabs}.",
        "\\begin{table}",
        f"\\caption{{{_tex(board['title'])}. {_tex(board['caption'])}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(tasks) + 2)}}}",
        "\\toprule",
        " & ".join(["method", *(_tex(name) for name in tasks), "average", "rank"]) + " \\\\",
        "\\midrule",
    ]
    for method in board["methods"]:
        cells = [_cell(board, method["name"], task, _bold_tex, r" {\scriptsize$\pm$ ", "}") for task in tasks]
        overall = _overall(board, method["name"], _bold_tex, r" {\scriptsize$\pm$ ", "}")
        lines.append(" & ".join([_tex(method["name"]), *cells, *overall]) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", *(f"% {_tex(note)}" for note in board["notes"]), "\\end{table}"]
    return "\n".join(lines) + "\n"


def primary(board: Built, method: str, task: str) -> Mapping[str, Any] | None:
    """The cell of a task's own score under the first rule."""
    metrics = {one["name"]: one["primary"] for one in board["tasks"]}
    rule = board["rules"][0]["name"]
    for cell in board["cells"]:
        if (cell["method"], cell["task"], cell["metric"]) == (method, task, metrics[task]) and cell["rule"] == rule:
            found: Mapping[str, Any] = cell
            return found
    return None


def _cell(board: Built, method: str, task: str, bold: Any, between: str = " ± ", after: str = "") -> str:
    cell = primary(board, method, task)
    if cell is None:
        return "missing"
    if cell["mean"] is None:
        return "failed"
    unit = next((one["unit"] for one in _task(board, task)["metrics"] if one["name"] == cell["metric"]), "%")
    text = _number(cell["mean"], cell["low"], cell["high"], between, after, unit)
    shown = bold(text) if cell["best"] else text
    return shown + ("*" if "reported" in cell["marks"] else "")


def _task(board: Built, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in board["tasks"] if one["name"] == name)
    return found


def _overall(board: Built, method: str, bold: Any, between: str = " ± ", after: str = "") -> list[str]:
    rule = board["rules"][0]["name"]
    for one in board["overall"]:
        if (one["method"], one["rule"], one["normalisation"]) == (method, rule, "none") and one["mean"] is not None:
            text = _number(one["mean"], one["low"], one["high"], between, after)
            rank = one["rank"]
            ranks = "" if rank is None else str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}-{rank[1]}"
            return [bold(text) if rank and rank[0] == 1 else text, ranks]
    return ["-", "-"]


def _number(mean: float, low: float | None, high: float | None, between: str, after: str, unit: str = "%") -> str:
    """`91.2 ± 0.8`; a metric in a unit of its own as it is."""
    write = _percent if unit == "%" else lambda value: f"{round(value, 8):.2f}"
    if low is None or high is None:
        return write(mean)
    return f"{write(mean)}{between}{write(max(mean - low, high - mean))}{after}"


def _percent(share: float) -> str:
    """One digit, rounded from what a person would read off six: 0.9645 is 96.5 here as on the page."""
    return f"{round(100 * share, 6):.1f}"


def _bold_md(text: str) -> str:
    return f"**{text}**"


def _bold_tex(text: str) -> str:
    number, space, rest = text.partition(" ")
    return f"\\textbf{{{number}}}{space}{rest}"


def _md(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", printable(str(text)))


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in printable(str(text)))


def _csv(value: Any) -> Any:
    """A number as it is; text that a spreadsheet could take for a formula behind an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def texts(board: Built) -> Mapping[str, str]:
    """Every table that is written beside a board, by its file's ending."""
    from bench.tables.page import render

    return {"md": markdown(board), "csv": comma_separated(board), "tex": latex(board), "html": render(board)}


def differences(before: Mapping[str, str | None], after: Mapping[str, str]) -> Sequence[str]:
    """The endings whose files are missing or say something else."""
    return [ending for ending, text in after.items() if before.get(ending) != text]
