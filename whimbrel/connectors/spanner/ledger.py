"""Progress kept in Spanner: the shared ledger, with transactions that are run when they are committed.

A fence only reads the epoch in the transaction that writes: Spanner lets no other one change it before the commit, and
loads that only read it are in nobody's way. That a chunk has begun to come in several commits is a row of ``loaded``
without a number of rows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from whimbrel.connectors.protocols import Claim, TableLoad
from whimbrel.connectors.spanner.connection import SpannerSession, Transaction
from whimbrel.connectors.spanner.dialect import OWN, SpannerDialect
from whimbrel.connectors.sql.ledger import TABLES, SqlLedger, parted
from whimbrel.errors import LoaderFailed, TargetInterrupted
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

INDEX, FOREIGN_KEY = "index", "foreign key"  # kinds of what is dropped for a load
HOLD_SECONDS: Final = 120  # after which a hold that nobody released is over
_CHUNKS_AT_ONCE: Final = 5000  # of a plan, in one transaction
_OF_TABLE: Final = "migration, source_schema, source_table"
_KEYS: Final = {
    "progress": "migration",
    "tables": _OF_TABLE,
    "chunks": f"{_OF_TABLE}, number",
    "loaded": f"{_OF_TABLE}, number",
    "owned": "migration, target_schema, target_table",
    "dropped": "target_schema, target_table, kind, name",
}
_MORE: Final = {
    **TABLES,
    "progress": TABLES["progress"] + ", writing VARCHAR, holder VARCHAR, held_until TIMESTAMP",
    "loaded": TABLES["loaded"].replace("loaded_rows {number} NOT NULL", "loaded_rows {number}"),
    "dropped": (
        "target_schema VARCHAR NOT NULL, target_table VARCHAR NOT NULL, kind VARCHAR NOT NULL, name VARCHAR NOT NULL, "
        "definition VARCHAR NOT NULL"
    ),
}
_COLUMNS: Final = {name: [part.split()[0] for part in columns.split(", ") if part] for name, columns in _MORE.items()}


@dataclass(frozen=True)
class Standing:
    """A migration's row as it is now; ``writing`` is the end of a batch of several commits that may be under way."""

    epoch: int
    position: Position | None
    writing: Position | None
    held: bool
    holder: str | None


class Held(Exception):
    """A repair holds the target just now."""


