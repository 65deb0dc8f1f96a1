"""The one way in which YAML is read: version 1.2's core types, and nothing that refers, runs or repeats.

PyYAML reads YAML 1.1 (`no` is false, `1e-3` is text, `010` is 8, `12:30:45` is 45045). Here plain scalars
follow the core schema of YAML 1.2. Anchors, aliases, tags, duplicate keys, keys that are not text,
infinities, and `${` in any text are refused. Values are built from the event stream without recursion:
libyaml's own composer overflows the stack on deeply nested input.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.printable import printable
from bench.declarations.wording import found, place, quoted

_DEPTH = 40
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CORE = (
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN))\Z",
        list("-+0123456789."),
    ),
)


def load(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file at `path`; a UserError names the file, the line and the key of a
    mistake.
    """
    where = place(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror or error}.") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{where}, line {line}: the file is not UTF-8 text.") from None
    value = parse(text, where)
    if not isinstance(value, dict):
        raise UserError(f"{where}, line 1: expected a mapping of keys to values, found {found(value)}.")
    return value


def parse(text: str, where: str, *, lines: bool = True) -> Any:
    """The value that `text` holds as one YAML document (None when empty).

    `where` names the text in errors; `lines=False` leaves line numbers out (command-line values).
    """
    reader = _Reader(where, lines)
    if bad := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, bad.start())
        raise reader.error(line, f"the character {quoted(bad.group())} is not allowed")
    yaml = _yaml()
    loader = _loader()(text)
    try:
        while loader.check_event():
            event = loader.get_event()
            name = type(event).__name__
            reader.line = event.start_mark.line
            if name == "ScalarEvent":
                tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
                reader.scalar(event, tag.rpartition(":")[2])
            elif name in ("MappingStartEvent", "SequenceStartEvent"):
                reader.start(event, {} if name == "MappingStartEvent" else [])
            elif name in ("MappingEndEvent", "SequenceEndEvent"):
                reader.end()
            elif name == "AliasEvent":
                raise reader.refusal(f"the alias {quoted('*' + event.anchor)}", "*")
            elif name == "DocumentStartEvent":
                reader.document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = printable(getattr(error, "problem", None) or "the text is not YAML")
        if (getattr(error, "context", None) or "").endswith(("alias", "anchor", "tag")):
            problem += '; quote text that begins with "*", "&" or "!"'
        line = mark.line if mark is not None else reader.line
        raise reader.error(line, f"the YAML cannot be read ({problem})") from None
    finally:
        loader.dispose()
    return reader.value


def _yaml() -> Any:
    """PyYAML, imported when the first file is read."""
    return import_module("yaml")


@functools.cache
def _loader() -> Any:
    """PyYAML's safe loader (the C one where it was built) with the resolvers of YAML 1.2's core schema."""
    yaml = _yaml()
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader: Any = type("CoreLoader", (base,), {"yaml_implicit_resolvers": {}})
    for name, pattern, first in _CORE:
        loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(pattern), first)
    return loader


@dataclass
class _Frame:
    """An open mapping or list; `key` is the key whose value is being read, None when a key is expected
    next.
    """

    container: dict[str, Any] | list[Any]
    key: str | None = None


@dataclass
class _Reader:
    """Builds one value from parser events, and knows line and dotted key at every moment."""

    where: str
    lines: bool
    line: int = 0
    value: Any = None
    documents: int = 0
    frames: list[_Frame] = field(default_factory=list)

    def document(self) -> None:
        self.documents += 1
        if self.documents > 1:
            raise self.error(self.line, "a second document begins, and a declaration is one document")

    def scalar(self, event: Any, tag: str) -> None:
        if self._key_expected():
            if tag != "str":
                raise self.error(
                    self.line, f"the key {quoted(event.value)} must be text; write it in quotes", event.value
                )
            self._open_key(event.value)
            self._refuse_marks(event)
        else:
            self._refuse_marks(event)
            self._put(self._typed(event.value, tag))

    def start(self, event: Any, container: dict[str, Any] | list[Any]) -> None:
        if self._key_expected():
            raise self.error(self.line, "a key must be text, found a mapping or a list")
        self._refuse_marks(event)
        if len(self.frames) >= _DEPTH:
            raise self.error(self.line, f"values are nested more than {_DEPTH} deep")
        self._put(container)
        self.frames.append(_Frame(container))

    def end(self) -> None:
        self.frames.pop()
        if self.frames:
            self.frames[-1].key = None

    def refusal(self, what: str, mark: str) -> UserError:
        return self.error(self.line, f'{what} is refused; write the value out, or quote text that begins with "{mark}"')

    def error(self, line: int, problem: str, key: str = "") -> UserError:
        """The mistake as one sentence: file, line, key, problem."""
        keys = [frame.key for frame in self.frames if frame.key is not None]
        dotted = "" if key or not keys else f" in {quoted('.'.join(keys))}"
        position = f", line {line + 1}" if self.lines else ""
        return UserError(f"{self.where}{position}{dotted}: {problem}.")

    def _key_expected(self) -> bool:
        return bool(self.frames) and isinstance(self.frames[-1].container, dict) and self.frames[-1].key is None

    def _open_key(self, key: str) -> None:
        frame = self.frames[-1]
        if key in frame.container:
            raise self.error(self.line, f"the key {quoted(key)} is given twice")
        frame.key = key

    def _put(self, value: Any) -> None:
        if not self.frames:
            self.value = value
            return
        frame = self.frames[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
        else:
            assert frame.key is not None
            frame.container[frame.key] = value
            if not isinstance(value, (dict, list)):
                frame.key = None

    def _refuse_marks(self, event: Any) -> None:
        """Anchors, tags, and interpolations in text."""
        if event.anchor is not None:
            raise self.refusal(f"the anchor {quoted('&' + event.anchor)}", "&")
        if event.tag is not None:
            raise self.refusal(f"the tag {quoted(event.tag)}", "!")
        if "${" in getattr(event, "value", ""):
            raise self.error(self.line, f"interpolation is refused, found {found(event.value)}")

    def _typed(self, text: str, tag: str) -> Any:
        if tag == "str":
            return text
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        try:
            number: int | float
            if tag == "int":
                number = int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            else:
                number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise self.error(self.line, f"the number {quoted(text)} has too many digits") from None
        if isinstance(number, float) and not math.isfinite(number):
            raise self.error(self.line, f"expected a finite number, found {quoted(text)}")
        return number
