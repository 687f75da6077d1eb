"""Looks in a source's rows for what a stricter target refuses: each question is one query, and has its bound.

MySQL compares texts by their collation in a foreign key, and takes rows without a parent while foreign_key_checks is
off; an ENUM may hold '' as the sign of a value that was none of its labels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import pymysql

from whimbrel.connectors.mysql.connection import Session, execute, qualified, query, quote_identifier
from whimbrel.connectors.mysql.refusals import LOCK_TIMEOUT, number_and_text
from whimbrel.connectors.protocols import Rehearsal
from whimbrel.model.table import Annotation, ForeignKey, Table

QUERY_SECONDS: Final = 5.0
SECONDS: Final = 20.0
_GIVEN_UP: Final = (LOCK_TIMEOUT, 1317, 1969, 3024)


def look_at_rows(session: Session, tables: Sequence[Table], *, keys: bool) -> Rehearsal:
    """``keys``: the target compares foreign keys between these tables with the rows."""
    _bound(session)
    deadline = time.monotonic() + SECONDS
    found: list[str] = []
    large: list[str] = []
    for what, sql in _questions(tables, keys):
        try:
            if time.monotonic() > deadline:
                large.append(what)
            elif query(session, sql):
                found.append(what)
        except pymysql.MySQLError as e:
            if number_and_text(e)[0] not in _GIVEN_UP:
                raise
            large.append(what)
    shown = ", ".join(large[:20]) + (f" and {len(large) - 20} more" if len(large) > 20 else "")
    return Rehearsal(refused=tuple(found), untested=f"not tested: too large: {shown}" if large else "")


def _bound(session: Session) -> None:
    limit = f"max_statement_time = {QUERY_SECONDS}"
    if not session.mariadb:
        limit = f"max_execution_time = {int(QUERY_SECONDS * 1000)}"
    execute(session, f"SET SESSION {limit}, lock_wait_timeout = {int(QUERY_SECONDS)}")
    execute(session, "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")  # keeps no history of others' rows


def _questions(tables: Sequence[Table], keys: bool) -> Iterator[tuple[str, str]]:
    """What is suspected, and a query that has a row where it is so."""
    by_name = {t.name: t for t in tables}
    for table in tables:
        for column in table.loaded_columns:
            if column.type.annotation is Annotation.ENUM:
                name = quote_identifier(column.name)
                sql = f"SELECT 1 FROM {qualified(table.name)} WHERE {name} + 0 = 0 LIMIT 1"  # noqa: S608 - quoted
                yield f"{table.name}.{column.name} holds '' that is none of its labels", sql
        for key in table.foreign_keys if keys else ():
            if key.parent in by_name:
                parent = f"{key.parent} ({', '.join(key.parent_columns)})"
                what = f"{table.name}: foreign key {key.name}: rows that no row of {parent} equals byte by byte"
                yield what, _unmatched(table, by_name[key.parent], key)


def _unmatched(table: Table, parent: Table, key: ForeignKey) -> str:
    """Found by the parent's own index, then compared strictly: a collation may call other texts equal."""
    pairs = [(f"c.{quote_identifier(a)}", f"p.{quote_identifier(b)}") for a, b in _columns(key)]
    same = " AND ".join(f"{b} = {a}" for a, b in pairs)
    given = " AND ".join(f"{a} IS NOT NULL" for a, _ in pairs)
    texts = [pair for pair, (name, _) in zip(pairs, _columns(key), strict=True) if _is_text(table, name)]
    strict = "".join(f" OR CAST({a} AS BINARY) <> CAST({b} AS BINARY)" for a, b in texts)
    return (
        f"SELECT 1 FROM {qualified(table.name)} AS c LEFT JOIN {qualified(parent.name)} AS p ON {same}"  # noqa: S608
        f" WHERE {given} AND ({pairs[0][1]} IS NULL{strict}) LIMIT 1"
    )


def _columns(key: ForeignKey) -> list[tuple[str, str]]:
    return list(zip(key.columns, key.parent_columns, strict=True))


def _is_text(table: Table, name: str) -> bool:
    native = table.column(name).type.native.lower()
    return native.startswith(("char", "varchar")) or "text" in native
