"""Text from elsewhere, made safe to show on a terminal."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^@/\s]+(@)|((?:password|passwd|token)=)[^&\s]+", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """Addresses without the password in them."""
    return _PASSWORD.sub(lambda found: f"{found[1] or found[3]}***{found[2] or ''}", text)


def printable(text: object, newlines: bool = False) -> str:
    """`text` with control characters, terminal escapes and direction marks written out (`\\x1b`, `\\u202e`).

    With `newlines`, line ends and tabs are kept (tracebacks).
    """
    text = str(text)
    if text.isprintable():  # which hides nothing: most of what is shown
        return text
    return "".join(
        mark
        if unicodedata.category(mark) not in _HIDDEN or (newlines and mark in "\n\t")
        else mark.encode("unicode_escape").decode()
        for mark in text
    )
