"""Cuts a file of SQL into statements."""

from __future__ import annotations

import re
from collections.abc import Iterator

# what may hold a semicolon that ends nothing: comments, names and texts, with the quote doubled or behind a backslash
_PIECE = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|''|\\.)*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\$\$.*?\$\$|;|[^;'\"`/$-]+|.",
    re.DOTALL,
)


def statements(sql: str) -> Iterator[str]:
    """Each without its semicolon; comments between statements are left out."""
    parts: list[str] = []
    for found in _PIECE.finditer(sql):
        piece = found[0]
        if piece == ";":
            yield from _whole(parts)
            parts = []
        elif not piece.startswith(("--", "/*")):
            parts.append(piece)
    yield from _whole(parts)


def _whole(parts: list[str]) -> Iterator[str]:
    text = "".join(parts).strip()
    if text:
        yield text
