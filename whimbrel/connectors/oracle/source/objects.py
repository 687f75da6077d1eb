"""What stands beside the tables of Oracle's schemas: views, materialized views, routines and packages, triggers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from whimbrel.connectors.oracle.connection import query
from whimbrel.model.names import TableName
from whimbrel.model.objects import Routine, SchemaObject, Trigger, View

DIALECT: Final = "oracle"
VIEWS: Final = "SELECT VIEW_NAME, TEXT FROM ALL_VIEWS WHERE OWNER = :owner ORDER BY VIEW_NAME"
KEPT_VIEWS: Final = "SELECT MVIEW_NAME, QUERY FROM ALL_MVIEWS WHERE OWNER = :owner ORDER BY MVIEW_NAME"
SOURCES: Final = """
SELECT NAME, TYPE, LINE, TEXT FROM ALL_SOURCE
WHERE OWNER = :owner AND TYPE IN ('PROCEDURE', 'FUNCTION', 'PACKAGE', 'PACKAGE BODY') ORDER BY NAME, TYPE, LINE"""
TRIGGERS: Final = """
SELECT OWNER, TRIGGER_NAME, TABLE_NAME, TRIGGER_TYPE, TRIGGERING_EVENT, TRIGGER_BODY FROM ALL_TRIGGERS
WHERE TABLE_OWNER = :owner ORDER BY TRIGGER_NAME"""
_KINDS: Final = {"PROCEDURE": "procedure", "FUNCTION": "function", "PACKAGE": "package", "PACKAGE BODY": "package"}


def objects(connection: Any, tables: Sequence[TableName]) -> tuple[SchemaObject, ...]:
    """See ``protocols.Source.objects``."""
    found: list[SchemaObject] = []
    for owner in dict.fromkeys(t.schema for t in tables):
        for row in query(connection, VIEWS, {"owner": owner}):
            found.append(View(TableName(owner, row["VIEW_NAME"]), DIALECT, row["TEXT"]))
        for row in query(connection, KEPT_VIEWS, {"owner": owner}):
            found.append(View(TableName(owner, row["MVIEW_NAME"]), DIALECT, row["QUERY"], materialized=True))
        found += _routines(owner, query(connection, SOURCES, {"owner": owner}))
        found += _triggers(query(connection, TRIGGERS, {"owner": owner}), owner, set(tables))
    return tuple(found)


def _routines(owner: str, rows: Sequence[dict[str, Any]]) -> Iterator[Routine]:
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        lines[row["NAME"], row["TYPE"]].append(row["TEXT"] or "")
    for (name, type), text in lines.items():
        kind: Any = _KINDS[type]
        yield Routine(TableName(owner, name), DIALECT, f"CREATE OR REPLACE {''.join(text).strip()}", "PL/SQL", kind)


def _triggers(rows: Sequence[dict[str, Any]], owner: str, wanted: set[TableName]) -> Iterator[Trigger]:
    for row in rows:
        table = TableName(owner, row["TABLE_NAME"] or "")
        if table in wanted:
            text = (
                f'CREATE OR REPLACE TRIGGER "{row["OWNER"]}"."{row["TRIGGER_NAME"]}" {row["TRIGGER_TYPE"]} '
                f'{row["TRIGGERING_EVENT"]} ON "{owner}"."{table.table}"\n{row["TRIGGER_BODY"]}'
            )
            yield Trigger(TableName(row["OWNER"], row["TRIGGER_NAME"]), DIALECT, text, table)
