"""Digests of source files: what a method computes is part of what a run means.

Project-local imports are followed through the syntax tree. The text is hashed with comments, docstrings and blank
lines cut out, so that a result survives a better comment and a new Python version, and nothing else.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.core.loading import ROOTS, builtin_root, root_of


def digests(files: Iterable[Path]) -> dict[str, str]:
    """Name within its project (`methods/adapters/lora.py`) -> digest, for the files and all they import from there."""
    found: dict[str, set[str]] = {}
    seen: set[Path] = set()
    waiting = list(files)
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            root = root_of(path.parent)
            name = f"{root.name}/{path.relative_to(root).as_posix()}"
            status = path.stat()
            found.setdefault(name, set()).add(_digest(path, status.st_mtime_ns, status.st_size))
            waiting += _imported(path, root, status.st_mtime_ns, status.st_size)
    # Files of one name in two projects (one's own and the built-in) stand under one name with both digests.
    return {name: min(each) if len(each) == 1 else digest(sorted(each)) for name, each in sorted(found.items())}


@lru_cache(maxsize=1024)
def _digest(path: Path, mtime: int, size: int) -> str:
    return hashlib.sha256(essential(_text(path), path).encode()).hexdigest()


@lru_cache(maxsize=1024)
def _imported(path: Path, root: Path, mtime: int, size: int) -> tuple[Path, ...]:
    """The files of the same project that a file imports, relatively or by the project's own names."""
    tree = _tree(_text(path), path)
    wanted: list[Path] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = _base(node, path, root)
            if base is not None:
                wanted += [base, *(base / alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            wanted += [place for alias in node.names if (place := _own(alias.name, root)) is not None]
    files = (candidate for place in wanted for candidate in (place.with_suffix(".py"), place / "__init__.py"))
    # What makes the root itself a package belongs to the harness, and is not part of what a method computes.
    return tuple(
        dict.fromkeys(file for file in files if file.is_file() and file.name + file.parent.name not in _ROOT_INITS)
    )


def _base(node: ast.ImportFrom, path: Path, root: Path) -> Path | None:
    if node.level:
        folder = path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        return folder.joinpath(*(node.module or "").split(".")) if node.module else folder
    return _own(node.module or "", root)


def _own(module: str, root: Path) -> Path | None:
    """The place of an absolute import: `bench.methods.x` is the built-in file, `methods.x` the project's own."""
    parts = module.split(".")
    if parts[0] == "bench" and len(parts) > 1 and parts[1] in ROOTS:
        builtin = builtin_root(parts[1])
        return builtin.joinpath(*parts[2:]) if builtin is not None else None
    return root.joinpath(*parts[1:]) if parts[0] == root.name else None


def essential(text: str, path: Path) -> str:
    """A source text without comments, docstrings, blank lines and trailing spaces."""
    lines = text.splitlines()
    cuts = sorted([*_docstrings(_tree(text, path), lines), *_comments(text)], reverse=True)
    for (low, start), (high, end) in cuts:
        lines[low : high + 1] = [lines[low][:start] + lines[high][end:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())


_ROOT_INITS = {f"__init__.py{name}" for name in ROOTS}

_Cut = tuple[tuple[int, int], tuple[int, int]]


def _docstrings(tree: ast.Module, lines: list[str]) -> Iterator[_Cut]:
    """Where docstrings stand. The tree counts columns in bytes of UTF-8, a cut in characters."""

    def place(line: int, column: int) -> tuple[int, int]:
        return line - 1, len(lines[line - 1].encode()[:column].decode())

    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                value = first.value
                assert value.end_lineno is not None
                assert value.end_col_offset is not None
                yield place(value.lineno, value.col_offset), place(value.end_lineno, value.end_col_offset)


def _comments(text: str) -> Iterator[_Cut]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield (token.start[0] - 1, token.start[1]), (token.end[0] - 1, token.end[1])


def _tree(text: str, path: Path) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise UserError(f"{path} line {error.lineno} is not Python: {error.msg}.") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
