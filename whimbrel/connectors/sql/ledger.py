"""Progress kept in the target: what was planned, what is loaded, and where replay must go on.

No unique key is relied on, as many warehouses enforce none, and no row of a chunk is updated: that a chunk is loaded is
a fact that is added, so lanes of one table are in nobody's way. The fence is an UPDATE of the migration's row that must
find the epoch; it stands last in every transaction, so that its lock is held only until the commit, and a new owner
never waits for an old one's long load.

A transaction may be ended on the server by somebody else, and a server may then take the next statement as if nothing
had been. So what is written here carries the session's guard, and what a commit kept is read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any, Final, Protocol

from whimbrel.connectors.protocols import LoadState, TableLoad
from whimbrel.errors import Fenced, LoaderFailed, TargetInterrupted, WhimbrelError
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

_ROWS_A_STATEMENT: Final = 500
_CHARACTERS_A_STATEMENT: Final = 500_000  # bounds of a chunk may be long texts, and a server may take 1 MiB only
TABLES: Final = {
    "progress": (
        "migration VARCHAR NOT NULL, epoch {number} NOT NULL, operation VARCHAR NOT NULL, position VARCHAR, "
        "data_complete BOOLEAN NOT NULL, snapshots {number} NOT NULL"
    ),
    "tables": (
        "migration VARCHAR NOT NULL, source_schema VARCHAR NOT NULL, source_table VARCHAR NOT NULL, "
        "fingerprint VARCHAR NOT NULL, finished BOOLEAN NOT NULL"
    ),
    "chunks": (
        "migration VARCHAR NOT NULL, source_schema VARCHAR NOT NULL, source_table VARCHAR NOT NULL, "
        "number {number} NOT NULL, bounds VARCHAR NOT NULL, planned_rows {number} NOT NULL, "
        "planned_bytes {number} NOT NULL"
    ),
    "loaded": (
        "migration VARCHAR NOT NULL, source_schema VARCHAR NOT NULL, source_table VARCHAR NOT NULL, "
        "number {number} NOT NULL, loaded_rows {number} NOT NULL"
    ),
    "owned": "migration VARCHAR NOT NULL, target_schema VARCHAR NOT NULL, target_table VARCHAR NOT NULL",
}


class LedgerSession(Protocol):
    """What is asked of a session here: see ``session.Session``."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, sql: str) -> int: ...

    def query(self, sql: str) -> list[tuple[Any, ...]]: ...

    def now(self) -> datetime: ...

    def guard(self) -> str: ...

    def transaction(self) -> AbstractContextManager[None]: ...

    def close(self) -> None: ...


class LedgerDialect(Protocol):
    """What is asked of a dialect here: see ``dialect.SqlDialect``."""

    title: str
    touched: str
    no_table: str

    def literal(self, text: str) -> str: ...

    def own(self, name: str) -> str: ...

    def claim(self, table: str, migration: str, first: int) -> str: ...


