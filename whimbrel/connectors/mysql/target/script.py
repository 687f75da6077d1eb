"""Cuts a file of SQL into statements, and runs them one by one: MySQL has no DDL that could be rolled back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pymysql

from whimbrel.connectors.mysql.connection import Session, query
from whimbrel.connectors.mysql.refusals import number_and_text
from whimbrel.errors import SchemaFailed, TargetInterrupted

_TOKEN = re.compile(
    r"(?P<quoted>'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\"|`(?:[^`]|``)*`)"
    r"|(?P<comment>--(?=\s|$)[^\n]*|\#[^\n]*|/\*(?![!+]).*?\*/)"
    r"|(?P<delimiter>^[ \t]*DELIMITER[ \t]+(?P<mark>\S+)[ \t]*$)"
    r"|(?P<other>.)",
    re.S | re.M | re.I,
)
_ADDS = re.compile(r"\s*(CREATE\s+(UNIQUE\s+|FULLTEXT\s+|SPATIAL\s+)?INDEX|ALTER\s+TABLE\s.*\sADD\s)", re.I | re.S)
_THERE_ALREADY = (1022, 1061, 1826)
_FOREIGN_KEY_EXISTS = re.compile(r"errno: 121\b")


def statements(sql: str) -> Iterator[str]:
    """The statements without comments, delimiters and empty ones. Follows DELIMITER lines."""
    mark, text = ";", ""
    for token in _TOKEN.finditer(sql):
        if token["comment"] is not None:
            continue
        if token["delimiter"] is not None:
            mark = token["mark"]
            continue
        text += token[0]
        if token["other"] is not None and text.endswith(mark):
            if text[: -len(mark)].strip():
                yield text[: -len(mark)].strip()
            text = ""
    if text.strip():
        yield text.strip()


def run_script(session: Session, sql: str) -> None:
    """Run all statements in order. An index or key that exists under its name already is no error.

    Raises SchemaFailed naming the statement that failed and how many before it have been done and stay.
    """
    done: list[str] = []
    for statement in statements(sql):
        try:
            query(session, statement)
        except pymysql.MySQLError as e:
            if not _exists_already(statement, e):
                raise _failure(statement, e, done) from e
        done.append(_title(statement))


def _exists_already(statement: str, error: pymysql.MySQLError) -> bool:
    number, text = number_and_text(error)
    exists = number in _THERE_ALREADY or (number == 1005 and _FOREIGN_KEY_EXISTS.search(text) is not None)
    return exists and _ADDS.match(statement) is not None


def _failure(statement: str, error: pymysql.MySQLError, done: list[str]) -> SchemaFailed | TargetInterrupted:
    number, text = number_and_text(error)
    if number in (0, 1053, 2006, 2013):
        return TargetInterrupted(
            f"the target was lost at statement {len(done) + 1} ({_title(statement)})", errno=number
        )
    made = f"; the {len(done)} before it were done and stay" if done else ""
    return SchemaFailed(
        f"statement {len(done) + 1} ({_title(statement)}) failed: {text}{made}", errno=number, done=done[-100:]
    )


def _title(statement: str) -> str:
    return " ".join(statement.split())[:100]
