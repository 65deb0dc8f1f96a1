"""What reaches a terminal: harmless, whole, and quiet when nobody reads on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.output import emit, number
from bench.tables import Table

from .conftest import SHORT, Cli

ESCAPE = "\x1b]0;owned\x07\x1b[31m\x9b31m\u202e"


def harmless(text: str) -> bool:
    return not any(mark in text for mark in "\x1b\x07\x9b\u202e")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", f"a{ESCAPE}=toy/waves"],
        ["run", f"all=toy/{ESCAPE}"],
        ["run", "all=toy/waves", f"optimizer.{ESCAPE}=1"],
        ["run", "all=toy/waves", f"optimizer.lr={ESCAPE}"],
        ["run", "all=toy/waves", "--log", ESCAPE],
        ["run", "all=toy/waves", "--device", ESCAPE],
        ["run", "all=toy/waves", "--seeds", ESCAPE],
        ["run", "all=toy/waves", "--store", f"/proc/{ESCAPE}"],
        ["run", f"--{ESCAPE}"],
        ["run", "all=toy/waves", "--workers", ESCAPE],
        [ESCAPE],
        ["list", ESCAPE],
        ["show", ESCAPE],
        ["table", ESCAPE],
        ["table", "-m", ESCAPE],
        ["why", ESCAPE],
        ["store", ESCAPE],
    ],
)
def test_what_was_typed_is_shown_harmless(cli: Cli, empty: Path, arguments: list[str]) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert harmless(said.out + said.err)
    assert "\\x1b" in said.err


def test_what_is_declared_is_shown_harmless(cli: Cli, toy: Path) -> None:
    (toy / "methods" / "kinds" / "all.yaml").write_text(
        json.dumps({"title": f"Bad {ESCAPE}", "adaptation": {"train": "all"}}).replace("\x9b", "\\x9b")
    )
    for arguments in (["list"], ["show", "all"], ["list", "--json"], ["show", "all", "--json"]):
        said = cli(*arguments)
        assert said.code == 0, said.err
        assert "Bad" in said.out
        assert harmless(said.out + said.err)
    rows = cli("list", "methods", "all", "--json").json
    assert rows[0]["title"] == f"Bad {ESCAPE}"


def test_what_a_method_raises_is_shown_harmless(cli: Cli, toy: Path, tmp_path: Path) -> None:
    script = toy / "methods" / "kinds" / "broken.py"
    script.write_text(script.read_text().replace("the third step went wrong", repr(f"bad {ESCAPE}")[1:-1]))
    said = cli("run", "broken=toy/waves", "--store", tmp_path / "store")
    assert said.code == 1
    key = next(word for word in said.err.split() if len(word) == 13 and word.endswith(";")).rstrip(";")
    shown = [said, *(cli(*one, "--store", tmp_path / "store") for one in (["status"], ["show", key], ["table"]))]
    assert all(harmless(one.out + one.err) for one in shown)
    assert "bad \\x1b" in said.err
    assert "bad \\x1b" in shown[2].out


def test_a_file_s_name_is_shown_harmless(cli: Cli, empty: Path, toy: Path) -> None:
    (toy / "methods" / "kinds" / "bad\x1b[31m.yaml").write_text("title: x\n")
    said = cli("list")
    assert "\\x1b[31m" in said.complaint


WIDE = Table(
    ["task", "method", "score", "fit", ""],
    [["toy/waves budget.steps=4 budget.batch_size=64", "a-method-of-some-length", "65.6 ± 12.3", "1h 23m", "1 failed"]],
    [{"task": "toy/waves"}],
    notes=["A note that is longer than a terminal of forty columns is wide."],
)


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120])
def test_a_narrow_terminal_folds_names_and_cuts_no_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    emit(WIDE, as_json=False)
    out = capsys.readouterr().out
    assert "65.6 ± 12.3" in out
    assert "1h 23m" in out
    assert "…" not in out
    lines = out.splitlines()
    if columns >= 80:
        assert max(len(line) for line in lines if "─" in line) <= columns
    for name in WIDE.rows[0][:2]:
        column = "".join(lines).replace(" ", "")
        assert all(piece in column for piece in name[:12].split())


def test_a_pipe_gets_whole_names(capsys: pytest.CaptureFixture[str]) -> None:
    emit(WIDE, as_json=False)
    assert WIDE.rows[0][0] in capsys.readouterr().out


def test_counts_in_words() -> None:
    assert [number(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["list", "--json"], ["show", "all"], ["run", "--help"]])
def test_a_reader_who_leaves_is_no_failure(toy: Path, arguments: list[str]) -> None:
    """`bench list | head`: no traceback, and not the exit code of a failed run."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_progress_shows_labels_as_they_are(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`[task.budget.steps=2]` is no markup."""
    from rich.console import Console

    from bench.cli.progress import Shown

    shown = Shown(1)
    shown._bars.live.console = Console(force_terminal=True, width=200)
    with shown:
        shown.begin("all = toy/waves [task.budget.steps=2] [/red] seed 0", 2, 0)
        shown.step(1, 0.5, 0.25)
        column = next(iter(shown._bars.columns))
        text = column.render(shown._bars.tasks[shown._run])
    assert "[task.budget.steps=2] [/red]" in str(text)


@pytest.mark.parametrize("arguments", [["run", "all=toy/waves", *SHORT]])
def test_without_a_terminal_progress_is_a_few_lines(
    cli: Cli, empty: Path, tmp_path: Path, arguments: list[str]
) -> None:
    said = cli(*arguments, "--store", tmp_path / "store")
    assert said.code == 0
    assert len(said.err.splitlines()) < 6
    assert "seed 0: 2 steps" in said.err
    assert harmless(said.err)
