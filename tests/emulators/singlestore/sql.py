"""Statements cut into what is quoted and what is not, and CREATE TABLE into its lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

QUOTED = re.compile(r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\"|`(?:[^`]|``)*`|/\*.*?\*/", re.DOTALL)
NAME = r"`(?:[^`]|``)*`|[A-Za-z_][A-Za-z0-9_$]*"
PATH = rf"(?:{NAME})(?:\s*\.\s*(?:{NAME}))?"


def outside(sql: str, change: Callable[[str], str]) -> str:
    """Change what is not quoted."""
    parts, at = [], 0
    for found in QUOTED.finditer(sql):
        parts += [change(sql[at : found.start()]), found[0]]
        at = found.end()
    return "".join([*parts, change(sql[at:])])


def bare(sql: str) -> str:
    """With every quoted text as ``''``, and names without their quotes."""
    return QUOTED.sub(lambda m: " " + plain(m[0]) + " " if m[0][0] == "`" else "''", sql)


def plain(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def path(text: str, database: str) -> tuple[str, str]:
    """Database and table of a name."""
    names = [plain(n) for n in re.findall(NAME, text)]
    return (names[0], names[1]) if len(names) > 1 else (database, names[0])


def split(text: str) -> Iterator[str]:
    """At commas that are in no quotes and no parentheses."""
    depth, start, at = 0, 0, 0
    while at < len(text):
        quoted = QUOTED.match(text, at)
        if quoted:
            at = quoted.end()
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if text[at] == "," and depth == 0:
            yield text[start:at].strip()
            start = at + 1
        at += 1
    yield text[start:].strip()


def body(text: str) -> tuple[str, str, str]:
    """What stands before the first parenthesis, in it, and behind its end."""
    depth, start, at = 0, -1, 0
    while at < len(text):
        quoted = QUOTED.match(text, at)
        if quoted:
            at = quoted.end()
            continue
        if text[at] == "(":
            depth += 1
            start = at if start < 0 else start
        elif text[at] == ")":
            depth -= 1
            if depth == 0:
                return text[:start], text[start + 1 : at], text[at + 1 :]
        at += 1
    return text, "", ""


@dataclass(frozen=True)
class Key:
    kind: str  # PRIMARY, UNIQUE, SHARD, SORT, FOREIGN, CHECK, or '' for one that is no more than an index
    columns: tuple[str, ...]


_KEY = re.compile(
    rf"(?:CONSTRAINT\s+(?:{NAME})\s+)?(?:(PRIMARY|UNIQUE|SHARD|SORT|FOREIGN|CHECK)\b\s*(?:KEY|INDEX)?|(?:KEY|INDEX)\b)",
    re.IGNORECASE,
)


def key(line: str) -> Key | None:
    """The key that a line of CREATE TABLE is; None for a column."""
    found = _KEY.match(line)
    if not found:
        return None
    inside = body(line[found.end() :])[1]
    columns = tuple(plain(m[0]) for part in split(inside) if (m := re.match(NAME, part)))
    return Key((found[1] or "").upper(), columns)
