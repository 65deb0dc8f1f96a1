"""The page's table in a real headless browser. Needs Chromium or Chrome on the PATH (or BENCH_BROWSER), no library."""

from __future__ import annotations

from . import boards
from .browser import ROWS, Browser, choose, text

SORTED = (
    "[...document.querySelectorAll('#table th[aria-sort]')]"
    ".map((cell) => [cell.querySelector('.by').textContent, cell.getAttribute('aria-sort')])"
)
HEADS = "[...document.querySelectorAll('#table thead th.task:not([hidden]) .by')].map((one) => one.textContent)"
FOCUS = "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
BODY = "document.querySelector('#table tbody').innerHTML"


def test_the_static_rows_are_kept_and_filled_alike(demo: Browser) -> None:
    """What Python wrote and what the script writes are the same nodes: there and back again."""
    first = demo.run(BODY)
    demo.run("document.querySelector('#table tbody tr').wasHere = true")
    choose(demo, "rule", "oracle")
    choose(demo, "norm", "minmax")
    assert demo.run(BODY) != first
    choose(demo, "rule", "val")
    choose(demo, "norm", "none")
    assert demo.run(BODY) == first
    assert demo.run("document.querySelector('#table tbody tr').wasHere")


def test_every_column_sorts_both_ways(demo: Browser) -> None:
    board = boards.demo()
    count = demo.run("document.querySelectorAll('#table button.by').length")
    assert count == 1 + 4 + 6
    for column in range(count):
        orders = []
        for _ in range(2):
            demo.run(f"document.querySelectorAll('#table button.by')[{column}].click()")
            orders.append(demo.run(ROWS))
        assert sorted(orders[0]) == sorted(orders[1]) == list(range(7))
        assert orders[0] != orders[1]
        assert len(demo.run(SORTED)) == 1
    demo.run("document.querySelectorAll('#table button.by')[6].click()")  # the task with the failure, best first
    assert demo.run(SORTED) == [["CoLA", "descending"]]
    means = {
        one["method"]: one["mean"]
        for one in board["cells"]
        if (one["task"], one["rule"], one["metric"]) == ("glue/cola", "val", "accuracy")
    }
    names = [board["methods"][place]["name"] for place in demo.run(ROWS)]
    assert names == sorted(means, key=lambda name: (means[name] is None, -(means[name] or 0)))
    assert names[-1] == "ia3"
    demo.run("document.querySelectorAll('#table button.by')[6].click()")
    assert demo.run(ROWS)[-1] == 5  # a failure is last in both directions


def test_a_metric_where_lower_is_better_sorts_and_counts_so(demo: Browser) -> None:
    choose(demo, "metric", "hausdorff95")
    assert demo.run(HEADS) == ["DRIVE vessels", "ISIC lesions"]
    assert "7 of 7 methods, 2 of 6 tasks" in text(demo, "#count")
    demo.click("#table th.task:not([hidden]) button.by")
    assert demo.run(SORTED) == [["DRIVE vessels", "ascending"]]
    shown = demo.run(
        "[...document.querySelectorAll('#table tbody tr')].map((row) => parseFloat(row.cells[9].textContent))"
    )
    assert shown == sorted(shown)
    assert "lower is better" in text(demo, "#table th.task:not([hidden])")
    choose(demo, "what", "task:medseg/drive")
    assert "lower is better" in demo.run("document.querySelector('#pareto svg').getAttribute('aria-label')")


def test_filters_count_aloud(demo: Browser) -> None:
    demo.run("document.getElementById('filter').focus()")
    for letter in "lora":
        demo.press(letter)
    assert demo.run(ROWS) == [0]
    assert text(demo, "#count") == "1 of 7 methods, 6 of 6 tasks shown."
    assert demo.run("document.getElementById('count').getAttribute('aria-live')") == "polite"
    choose(demo, "family", "vision")
    assert demo.run(HEADS) == ["Pets", "Textures"]
    assert text(demo, "#count") == "1 of 7 methods, 2 of 6 tasks shown."
    demo.click("#controls button[type=reset]")
    assert len(demo.run(ROWS)) == 7
    assert len(demo.run(HEADS)) == 6


def test_the_address_keeps_the_state(demo: Browser, pages: dict[str, str]) -> None:
    choose(demo, "family", "glue")
    choose(demo, "metric", "f1")
    choose(demo, "rule", "oracle")
    choose(demo, "norm", "baseline")
    choose(demo, "cost", "peak_bytes")
    choose(demo, "what", "task:glue/rte")
    choose(demo, "filter", "a")
    demo.run("document.querySelectorAll('#table button.by')[6].click()")
    state = f"[location.hash, {ROWS}, {SORTED}, {HEADS}, document.querySelector('#table').textContent]"
    before = demo.run(state)
    assert "sort=task%3Aglue%2Fcola" in before[0]
    demo.open(pages["demo"] + before[0])
    assert demo.run(state) == before
    values = "['family','metric','rule','norm','cost','what','filter'].map((id) => document.getElementById(id).value)"
    chosen = ["glue", "f1", "oracle", "baseline", "peak_bytes", "task:glue/rte", "a"]
    assert demo.run(values) == chosen
    demo.run("location.hash = ''")  # as going back does
    demo.settle()
    assert demo.run(SORTED) == [["Rank", "ascending"]]