class SpannerLedger(SqlLedger):
    """See ``protocols.Ledger``. One session, for one thread."""

    _session: SpannerSession

    def claim(self) -> int:
        claimed = 0

        def work(transaction: Transaction) -> Iterable[bytes]:
            nonlocal claimed
            rows = transaction.query(
                f"SELECT epoch, UNIX_MICROS(CURRENT_TIMESTAMP()) FROM {self._own('progress')} WHERE {self._mine}"  # noqa: S608
            )
            if rows:
                claimed = int(rows[0][0]) + 1
                sql = f"UPDATE {self._own('progress')} SET epoch = {claimed} WHERE {self._mine}"  # noqa: S608
            else:
                claimed = int(transaction.query("SELECT UNIX_MICROS(CURRENT_TIMESTAMP())")[0][0])
                sql = (
                    f"INSERT INTO {self._own('progress')} (migration, epoch, operation, data_complete, snapshots) "  # noqa: S608
                    f"VALUES ({self._text(self._migration)}, {claimed}, '', FALSE, 0)"
                )
            transaction.run([sql])
            return ()

        self._session.transact(work)
        return claimed

    def save_plan(self, epoch: int, table: Table, chunks: Sequence[Chunk]) -> None:
        """Its layout comes last: a plan counts only with it, and may be too long for one transaction."""
        with self._fenced(epoch):
            for name in ("tables", "chunks", "loaded"):
                self._delete(name, [table.name])
        rows = [
            (*self._of(table.name), str(c.number), self._text(json.dumps(c.bounds)), str(c.rows), str(c.bytes))
            for c in chunks
        ]
        for at in range(0, len(rows), _CHUNKS_AT_ONCE):
            with self._fenced(epoch):
                self._insert("chunks", rows[at : at + _CHUNKS_AT_ONCE])
        with self._fenced(epoch):
            self._insert("tables", [(*self._of(table.name), self._text(table.fingerprint), "FALSE")])

    def recorded(self, chunk: Chunk) -> int | None:
        return self.standing_of(chunk)[0]

    def standing_of(self, chunk: Chunk) -> tuple[int | None, bool]:
        """The rows of a chunk that is loaded already, and whether it has begun to come. Raises LoaderFailed for one
        that is not in the plan."""
        where = f"{self._mine} AND {self._is(chunk.table)} AND number = {chunk.number}"
        found = self._session.query(
            f"SELECT TRUE, loaded_rows FROM {self._own('loaded')} WHERE {where} "  # noqa: S608
            f"UNION ALL SELECT FALSE, number FROM {self._own('chunks')} WHERE {where}"
        )
        if not found:
            raise LoaderFailed(f"{chunk.table}: chunk {chunk.number} is not in the plan that the target keeps")
        begun = [rows for is_loaded, rows in found if is_loaded]
        return (int(begun[0]) if begun and begun[0] is not None else None), bool(begun)

    def _loads(self, layouts: dict[TableName, tuple[str, bool]]) -> dict[TableName, TableLoad]:
        sql = f"SELECT DISTINCT source_schema, source_table FROM {self._own('loaded')} WHERE {self._mine}"  # noqa: S608
        begun = {TableName(*row) for row in self._session.query(f"{sql} AND loaded_rows IS NULL")}
        return {name: replace(load, announced=name in begun) for name, load in super()._loads(layouts).items()}

    def _select(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        known = " AND loaded_rows IS NOT NULL" if table == "loaded" else ""
        return self._session.query(f"SELECT {columns} FROM {self._own(table)} WHERE {self._mine}{known}")  # noqa: S608

    def _insert(self, table: str, rows: Sequence[Sequence[str]]) -> None:
        columns = ", ".join(_COLUMNS[table])
        for values in parted(f"({', '.join(row)})" for row in rows):
            self._session.execute(f"INSERT INTO {self._own(table)} ({columns}) VALUES {values}")  # noqa: S608

    # --- fences -------------------------------------------------------------------------------------------------------

    def _require(self, epoch: int, assignment: str) -> None:
        where = f"{self._mine} AND epoch = {int(epoch)}"

        def check(count: int) -> None:
            if count != 1:
                raise self._fenced_off(epoch)

        self._session.note(f"UPDATE {self._own('progress')} SET {assignment} WHERE {where}", check)  # noqa: S608

    def standing(self, transaction: Transaction) -> Standing | None:
        """As the transaction sees it, and as it stays until it has ended."""
        rows = transaction.query(
            "SELECT epoch, position, writing, holder IS NOT NULL AND held_until > CURRENT_TIMESTAMP(), holder "  # noqa: S608
            f"FROM {self._own('progress')} WHERE {self._mine}"
        )
        if not rows:
            return None
        epoch, position, writing, held, holder = rows[0]
        stored = [Position.from_json(text) if text else None for text in (position, writing)]
        return Standing(int(epoch), stored[0], stored[1], bool(held), holder)

    def require_epoch(self, transaction: Transaction, epoch: int) -> None:
        """Raise Fenced unless the migration is still ``epoch``'s."""
        found = self.standing(transaction)
        if found is None or found.epoch != epoch:
            raise self._fenced_off(epoch)

    def require_free(self, transaction: Transaction, epoch: int) -> Standing:
        """The same for appliers, which wait for repairs: raises Held."""
        found = self.standing(transaction)
        if found is None or found.epoch != epoch:
            raise self._fenced_off(epoch)
        if found.held:
            raise Held
        return found

    def require_claim(self, claim: Claim | None) -> None:
        """Raise Fenced when somebody else has claimed the migration since. Definitions commit by themselves."""
        if claim is not None and self._newest() != claim.epoch:
            raise self._fenced_off(claim.epoch)

    # --- repairs ------------------------------------------------------------------------------------------------------

    def hold(self) -> str:
        """Take the hold; its token. From here on no applier commits, as each reads the row that is changed. Raises
        TargetInterrupted if another repair has it."""
        token = uuid.uuid4().hex

        def work(transaction: Transaction) -> Iterable[bytes]:
            found = self.standing(transaction)
            if found is None or found.held:
                raise TargetInterrupted(f"another repair of {self._migration} holds the target")
            until = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {HOLD_SECONDS} SECOND)"
            transaction.run([self._progress(f"holder = '{token}', held_until = {until}")])
            return ()

        self._session.transact(work)
        return token

    def require_hold(self, transaction: Transaction, token: str) -> None:
        """Raise TargetInterrupted where the hold is over."""
        found = self.standing(transaction)
        if found is None or not found.held or found.holder != token:
            raise TargetInterrupted(f"the hold of a repair of {self._migration} had ended")

    def end_hold(self, token: str) -> None:
        """No error if it is over."""

        def work(transaction: Transaction) -> Iterable[bytes]:
            found = self.standing(transaction)
            if found is not None and found.holder == token:
                transaction.run([self.unheld])
            return ()

        self._session.transact(work)

    @property
    def unheld(self) -> str:
        """The statement that ends a hold."""
        return self._progress("holder = NULL, held_until = NULL")

    def moved(self, position: Position) -> str:
        """The statement that stores a position, and with it that no batch is under way."""
        return self._progress(f"position = {self._position(position)}, writing = NULL")

    def under_way(self, position: Position) -> str:
        """The statement that notes the end of a batch which is written in several commits."""
        return self._progress(f"writing = {self._position(position)}")

    def _progress(self, assignments: str) -> str:
        return f"UPDATE {self._own('progress')} SET {assignments} WHERE {self._mine}"  # noqa: S608

    # --- chunks -------------------------------------------------------------------------------------------------------

    def loaded(self, chunk: Chunk, rows: int | None) -> str:
        """The statement that records a chunk, or with None that it has begun."""
        values = ", ".join((*self._of(chunk.table), str(chunk.number), "NULL" if rows is None else str(rows)))
        return f"INSERT OR UPDATE INTO {self._own('loaded')} ({', '.join(_COLUMNS['loaded'])}) VALUES ({values})"  # noqa: S608

    # --- what was dropped for a load ----------------------------------------------------------------------------------

    def drop_noted(self, table: TableName, kind: str, definitions: dict[str, str]) -> None:
        where = (self._text(table.schema), self._text(table.table), self._text(kind))
        rows = [(*where, self._text(name), self._text(text)) for name, text in definitions.items()]
        names = ", ".join(_COLUMNS["dropped"])
        with self.transaction():
            for row in rows:
                self._session.execute(
                    f"INSERT OR UPDATE INTO {self._own('dropped')} ({names}) VALUES ({', '.join(row)})"  # noqa: S608
                )

    def dropped(self, table: TableName, kind: str) -> dict[str, str]:
        """Definitions by name, of those that are to be built again."""
        sql = f"SELECT name, definition FROM {self._own('dropped')} WHERE {self._dropped(table, kind)}"  # noqa: S608
        return dict(self._session.query(sql))

    def built(self, table: TableName, kind: str) -> None:
        """They are there again."""
        self._session.execute(f"DELETE FROM {self._own('dropped')} WHERE {self._dropped(table, kind)}")  # noqa: S608

    def _dropped(self, table: TableName, kind: str) -> str:
        return f"{self._is(table, 'target')} AND kind = {self._text(kind)}"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._session.transaction():
            yield


def prepare(session: SpannerSession, dialect: SpannerDialect) -> None:
    """Make our schema and what is in it, where it is absent."""
    asked = f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{OWN}'"  # noqa: S608
    there = {str(row[0]).lower() for row in session.query(asked)}
    if missing := [name for name in _MORE if name not in there]:
        session.define([f"CREATE SCHEMA IF NOT EXISTS `{OWN}`", *(_made(dialect, name) for name in missing)])


def _made(dialect: SpannerDialect, name: str) -> str:
    columns = _MORE[name].format(number="INT64").replace("VARCHAR", "STRING(MAX)").replace("BOOLEAN", "BOOL")
    return f"CREATE TABLE IF NOT EXISTS {dialect.own(name)} ({columns}) PRIMARY KEY ({_KEYS[name]})"


Fence = Callable[[Transaction], object]
