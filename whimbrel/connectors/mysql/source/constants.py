"""Expressions of MySQL and MariaDB in one spelling: constants as any session reads them, everything else as shown.

The servers show constants in the bytes of their own character sets, so that a definition is no text as a whole: what
is not UTF-8 comes as surrogates (``surrogateescape``) and leaves as hexadecimal.
"""

from __future__ import annotations

import re
from typing import Final

from whimbrel.connectors.mysql.connection import quote_literal
from whimbrel.connectors.mysql.tokens import Kind, Spelling, Token, tokens

_UTF8: Final = frozenset({"_utf8mb4", "_utf8mb3", "_utf8"})
_NOT_ASCII: Final = frozenset({"_ucs2", "_utf16", "_utf16le", "_utf32"})
_INTRODUCER: Final = re.compile(r"_[a-z0-9]+\Z", re.I)
_CONSTANTS: Final = (Kind.TEXT, Kind.HEX, Kind.BITS)


def spelled(text: str) -> str:
    """The expression with its constants quoted by our rules. Raises NotUnderstood."""
    parts: list[str] = []
    found = list(tokens(text, Spelling()))
    at = 0
    for number, token in enumerate(found):
        behind = found[number + 1] if number + 1 < len(found) else None
        if _introduces(token, behind):
            continue
        before = found[number - 1] if number else None
        introducer = before if before is not None and _introduces(before, token) else None
        start = token.start if introducer is None else introducer.start
        parts.append(text[at:start])
        parts.append(_constant(token, introducer.value.lower() if introducer else "", text))
        at = token.end
    return ("".join(parts) + text[at:]).strip()


def raw(text: str) -> bytes:
    """The bytes that a server had shown."""
    return text.encode("utf-8", "surrogateescape")


def _introduces(token: Token, behind: Token | None) -> bool:
    """Whether it says the character set of the constant behind it."""
    return (
        token.kind is Kind.WORD
        and behind is not None
        and behind.kind in _CONSTANTS
        and _INTRODUCER.match(token.value) is not None
    )


def _constant(token: Token, introducer: str, text: str) -> str:
    if token.kind is not Kind.TEXT:
        return f"{introducer} {text[token.start : token.end]}".strip()
    shown = raw(token.value)
    if introducer in _NOT_ASCII:
        return f"{introducer} X'{shown.hex()}'"
    try:
        quoted = quote_literal(shown.decode())
    except UnicodeDecodeError:
        return f"{introducer} X'{shown.hex()}'".strip()
    if introducer in ("", *_UTF8):
        return quoted
    return f"{introducer}{quoted}" if shown.isascii() or introducer == "_binary" else f"{introducer} X'{shown.hex()}'"
