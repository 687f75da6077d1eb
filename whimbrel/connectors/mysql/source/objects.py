"""Views, routines, events and triggers beside tables, as far as the account may see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import pymysql

from whimbrel.connectors.mysql.connection import Session, query, quote_identifier, quote_literal
from whimbrel.connectors.mysql.refusals import number_and_text
from whimbrel.connectors.mysql.source.expressions import DIALECT
from whimbrel.model.names import TableName
from whimbrel.model.objects import Routine, SchemaObject, Trigger, View

_READS_SINCE = (8, 0, 13)  # MySQL's, which MariaDB has not
# No such schema or object, or not for this account; and a view that reads what is not there any more.
_NOT_SHOWN: Final = frozenset({1044, 1049, 1142, 1143, 1146, 1227, 1305, 1356, 1360, 1370, 1419, 1539})
_SHOWN_AT: Final = {"VIEW": 1, "PROCEDURE": 2, "FUNCTION": 2, "PACKAGE": 2, "TRIGGER": 2, "EVENT": 3}


def objects(session: Session, tables: Sequence[TableName]) -> tuple[SchemaObject, ...]:
    """See ``protocols.Source.objects``."""
    schemas = list(dict.fromkeys(t.schema for t in tables))
    return tuple(
        found
        for listed in (_views(session, schemas, tables), _routines(session, schemas), _triggers(session, tables))
        for found in listed
    )


def _views(session: Session, schemas: Sequence[str], tables: Sequence[TableName]) -> Iterator[View]:
    reads = _reads(session)
    wanted = set(tables)
    names = {TableName(s, n) for s in schemas for n in _views_of(session, s)}
    names |= {view for view, read in reads.items() if wanted & set(read)}
    for name in sorted(names):
        yield View(name, DIALECT, _shown(session, "VIEW", name), depends=tuple(reads.get(name, ())))


def _views_of(session: Session, schema: str) -> Iterator[str]:
    """By name; information_schema would make MariaDB open each of them."""
    rows = query(session, f"SHOW FULL TABLES FROM {quote_identifier(schema)} WHERE Table_type = 'VIEW'")
    return (str(row[0]) for row in rows)


def _reads(session: Session) -> dict[TableName, list[TableName]]:
    """What each view reads, where the server tells."""
    found: dict[TableName, list[TableName]] = {}
    if not session.mariadb and session.version >= _READS_SINCE:
        asked = "SELECT VIEW_SCHEMA, VIEW_NAME, TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEW_TABLE_USAGE"
        for schema, view, read_schema, read in query(
            session, f"{asked} WHERE VIEW_SCHEMA <> 'sys' ORDER BY 1, 2, 3, 4"
        ):
            found.setdefault(TableName(schema, view), []).append(TableName(read_schema, read))
    return found


_ROUTINE_KINDS: Final[dict[str, Literal["function", "procedure", "package"]]] = {
    "FUNCTION": "function",
    "PROCEDURE": "procedure",
    "PACKAGE": "package",
}


def _routines(session: Session, schemas: Sequence[str]) -> Iterator[Routine]:
    for schema in schemas:
        rows = query(
            session,
            "SELECT ROUTINE_TYPE, ROUTINE_NAME, COALESCE(EXTERNAL_LANGUAGE, ROUTINE_BODY) FROM "  # noqa: S608 - quoted
            f"information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {quote_literal(schema)} ORDER BY 1, 2",
        )
        for type_, name, language in rows:
            if kind := _ROUTINE_KINDS.get(type_):  # a package's body comes with it
                place = TableName(schema, name)
                yield Routine(place, DIALECT, _shown(session, type_, place), str(language), kind)
        rows = query(
            session,
            "SELECT EVENT_NAME FROM information_schema.EVENTS"  # noqa: S608 - quoted
            f" WHERE EVENT_SCHEMA = {quote_literal(schema)} ORDER BY 1",
        )
        for (name,) in rows:
            place = TableName(schema, name)
            yield Routine(place, DIALECT, _shown(session, "EVENT", place), "SQL", "event")


def _triggers(session: Session, tables: Sequence[TableName]) -> Iterator[Trigger]:
    wanted = set(tables)
    for schema in dict.fromkeys(t.schema for t in tables):
        rows = query(
            session,
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS"  # noqa: S608 - quoted
            f" WHERE TRIGGER_SCHEMA = {quote_literal(schema)} ORDER BY 2, 1",
        )
        for name, on in rows:
            if (table := TableName(schema, on)) in wanted:
                place = TableName(schema, name)
                yield Trigger(place, DIALECT, _shown(session, "TRIGGER", place), table)


def _shown(session: Session, kind: str, name: TableName) -> str | None:
    """Its definition; None where it is not for this account."""
    try:
        row = query(session, f"SHOW CREATE {kind} {quote_identifier(name.schema)}.{quote_identifier(name.table)}")[0]
    except pymysql.MySQLError as e:
        if number_and_text(e)[0] not in _NOT_SHOWN:
            raise
        return None
    text = row[_SHOWN_AT[kind]]
    return None if text is None else str(text)
