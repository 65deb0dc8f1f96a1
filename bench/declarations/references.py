"""References to code, "file:Class": a Python file beside the declaration, and a name in it."""

from __future__ import annotations

import re

from bench.core.errors import UserError
from bench.declarations.wording import quoted

_REFERENCE = re.compile(r"([A-Za-z][A-Za-z0-9_]*):([A-Za-z][A-Za-z0-9_]*)")
FORM = '"file:Name", a Python file beside the declaration (without folder or ".py") and a name in it'


def is_reference(text: str) -> bool:
    """Whether `text` has the form "file:Name"."""
    return _REFERENCE.fullmatch(text) is not None


def reference(ref: str, where: str) -> tuple[str, str]:
    """The file's stem and the attribute that `ref` names; a UserError at `where` for every other form."""
    match = _REFERENCE.fullmatch(ref)
    if match is None:
        raise UserError(f"{where}: expected {FORM}, found {quoted(ref)}.")
    return match[1], match[2]
