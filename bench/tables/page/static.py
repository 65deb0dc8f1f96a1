"""The page's HTML as it is without its script: the default view of the table, what the signs mean, the methods."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from bench.core.printable import printable
from bench.tables.page.faces import BAR, MISSING, Face, Faces
from bench.tables.page.pack import MARKS


def text(value: object) -> str:
    """Any string as HTML text or as a quoted attribute: hidden characters written out, marks of HTML escaped."""
    return html.escape(printable(value), quote=True)


def prose(value: object) -> str:
    """Running text, whose line ends are spaces."""
    return text(str(value).replace("\r\n", "\n").replace("\n", " ").strip())


def link(url: object, words: object) -> str:
    """A link for an address of the web; for anything else the words, with the address beside them as text."""
    address = str(url or "")
    if not address:
        return text(words)
    try:
        parts = urlsplit(address)
        safe = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        safe = False
    if not safe or printable(address) != address or any(mark in " \\<>\"'`" for mark in address):
        return f"{text(words)} ({text(address)})"
    return f'<a href="{text(address)}" rel="noopener noreferrer">{text(words)}</a>'


def cell(face: Face) -> str:
    """One `<td>`; the script's `fill` writes the same nodes."""
    parts = [f"<strong>{text(face.text)}</strong>" if face.best else f"<span>{text(face.text)}</span>"]
    if face.bar:
        low, mean, high = face.bar
        path = f"M{low} 5H{high}M{mean} 1V9"
        parts.append(f'<svg class="bar" viewBox="0 0 {BAR} 10" aria-hidden="true"><path d="{path}"></path></svg>')
    detail = face.note if face.sign else face.detail
    if detail:
        parts.append(f"<small>{text(detail)}</small>")
    parts.extend(mark(name) for name in face.marks)
    if face.note and not face.sign:
        parts.append(f'<small class="mark" title="{text(face.note)}">note</small>')
    start = '<td class="sign">' if face.sign else "<td>"
    return f"{start}{''.join(parts)}</td>"


def mark(name: str) -> str:
    """A small label; only the known ones have a colour of their own."""
    kind = f"mark {name}" if name in MARKS else "mark"
    return f'<small class="{kind}">{text(name)}</small>'


def table(board: Mapping[str, Any], found: Faces) -> str:
    """The default view: the first rule and normalisation, each task's primary metric, by rank."""
    rule, norm = board["rules"][0]["name"], board["normalisations"][0]["name"]
    overall = found.overall.get((rule, norm), {})
    columns = [found.tasks.get((rule, task["name"], task["primary"]), {}) for task in board["tasks"]]
    head = "".join(
        [
            '<th scope="col" class="method"><span class="by">Method</span></th>',
            *(f'<th scope="col" class="all"><span class="by">{text(name)}</span></th>' for name in found.heads),
            *(_task_head(task) for task in board["tasks"]),
        ]
    )
    missing = [MISSING] * len(found.heads)
    order = ordered([method["name"] for method in board["methods"]], overall)
    rows = []
    for place in order:
        method = board["methods"][place]
        name = method["name"]
        faces = [*overall.get(name, missing), *(column.get(name, MISSING) for column in columns)]
        rows.append(f'<tr data-m="{place}">{_method_head(method)}{"".join(cell(face) for face in faces)}</tr>')
    return f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def ordered(names: Sequence[str], overall: Mapping[str, Sequence[Face]]) -> list[int]:
    """The places of the methods by rank, then by overall mean; those without stand last, as declared."""

    def key(place: int) -> tuple[bool, float, bool, float]:
        rank, mean = (face.value for face in overall.get(names[place], (MISSING, MISSING))[:2])
        return rank is None, 0.0 if rank is None else rank, mean is None, 0.0 if mean is None else -mean

    return sorted(range(len(names)), key=key)


def _task_head(task: Mapping[str, Any]) -> str:
    metric = next(one for one in task["metrics"] if one["name"] == task["primary"])
    title = task.get("title") or task["name"]
    named = f"<small>{text(task['name'])}</small>" if title != task["name"] else ""
    unit = f", {metric['unit']}" if metric.get("unit") else ""
    better = "higher is better" if metric["higher"] else "lower is better"
    shown = f'<small class="metric">{text(metric.get("title") or metric["name"])}{text(unit)}; {better}</small>'
    return f'<th scope="col" class="task"><span class="by">{text(title)}</span>{named}{shown}</th>'


def _method_head(method: Mapping[str, Any]) -> str:
    title = method.get("title") or method["name"]
    named = f"<small>{text(method['name'])}</small>" if title != method["name"] else ""
    return f'<th scope="row" class="method"><span>{text(title)}</span>{named}</th>'


def legend(board: Mapping[str, Any]) -> str:
    """What the signs mean; of the marks, those that occur."""
    level = f"{100 * board['level']:g} %"
    used = {mark for one in (*board.get("cells", ()), *board.get("records", ())) for mark in one.get("marks") or ()}
    items = [
        ("91.2 ± 0.8", f"the mean and half of its {level} interval ({board['estimand']}); without ± there is none."),
        ("91.2 [90.1, 91.9]", "the same where the mean is not in the middle of its interval."),
        ("bar", "the interval and its mean, on the scale of its column."),
        ("a, b, ab", "methods that share a letter are tied: no test at this level separates them."),
        ("rank 1–3", "the ranks that the data leave open."),
        ("bold", "the whole top group, not only the largest number."),
        ("n = 1", "one seed, so nothing is known of the spread."),
        ("failed, missing", "a run that ended in an error; a run that does not exist."),
        *((name, f"{meaning}.") for name, meaning in MARKS.items() if name in used),
    ]
    return "".join(f"<dt>{text(sign)}</dt><dd>{text(meaning)}</dd>" for sign, meaning in items)


def methods(board: Mapping[str, Any]) -> str:
    """Every method with its citation and its link."""
    return "".join(_method_item(one) for one in board["methods"])


def _method_item(method: Mapping[str, Any]) -> str:
    named = link(method.get("link"), method.get("title") or method["name"])
    cited = f" <cite>{prose(method['citation'])}</cite>" if method.get("citation") else ""
    return f'<li><span class="named">{named}</span> <code>' + text(method["name"]) + f"</code>{cited}</li>"


def notes(board: Mapping[str, Any]) -> str:
    """The section of notes, where there are any."""
    items = "".join(f"<li>{prose(note)}</li>" for note in board.get("notes", ()))
    return f'<section aria-labelledby="h-notes"><h2 id="h-notes">Notes</h2><ul>{items}</ul></section>' if items else ""
