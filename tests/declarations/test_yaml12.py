from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.core.errors import UserError
from bench.declarations import yaml12
from bench.declarations.yaml12 import load, parse


@pytest.fixture(params=["c", "python"], autouse=True)
def either_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Everything must hold with libyaml and without it."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    yaml12._loader.cache_clear()
    yield
    yaml12._loader.cache_clear()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("5.0e-4", 0.0005),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("+7", 7),
        ("-0", 0),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30:45", "12:30:45"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31 10:00:00", "2024-01-31 10:00:00"),
        ("'1'", "1"),
        ('"no"', "no"),
        ("=", "="),
        ("<<", "<<"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        (".", "."),
        ("[]", []),
        ("{}", {}),
        ("[1, {a: [b, 2.0]}, ~]", [1, {"a": ["b", 2.0]}, None]),
        ("a: {b: 1}\nc: [d]\ne: f", {"a": {"b": 1}, "c": ["d"], "e": "f"}),
        ("a:\n- b: 1\n  c: 2\n- d", {"a": [{"b": 1, "c": 2}, "d"]}),
        ("title: |\n  one\n  two\n", {"title": "one\ntwo\n"}),
        ("train[:90%]", "train[:90%]"),
    ],
)
def test_core_types(text: str, value: Any) -> None:
    got = parse(text, "here")
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a: 1\nb: {c: 1, d: 2, c: 3}", ["line 2", '"b"', '"c" is given twice']),
        ("a: &x 1\nb: *x", ["line 1", '"a"', "anchor", '"&x"']),
        ("a: 1\nb: *x", ["line 2", '"b"', "alias", '"*x"']),
        ("a:\n  b: [1, &x {c: 2}]", ["line 2", '"a.b"', "anchor"]),
        ("a: !!python/object:os.system x", ["line 1", '"a"', "tag"]),
        ("a: !env HOME", ["line 1", '"a"', '"!env"']),
        ("a: !!str 1", ["tag"]),
        ("a: ! 1", ["tag"]),
        ("a: !x {}", ["tag"]),
        ("!x a: 1", ["tag", '"a"']),
        ("a: 1\nb:\n  c: ${oc.env:HOME}", ["line 3", '"b.c"', "interpolation", "${oc.env:HOME}"]),
        ('a: "\\x24{x}"', ["interpolation"]),
        ("a: [x, 'y${z}']", ["interpolation", '"a"']),
        ("a: |\n  ${x}", ["interpolation"]),
        ("${x}: 1", ["interpolation"]),
        ("a: {'${x}': 1}", ["interpolation", '"a.${x}"']),
        ("1: a", ["line 1", '"1" must be text', "quotes"]),
        ("a:\n  true: b", ["line 2", '"true" must be text']),
        ("null: a", ["must be text"]),
        ("? [a]\n: b", ["must be text", "a list"]),
        ("a: .inf", ["line 1", '"a"', "finite"]),
        ("a: -.INF", ["finite"]),
        ("a: .nan", ["finite"]),
        ("a: 1e999", ["finite"]),
        ("a: " + "9" * 5000, ["too many digits"]),
        ("a: 1\n---\nb: 2", ["line 2", "second document"]),
        ("a: [1", ["line", "cannot be read"]),
        ("a: b: c", ["line 1", "cannot be read"]),
        ("\tx: 1", ["line 1", "cannot be read"]),
        ("a: 1\nb: \x1b[31m", ["line 2", "\\\\x1b", "not allowed"]),
        ("a: 1\nb: \udce9", ["line 2", "not allowed"]),
        ("[" * 100_000, ["nested more than"]),
        ("{a: " * 3000, ["nested more than"]),
    ],
)
def test_refused(text: str, pieces: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, "tasks/x.yaml")
    message = str(caught.value)
    assert message.startswith("tasks/x.yaml, line ")
    assert "\x1b" not in message
    for piece in pieces:
        assert piece.replace("\\\\", "\\") in message, message


def test_a_refused_alias_says_how_to_write_a_pattern() -> None:
    with pytest.raises(UserError, match="quote text that begins with") as caught:
        parse("*.query", "The override", lines=False)
    assert str(caught.value).startswith("The override: ")


def test_comments_may_hold_anything() -> None:
    assert parse("a: 1  # ${x} &y *z !w", "here") == {"a": 1}


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbftitle: caf\xc3\xa9\n")
    assert load(path) == {"title": "café"}


@pytest.mark.parametrize(
    ("data", "piece"),
    [
        (b"a: 1\nb: \xff\n", "line 2: the file is not UTF-8"),
        ("a: 1".encode("utf-16"), "line 1: the file is not UTF-8"),
        (b"- a", "line 1: expected a mapping of keys to values, found a list"),
        (b"", "expected a mapping of keys to values, found nothing"),
        (b"5", "found the integer 5"),
    ],
)
def test_load_refuses(tmp_path: Path, data: bytes, piece: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a.yaml") as caught:
        load(path)
    assert piece in str(caught.value)


def test_load_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing.yaml cannot be read: No such file"):
        load(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path)


def test_errors_name_files_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "a.yaml").write_text("a: 1\na: 2\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^tasks/a.yaml, line 2: "):
        load(tmp_path / "tasks" / "a.yaml")