class SqlLedger:
    """See ``protocols.Ledger``. One session, for one thread."""

    def __init__(self, session: LedgerSession, dialect: LedgerDialect, migration: str) -> None:
        self._session, self._dialect, self._migration = session, dialect, migration
        self._mine = f"migration = {dialect.literal(migration)}"

    def claim(self) -> int:
        """A row that is made new begins at the server's clock: a migration that is deleted and made again must not come
        to the epochs of its namesake, whose workers may still live."""
        first = int(self._session.now().timestamp() * 1_000_000)
        with self._session.transaction():
            self._session.execute(self._dialect.claim(self._own("progress"), self._text(self._migration), first))
            epoch = self._newest()
            self.fence(epoch)
        if self._session.guard() and self._newest() < epoch:
            raise self._ended()  # a commit of nothing: the epoch is still somebody else's
        return epoch

    def _newest(self) -> int:
        """0 before the first claim."""
        return int(self._session.query(f"SELECT MAX(epoch) FROM {self._own('progress')} WHERE {self._mine}")[0][0] or 0)  # noqa: S608

    def state(self) -> LoadState:
        rows = self._select("progress", "epoch, operation, position, data_complete, snapshots")
        if not rows:
            return LoadState(0, "", None, False, 0)
        epoch, operation, position, complete, snapshots = max(rows)
        layouts = {
            TableName(schema, name): (str(fingerprint), bool(finished))
            for schema, name, fingerprint, finished in self._select(
                "tables", "source_schema, source_table, fingerprint, finished"
            )
        }
        return LoadState(
            epoch=int(epoch),
            operation=operation or "",
            position=Position.from_json(position) if position else None,
            data_complete=bool(complete),
            snapshots=int(snapshots),
            tables=self._loads(layouts),
            layouts={name: fingerprint for name, (fingerprint, _) in layouts.items()},
        )

    def _loads(self, layouts: dict[TableName, tuple[str, bool]]) -> dict[TableName, TableLoad]:
        chunks: dict[TableName, list[Chunk]] = {}
        loaded: dict[TableName, dict[int, int]] = {}
        columns = "source_schema, source_table, number, bounds, planned_rows, planned_bytes"
        for schema, name, number, bounds, rows, size in sorted(self._select("chunks", columns)):
            table = TableName(schema, name)
            chunks.setdefault(table, []).append(Chunk(table, int(number), json.loads(bounds), int(rows), int(size)))
        for schema, name, number, rows in self._select("loaded", "source_schema, source_table, number, loaded_rows"):
            loaded.setdefault(TableName(schema, name), {})[int(number)] = int(rows)
        return {
            name: TableLoad(fingerprint, tuple(chunks[name]), loaded.get(name, {}), finished)
            for name, (fingerprint, finished) in layouts.items()
            if name in chunks  # of a replication without a load there are only layouts
        }

    def clear(self, epoch: int, operation: str) -> None:
        with self._fenced(epoch):
            self._begin(operation, None)

    def restart(self, epoch: int, operation: str, position: Position, tables: Sequence[Table]) -> None:
        with self._fenced(epoch):
            self._begin(operation, position)
            self._save_layouts(tables)

    def _begin(self, operation: str, position: Position | None) -> None:
        for name in ("tables", "chunks", "loaded"):
            self._session.execute(f"DELETE FROM {self._own(name)} WHERE {self._mine}")  # noqa: S608
        self._set(
            f"operation = {self._text(operation)}, position = {self._position(position)}, data_complete = FALSE, "
            "snapshots = 0"
        )

    def forget(self, epoch: int, tables: Sequence[TableName]) -> None:
        with self._fenced(epoch):
            for name in ("tables", "chunks", "loaded"):
                self._delete(name, tables)

    def remove(self) -> None:
        with self._session.transaction():
            for name in ("owned", "loaded", "chunks", "tables", "progress"):
                self._session.execute(f"DELETE FROM {self._own(name)} WHERE {self._mine}")  # noqa: S608

    def save_plan(self, epoch: int, table: Table, chunks: Sequence[Chunk]) -> None:
        with self._fenced(epoch):
            for name in ("tables", "chunks", "loaded"):
                self._delete(name, [table.name])
            self._insert("tables", [(*self._of(table.name), self._text(table.fingerprint), "FALSE")])
            rows = [
                (*self._of(table.name), str(c.number), self._text(json.dumps(c.bounds)), str(c.rows), str(c.bytes))
                for c in chunks
            ]
            self._insert("chunks", rows)

    def save_layouts(self, epoch: int, tables: Sequence[Table]) -> None:
        with self._fenced(epoch):
            self._save_layouts(tables)

    def _save_layouts(self, tables: Sequence[Table]) -> None:
        """Whether its keys are built is kept of a table that is there already."""
        columns = "source_schema, source_table, finished"
        finished = {TableName(s, n) for s, n, done in self._select("tables", columns) if done}
        self._delete("tables", [t.name for t in tables])
        rows = [
            (*self._of(t.name), self._text(t.fingerprint), "TRUE" if t.name in finished else "FALSE") for t in tables
        ]
        self._insert("tables", rows)

    def own(self, tables: Sequence[TableName]) -> None:
        with self._session.transaction():
            new = [t for t in dict.fromkeys(tables) if t not in self.owned()]
            self._insert("owned", [self._of(t) for t in new])

    def owned(self) -> frozenset[TableName]:
        return frozenset(TableName(*row) for row in self._select("owned", "target_schema, target_table"))

    def disown(self, tables: Sequence[TableName]) -> None:
        if tables:
            with self._session.transaction():
                self._delete("owned", tables, "target")

    def snapshot_opened(self, epoch: int, position: Position, *, keep_older: bool) -> None:
        with self._fenced(epoch):
            new = self._position(position if position.text else None)
            kept = f"COALESCE(position, {new})" if keep_older else new
            self._set(f"snapshots = snapshots + 1, position = {kept}")

    def table_finished(self, epoch: int, table: TableName) -> None:
        with self._fenced(epoch):
            self._session.execute(
                f"UPDATE {self._own('tables')} SET finished = TRUE WHERE {self._mine} AND {self._is(table)}"  # noqa: S608
            )

    def data_complete(self, epoch: int) -> None:
        with self._fenced(epoch):
            self._set("data_complete = TRUE")

    def position(self) -> Position | None:
        rows = self._select("progress", "epoch, position")
        found = max(rows, key=lambda row: int(row[0]))[1] if rows else None
        return Position.from_json(found) if found else None

    def set_position(self, epoch: int, position: Position) -> None:
        with self._session.transaction():
            self.store_position(epoch, position)

    def close(self) -> None:
        self._session.close()

    # --- inside the transactions of loader and applier ----------------------------------------------------------------

    def fence(self, epoch: int) -> None:
        """Raise Fenced unless ``epoch`` still owns the migration, and keep it so until the transaction ends."""
        self._require(epoch, "epoch = epoch")

    def fence_chunk(self, epoch: int, chunk: Chunk) -> None:
        """The same in a transaction that loads a chunk."""
        self.fence(epoch)

    def store_position(self, epoch: int, position: Position) -> None:
        """``fence``, and the position."""
        self._require(epoch, f"position = {self._position(position)}")

    def lock(self) -> None:
        """Keep every other transaction that would end with the fence from ending. Waits for those that are at it as
        long as the session would: raises TargetInterrupted."""
        self._set(f"epoch = epoch{self._touched}")

    def recorded(self, chunk: Chunk) -> int | None:
        """The rows of a chunk that is loaded already. Raises LoaderFailed for one that is not in the plan."""
        where = f"{self._mine} AND {self._is(chunk.table)} AND number = {chunk.number}"
        done = self._session.query(f"SELECT loaded_rows FROM {self._own('loaded')} WHERE {where}")  # noqa: S608
        if done:
            return int(done[0][0])
        if not self._session.query(f"SELECT number FROM {self._own('chunks')} WHERE {where}"):  # noqa: S608
            raise LoaderFailed(f"{chunk.table}: chunk {chunk.number} is not in the plan that the target keeps")
        return None

    def record(self, chunk: Chunk, rows: int) -> None:
        values = ", ".join((*self._of(chunk.table), str(chunk.number), str(rows)))
        guard = self._session.guard()
        where = f"{self._dialect.no_table} WHERE {guard}" if guard else ""
        if self._session.execute(f"INSERT INTO {self._own('loaded')} SELECT {values}{where}") != 1:
            raise self._ended()

    @contextmanager
    def told_apart(self) -> Iterator[None]:
        """What is found wrong inside the block counts only if the transaction is still open: of one that was ended
        from outside the staged rows are gone. Raises TargetInterrupted then."""
        try:
            yield
        except WhimbrelError as e:
            if not e.retryable:
                self.require_open()
            raise

    def require_open(self) -> None:
        """Raise TargetInterrupted unless the transaction in hand is the one that was begun, if one was."""
        guard = self._session.guard() if self._session.in_transaction else ""
        if guard and not self._session.query(f"SELECT 1{self._dialect.no_table} WHERE {guard}"):
            raise self._ended()

    def require_first(self, chunk: Chunk) -> None:
        """Behind the fence: raise TargetInterrupted where an attempt whose answer was lost has come in since it was
        asked what is recorded. Before the fence it might come in yet."""
        where = f"{self._mine} AND {self._is(chunk.table)} AND number = {chunk.number}"
        if int(self._session.query(f"SELECT COUNT(*) FROM {self._own('loaded')} WHERE {where}")[0][0]) != 1:  # noqa: S608
            raise TargetInterrupted(f"{chunk.table}: chunk {chunk.number} has come in by an attempt that was given up")

    def require_recorded(self, chunk: Chunk) -> None:
        """After a commit: raise TargetInterrupted if it kept nothing."""
        if self._session.guard() and self.recorded(chunk) is None:
            raise self._ended()

    def require_stored(self, position: Position) -> None:
        """After a commit: raise TargetInterrupted if it kept nothing."""
        if self._session.guard() and self.position() != position:
            raise self._ended()

    def forget_loaded(self, table: TableName) -> None:
        """What was loaded of a table that is emptied in the same transaction."""
        self._delete("loaded", [table])
        self._session.execute(
            f"UPDATE {self._own('tables')} SET finished = FALSE WHERE {self._mine} AND {self._is(table)}"  # noqa: S608
        )

    # --- SQL ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _fenced(self, epoch: int) -> Iterator[None]:
        with self._session.transaction():
            yield
            self.fence(epoch)

    def _require(self, epoch: int, assignment: str) -> None:
        where = f"{self._mine} AND epoch = {int(epoch)}"
        guard = self._session.guard()
        guarded = f"{where} AND {guard}" if guard else where
        sets = f"{assignment}{self._touched}"
        if self._session.execute(f"UPDATE {self._own('progress')} SET {sets} WHERE {guarded}") != 1:  # noqa: S608
            self.require_open()
            raise self._fenced_off(epoch)

    def _fenced_off(self, epoch: int) -> Fenced:
        return Fenced(
            f"another worker has taken over the migration {self._migration}: epoch {epoch} is not its own any more",
            migration=self._migration,
            epoch=epoch,
        )

    @property
    def _touched(self) -> str:
        """What makes an UPDATE of the progress count its row, and lock it, whatever else it sets."""
        return f", {self._dialect.touched}" if self._dialect.touched else ""

    def _ended(self) -> TargetInterrupted:
        return TargetInterrupted(f"{self._dialect.title} has ended a transaction of {self._migration} before its time")

    def _set(self, assignments: str) -> None:
        self._session.execute(f"UPDATE {self._own('progress')} SET {assignments} WHERE {self._mine}")  # noqa: S608

    def _select(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        return self._session.query(f"SELECT {columns} FROM {self._own(table)} WHERE {self._mine}")  # noqa: S608

    def _insert(self, table: str, rows: Sequence[Sequence[str]]) -> None:
        """Rows of rendered values."""
        for values in parted(f"({', '.join(row)})" for row in rows):
            self._session.execute(f"INSERT INTO {self._own(table)} VALUES {values}")  # noqa: S608

    def _delete(self, table: str, names: Sequence[TableName], side: str = "source") -> None:
        for at in range(0, len(names), _ROWS_A_STATEMENT):
            which = " OR ".join(f"({self._is(n, side)})" for n in names[at : at + _ROWS_A_STATEMENT])
            self._session.execute(f"DELETE FROM {self._own(table)} WHERE {self._mine} AND ({which})")  # noqa: S608

    def _is(self, name: TableName, side: str = "source") -> str:
        return f"{side}_schema = {self._text(name.schema)} AND {side}_table = {self._text(name.table)}"

    def _of(self, name: TableName) -> tuple[str, str, str]:
        return self._text(self._migration), self._text(name.schema), self._text(name.table)

    def _position(self, position: Position | None) -> str:
        return self._text(position.to_json()) if position else "NULL"

    def _own(self, name: str) -> str:
        return self._dialect.own(name)

    def _text(self, text: str) -> str:
        return self._dialect.literal(text)


def parted(rows: Iterable[str]) -> Iterator[str]:
    """Rendered rows as lists for one statement each."""
    part: list[str] = []
    size = 0
    for row in rows:
        if part and (len(part) >= _ROWS_A_STATEMENT or size + len(row) > _CHARACTERS_A_STATEMENT):
            yield ", ".join(part)
            part, size = [], 0
        part.append(row)
        size += len(row)
    if part:
        yield ", ".join(part)
