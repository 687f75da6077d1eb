"""Around the rows: indexes and foreign keys, dropped while a table is empty and built once its rows are there.

What is dropped is written down first, so that a table always has its indexes, or their definitions are there to build
them from. Definitions are changed in as few requests as possible, as each takes Spanner many seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from whimbrel.connectors.protocols import Claim
from whimbrel.connectors.spanner.connection import SpannerSession
from whimbrel.connectors.spanner.dialect import SpannerDialect
from whimbrel.connectors.spanner.ledger import FOREIGN_KEY, INDEX, SpannerLedger
from whimbrel.connectors.spanner.reflection import Found, reflect
from whimbrel.errors import LoaderFailed, SchemaFailed
from whimbrel.model.names import TableName
from whimbrel.model.table import Index, Table


class SpannerFinisher:
    """See ``protocols.Finisher``. Each call has a session of its own."""

    def __init__(self, session: Callable[[], SpannerSession], dialect: SpannerDialect) -> None:
        self._session, self._dialect = session, dialect

    def prepare(self, tables: Sequence[Table], claim: Claim | None = None) -> None:
        with closing(self._session()) as session:
            there = reflect(session, self._dialect, [t.name for t in tables])
            empty = {name: found for name, found in there.items() if not self._filled(session, name)}
            ledger = self._ledger(session, claim)
            drops: list[str] = []
            for name, found in empty.items():
                keys = {k.name: self._dialect.add_foreign_key(found.table, k) for k in found.table.foreign_keys}
                ledger.drop_noted(name, FOREIGN_KEY, keys)
                drops += [f"ALTER TABLE {self._dialect.qualified(name)} DROP CONSTRAINT `{key}`" for key in keys]
            for name, found in empty.items():
                indexes = {i.name: self._definition(found, i) for i in found.table.indexes}
                ledger.drop_noted(name, INDEX, indexes)
                drops += [drop_index(self._dialect, name, index) for index in indexes]
            ledger.require_claim(claim)
            session.define(drops)

    def indexes(self, source: Table, target: Table, stop: Callable[[], bool], claim: Claim | None = None) -> None:
        with closing(self._session()) as session:
            ledger = self._ledger(session, claim)
            found = reflect(session, self._dialect, [target.name]).get(target.name)
            if found is None or stop():
                return
            there = {i.name.lower() for i in found.table.indexes}
            wanted = {i.name: self._dialect.create_index(target, i) for i in target.indexes}
            wanted |= ledger.dropped(target.name, INDEX)
            ledger.require_claim(claim)
            self._build(session, target.name, [sql for name, sql in wanted.items() if name.lower() not in there])
            ledger.built(target.name, INDEX)

    def keys(self, target: Sequence[Table], claim: Claim | None = None) -> None:
        """They are compared with the rows."""
        with closing(self._session()) as session:
            ledger = self._ledger(session, claim)
            there = reflect(session, self._dialect, [*(t.name for t in target), *parents(target)])
            for table in target:
                if table.name not in there:
                    continue
                known = there[table.name].table.foreign_keys
                names = {k.name.lower() for k in known}
                alike = {(k.columns, k.parent, k.parent_columns) for k in known}
                wanted = {
                    k.name: self._dialect.add_foreign_key(table, k)
                    for k in table.foreign_keys
                    if k.parent in there and (k.columns, k.parent, k.parent_columns) not in alike
                }
                wanted |= ledger.dropped(table.name, FOREIGN_KEY)
                ledger.require_claim(claim)
                self._build(session, table.name, [sql for name, sql in wanted.items() if name.lower() not in names])
                ledger.built(table.name, FOREIGN_KEY)

    def sequences(self, source: Sequence[Table], target: Sequence[Table], patience: int | None = None) -> None:
        """No column is numbered by Spanner."""

    def _build(self, session: SpannerSession, table: TableName, statements: Sequence[str]) -> None:
        try:
            session.define(statements)
        except SchemaFailed as e:
            raise LoaderFailed(
                f"{table}: {e.message}",
                remedy="Rows of the target do not fit an index or a foreign key: correct them on the source and load "
                "again, or drop the definition there.",
            ) from None

    def _ledger(self, session: SpannerSession, claim: Claim | None) -> SpannerLedger:
        return SpannerLedger(session, self._dialect, claim.migration if claim else "")

    def _filled(self, session: SpannerSession, name: TableName) -> bool:
        return bool(session.query(f"SELECT 1 FROM {self._dialect.qualified(name)} LIMIT 1"))  # noqa: S608

    def _definition(self, found: Found, index: Index) -> str:
        sql = self._dialect.create_index(found.table, index)
        wanted, made = index.name in found.null_filtered, "NULL_FILTERED" in sql
        if wanted == made:
            return sql
        return sql.replace("INDEX", "NULL_FILTERED INDEX", 1) if wanted else sql.replace("NULL_FILTERED ", "", 1)


def parents(tables: Sequence[Table]) -> list[TableName]:
    return [key.parent for table in tables for key in table.foreign_keys]


def drop_index(dialect: SpannerDialect, table: TableName, index: str) -> str:
    return f"DROP INDEX IF EXISTS {dialect.qualified(TableName(table.schema, index))}"