def test_an_address_with_nonsense_is_the_default(demo: Browser, pages: dict[str, str]) -> None:
    before = demo.run(BODY)
    demo.open(
        pages["demo"] + "#sort=__proto__&down=x&family=<b>&metric=constructor&rule=toString&norm=%FF&cost=x&what=1"
    )
    assert demo.run(BODY) == before


def test_a_task_is_drilled_down_to_its_records(demo: Browser) -> None:
    demo.click("#table th.task button.more")
    assert demo.run("document.getElementById('drill').open")
    assert text(demo, "#drilled") == "Recognizing Textual Entailment"
    assert demo.run("document.querySelectorAll('#drill .one').length") == 7
    assert demo.run("document.querySelectorAll('#drill .record').length") == 0  # built when opened
    demo.click("#drill .one summary")
    demo.settle()
    assert demo.run("document.querySelectorAll('#drill .record').length") == 3
    demo.click("#drill .record summary")
    demo.settle()
    said = text(demo, "#drill .record")
    key = boards.record("lora", "glue/rte", 0, {}, {})["key"]
    for part in (key, "optimizer.lr", "0.0005", "2.6.0", "1 x CPU, 2 cores", "bench run lora=glue/rte", "0123abc"):
        assert part in said, part


def test_a_click_on_a_cell_opens_its_method(demo: Browser) -> None:
    demo.click("#table tbody tr[data-m='4'] td:nth-child(8)")
    demo.settle()
    assert text(demo, "#drilled") == "Pets"
    assert demo.run("[...document.querySelectorAll('#drill .one bdi')].map((one) => one.textContent)") == ["BitFit"]
    assert "bench run bitfit=vision/pets" in text(demo, "#drill .record")


def test_the_command_is_copied(demo: Browser, pages: dict[str, str]) -> None:
    demo.run("Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => (window.got = text)}})")
    demo.click("#table tbody tr[data-m='4'] td:nth-child(8)")
    demo.settle()
    demo.click("#drill .copy")
    demo.settle()
    assert demo.run("window.got") == "bench run bitfit=vision/pets --replicate 0"
    assert text(demo, "#copied") == "Command copied."


def test_a_refused_clipboard_selects_the_command(demo: Browser) -> None:
    refuse = "{writeText: async () => { throw new Error('no') }}"
    demo.run(f"Object.defineProperty(navigator, 'clipboard', {{value: {refuse}}}); document.execCommand = () => false")
    demo.click("#table tbody tr[data-m='4'] td:nth-child(8)")
    demo.settle()
    demo.click("#drill .copy")
    demo.settle()
    assert demo.run("String(getSelection())") == "bench run bitfit=vision/pets --replicate 0"
    assert "selected" in text(demo, "#copied")


def test_by_keyboard(demo: Browser) -> None:
    """Skip link, filter, sorting by Enter and Space, the dialog by Enter, Escape back to where one was."""
    demo.press("Tab")
    assert demo.run(FOCUS) == "skip"
    assert demo.run("document.getElementById('skip').getBoundingClientRect().left") >= 0
    demo.press("Tab")
    assert demo.run(FOCUS) == "filter"
    seen = []
    for _ in range(80):
        demo.press("Tab")
        seen.append(demo.run(FOCUS))
        if demo.run("document.activeElement === document.body"):
            break
    assert {"family", "metric", "rule", "norm", "board", "by", "more", "what", "cost"} <= set(seen)
    assert "BODY" in seen  # no trap: the end is reached
    demo.run("document.querySelectorAll('#table button.by')[5].focus()")
    demo.press("Enter")
    assert demo.run(SORTED) == [["Recognizing Textual Entailment", "descending"]]
    demo.press(" ")
    assert demo.run(SORTED) == [["Recognizing Textual Entailment", "ascending"]]
    outline = demo.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    demo.press("Tab")
    assert demo.run(FOCUS) == "more"
    demo.press("Enter")
    assert demo.run("document.getElementById('drill').open")
    assert demo.run("document.getElementById('drill').contains(document.activeElement)")
    demo.press("Escape")
    assert not demo.run("document.getElementById('drill').open")
    assert demo.run(FOCUS) == "more"


def test_the_skip_link_keeps_the_state(demo: Browser) -> None:
    choose(demo, "family", "glue")
    demo.run("document.getElementById('skip').focus()")
    demo.press("Enter")
    assert demo.run(FOCUS) == "board"
    assert demo.run("location.hash") == "#family=glue"
