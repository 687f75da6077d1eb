"""Runs a file of SQL statements, whole or not at all, and says at which line it failed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg

from whimbrel.connectors.postgres.refusals import server_refusal
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.errors import SchemaFailed, TargetPermissionDenied

# Everything in which a semicolon does not end a statement, and the words that open and close a routine's body.
_TOKEN = re.compile(
    r"""
      (?P<skip> --[^\n]* | (?<![A-Za-z0-9_])[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
              | (?P<tag>\$(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]*)?\$).*?(?P=tag) )
    | (?P<comment> /\* )
    | (?P<word> [A-Za-z_\x80-\uffff][\w$\x80-\uffff]* )
    | (?P<end> ; )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_HEAD_CHARACTERS = 100


def execute(connection: Connection, sql: str) -> None:
    """Run all statements in one transaction.

    Raises SchemaFailed naming line and statement, or TargetPermissionDenied; lost connections and a full disk keep
    their own errors.
    """
    with connection.transaction():
        for line, statement in statements(sql):
            try:
                connection.execute(statement.encode())
            except psycopg.Error as e:
                raise _refusal(e, line, statement) from e


def _refusal(error: psycopg.Error, line: int, statement: str) -> Exception:
    refusal = server_refusal(error, "target")
    if refusal.retryable:
        return refusal
    kind = TargetPermissionDenied if isinstance(refusal, TargetPermissionDenied) else SchemaFailed
    words = " ".join(statement.split())[:_HEAD_CHARACTERS]
    said = error.diag.message_primary or str(error)
    return kind(f"line {line}: {said}, in: {words}", line=line, sqlstate=error.sqlstate)


def statements(sql: str) -> Iterator[tuple[int, str]]:
    """(line it begins at, text without semicolon) of each statement."""
    start = place = 0
    depth = 0
    routine = False
    while True:
        token = _TOKEN.search(sql, place)
        if token is None:
            break
        place = token.end()
        if token["comment"]:
            place = _comment_end(sql, place)
        elif token["word"]:
            word = token["word"].upper()
            routine = routine or word in ("FUNCTION", "PROCEDURE")
            depth = _depth(sql, place, word, depth) if routine else 0
        elif token["end"] and not depth:
            yield from _statement(sql, start, token.start())
            start, routine = place, False
    yield from _statement(sql, start, len(sql))


def _depth(sql: str, place: int, word: str, depth: int) -> int:
    """How deep inside BEGIN ATOMIC ... END we are; CASE has an END too."""
    if word == "BEGIN" and re.match(r"\s+ATOMIC\b", sql[place : place + 80], re.IGNORECASE):
        return depth + 1
    if word == "CASE" and depth:
        return depth + 1
    return max(depth - 1, 0) if word == "END" else depth


def _comment_end(sql: str, place: int) -> int:
    """Block comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, place):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(sql)


_LEADING = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z))*")


def _statement(sql: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    leading = _LEADING.match(sql, start, end)
    begin = leading.end() if leading else start
    text = sql[begin:end].strip()
    if text:
        yield sql.count("\n", 0, begin) + 1, text
