"""Words of Oracle's SQL, as far as the stand-in looks at them itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<text>[nN]?'(?:[^']|'')*')
    |(?P<quoted>"[^"]+")
    |(?P<word>[A-Za-z_][\w$\#]*)
    |(?P<bind>:\w+)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<sign>\|\||<=|>=|<>|!=|=>|:=|\.\.|.)""",
    re.S | re.X,
)


def tokens(sql: str) -> list[str]:
    """All but white space and remarks; hints are remarks."""
    return [m[0] for m in _TOKEN.finditer(sql) if m.lastgroup != "space"]


def name(token: str) -> str:
    """An identifier as the catalogue has it."""
    return token[1:-1] if token.startswith('"') else token.upper()


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def word(token: str) -> str:
    """In capitals, unless it is quoted or a text."""
    return token if token[:1] in "\"'" else token.upper()


def joined(parts: Sequence[str]) -> str:
    """Text again, spaced as people write it."""
    out = ""
    for part in parts:
        tight = not out or out.endswith(("(", ".")) or (part in (")", ",", ".", "(") and not out.endswith((" ", ",")))
        out += part if tight else f" {part}"
    return out


def group(parts: Sequence[str], at: int) -> int:
    """The index behind the bracket that closes the one at ``at``."""
    depth = 0
    for place in range(at, len(parts)):
        depth += {"(": 1, ")": -1}.get(parts[place], 0)
        if depth == 0:
            return place + 1
    raise ValueError("a bracket is not closed")


def split(parts: Sequence[str]) -> Iterator[list[str]]:
    """At the commas outside of brackets."""
    depth = 0
    found: list[str] = []
    for part in parts:
        depth += {"(": 1, ")": -1}.get(part, 0)
        if part == "," and depth == 0:
            yield found
            found = []
        else:
            found.append(part)
    if found:
        yield found
