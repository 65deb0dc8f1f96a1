"""The code blocks of a Markdown file, and how each kind is carried out in a benchmark project of its own.

- `yaml` and `python` blocks whose first line names a file (`# methods/adapters/mine.yaml`) are written there.
- other `python` blocks are executed, all of a page in one namespace.
- `console` blocks: lines `$ [NAME=VALUE] bench ...` are run in process; what stands below one is compared with what
  it printed (`...` stands for anything, spaces and rules do not count). `$ echo $?` after a command shows its exit
  code, which must be 0 where it is not shown. KEY is the newest finished run, OTHER the one before.
- `text` blocks are prose.
- A block below `<!-- not run: reason -->` is left out, and the reason is shown.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import itertools
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.api import store_path
from bench.cli.main import main
from bench.store import Store

_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^>]+?) -->\s*\Z")
_FILE = re.compile(r"\A# (?P<path>(?:tasks|methods|leaderboards|notes)/[\w./-]+\.(?:py|yaml))\n")
_RULE = re.compile(r"^[\s─-]*$\n?", re.MULTILINE)
_PROGRESS = re.compile(r"^(?!bench:|failed:).* (\.\.\.|\d+ steps)\n", re.MULTILINE)
_LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """One fenced block: `reason` is why it is not run, '' where it is."""

    page: Path
    line: int
    kind: str
    body: str
    reason: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        before = _NOT_RUN.search(text, 0, match.start())
        reason = before["reason"] if before else ""
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, match["kind"], match["body"], reason))
    return found


@dataclass
class Session:
    """What one page's blocks share: a project folder, a store, Python names, the keys of finished runs."""

    project: Path
    names: dict[str, Any] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def carry_out(self, block: Block) -> None:
        """Run a block; AssertionError, with its place, when it does not do what the page says."""
        named = _FILE.match(block.body)
        if block.kind in ("python", "yaml") and named:
            path = self.project / named["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
        elif block.kind == "python":
            source = "\n" * block.line + block.body
            exec(compile(source, str(block.page), "exec"), self.names)
        elif block.kind == "console":
            self._console(block)
        elif block.kind != "text":
            raise AssertionError(f"{block.place}: a block of the kind {block.kind!r} is neither run nor marked")

    def _console(self, block: Block) -> None:
        code, printed = 0, ""
        commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.body, re.MULTILINE)
        for place, (command, wanted) in enumerate(commands):
            if command == "echo $?":
                assert int(wanted) == code, f"{block.place}: the exit code is {code}\n{printed}"
                continue
            words = shlex.split(command, comments=True)
            given = dict(itertools.takewhile(lambda pair: pair[1], (_setting(word) for word in words)))
            assert words[len(given)] == "bench", f"{block.place}: {command!r} is no bench command"
            with pytest.MonkeyPatch.context() as environment:
                for name, value in given.items():
                    environment.setenv(name, value)
                code, printed = self._bench([self._key(word) for word in words[len(given) + 1 :]])
            shown = place + 1 < len(commands) and commands[place + 1][0] == "echo $?"
            assert shown or code == 0, f"{block.place}: {command} ended with {code}\n{printed}"
            if wanted.strip():
                same = doctest.OutputChecker().check_output(_bare(wanted), _bare(printed), _LOOSE)
                assert same, f"{block.place}: {command} printed\n{printed}\nand not\n{wanted}"

    def _bench(self, words: list[str]) -> tuple[int, str]:
        before = set(self._done())
        out, err = io.StringIO(), io.StringIO()
        code = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main(words)
            except SystemExit as error:
                code = int(error.code or 0)
        self.keys += [key for key in self._done() if key not in before]
        return code, out.getvalue() + (_PROGRESS.sub("", err.getvalue()) if code else "")

    def _done(self) -> list[str]:
        store = Store(store_path())
        return [key for key in store.keys() if store.state(key) in ("done", "failed")]  # noqa: SIM118 (no dict)

    def _key(self, word: str) -> str:
        return {"KEY": lambda: self.keys[-1][:12], "OTHER": lambda: self.keys[-2][:12]}.get(word, lambda: word)()


def _setting(word: str) -> tuple[str, str]:
    """("NAME", "value") of `NAME=value`; ("", "") for a word that sets nothing."""
    match = re.fullmatch(r"([A-Z_]+)=(.+)", word)
    return (match[1], match[2]) if match else ("", "")


def _bare(text: str) -> str:
    return _RULE.sub("", text).strip()
