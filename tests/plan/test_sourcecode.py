from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.plan.sourcecode import digests, essential

CODE = '''"""About the file."""

import math  # the library


class Thing:
    """About the class."""

    def area(self, r):
        """About the method.

        In several lines, with a "quote" and a # mark.
        """
        text = "not # a comment"  # but this is
        return math.pi * r**2, text


def alone():
    """Only a docstring."""


def same_line():
    """Ünäuffällig."""; x = 1  # noqa
    return x
'''


def _digest(tmp_path: Path, text: str) -> str:
    file = tmp_path / "methods" / "kind" / "thing.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return digests([file])["methods/kind/thing.py"]


def test_comments_docstrings_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    before = _digest(tmp_path, CODE)
    bare = essential(CODE, Path("x"))
    assert "About" not in bare
    assert "# but" not in bare
    assert '"not # a comment"' in bare
    assert "; x = 1" in bare
    for old, new in (
        ("# the library", "# of mathematics"),
        ("About the method.", "Another text, ä, longer than before."),
        ("\n\n\nclass", "\n\n\n\n\nclass"),
        ('"""About the file."""', "# no docstring"),
    ):
        assert _digest(tmp_path, CODE.replace(old, new)) == before
    assert _digest(tmp_path, CODE.replace("r**2", "r**3")) != before
    assert _digest(tmp_path, CODE.replace("not # a", "not # the")) != before


def test_imports_within_the_project_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "methods"
    (root / "kind").mkdir(parents=True)
    (root / "kind" / "a.py").write_text("from .b import x\nfrom . import c\nfrom methods.other import d\nimport math\n")
    (root / "kind" / "b.py").write_text("from ..other.e import y\n")
    (root / "kind" / "c.py").write_text("")
    (root / "other").mkdir()
    for name in ("__init__", "d", "e"):
        (root / "other" / f"{name}.py").write_text("")
    found = digests([root / "kind" / "a.py"])
    assert list(found) == [
        "methods/kind/a.py",
        "methods/kind/b.py",
        "methods/kind/c.py",
        "methods/other/__init__.py",
        "methods/other/d.py",
        "methods/other/e.py",
    ]


def test_a_file_that_is_not_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"thing.py line 2 is not Python"):
        _digest(tmp_path, "x = 1\ndef\n")
