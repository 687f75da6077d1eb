"""Progress kept in a target where every statement is a transaction of its own, over one table.

All that is changed later stands in one row a migration, and each change of it is an UPDATE that must find the epoch it
was made for (and the version it was made from): compare and swap, which such an engine does well. What grows (planned
and loaded chunks, names of files that are to be loaded) is only added, under the id of a plan that the row names; what
the row names no more counts no more, and is removed when there is time.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from whimbrel.connectors.protocols import LoadState, TableLoad
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.per_table_state import ChunkFacts, Entry, Row, State
from whimbrel.connectors.sql.session import Session
from whimbrel.errors import Fenced, LoaderFailed, TargetInterrupted
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

_ROWS_A_STATEMENT: Final = 500
_ATTEMPTS: Final = 20  # to change a row that others change too
HOLD_SECONDS: Final = 120  # after which a hold that nobody released is over
_OF_PLANS: Final = ("chunks", "announced", "loaded")


class PerTableLedger:
    """See ``protocols.Ledger``. One session, for one thread."""

    def __init__(self, session: Session, dialect: SqlDialect, migration: str) -> None:
        self._session, self._dialect, self._migration = session, dialect, migration
        self._mine = f"migration = {dialect.literal(migration)}"

    def claim(self) -> int:
        """Who claims leaves a word of its own, by which it knows its epoch from that of somebody who comes right
        after. A row that is made new begins at the server's clock, as its namesake's workers may still live."""
        first, owner = int(self._session.now().timestamp() * 1_000_000), uuid.uuid4().hex
        self._session.execute(
            f"MERGE INTO {self._own('progress')} AS p USING (SELECT {self._text(self._migration)} AS m) AS q "  # noqa: S608
            f"ON p.migration = q.m WHEN MATCHED THEN UPDATE SET epoch = p.epoch + 1, owner = {self._text(owner)} "
            "WHEN NOT MATCHED THEN INSERT (migration, epoch, version, owner, state) "
            f"VALUES (q.m, {first}, 0, {self._text(owner)}, {self._text(State().to_json())})"
        )
        found = self._session.query(
            f"SELECT epoch FROM {self._own('progress')} WHERE {self._mine} AND owner = {self._text(owner)}"  # noqa: S608
        )
        if not found:
            raise self._fenced(0)
        epoch = int(found[0][0])
        self._empty(epoch)
        return epoch

    def row(self) -> Row | None:
        columns = "epoch, version, position, writing, state, held_until > CURRENT_TIMESTAMP(), holder"
        found = self._session.query(f"SELECT {columns} FROM {self._own('progress')} WHERE {self._mine}")  # noqa: S608
        if not found:
            return None
        epoch, version, position, writing, text, held, holder = max(found, key=lambda row: int(row[0]))
        state = State.from_json(text)
        place = _position(position), _position(writing)
        return Row(int(epoch), int(version), *place, state, text, bool(held), holder or "")

    def state(self) -> LoadState:
        row = self.row()
        if row is None:
            return LoadState(0, "", None, False, 0)
        return LoadState(
            epoch=row.epoch,
            operation=row.state.operation,
            position=row.position,
            data_complete=row.state.complete,
            snapshots=row.state.snapshots,
            tables=self._loads(row.state),
            layouts={name: entry.fingerprint for name, entry in row.state.tables.items()},
        )

    def _loads(self, state: State) -> dict[TableName, TableLoad]:
        tables = {entry.plan: name for name, entry in state.tables.items() if entry.plan}
        chunks: dict[TableName, dict[int, Chunk]] = {}  # by number, as a driver may send an INSERT twice
        loaded: dict[TableName, dict[int, int]] = {}
        for plan, number, bounds, rows, size in sorted(
            self._of_plans("chunks", "plan, number, bounds, planned_rows, planned_bytes", tables)
        ):
            name, n = tables[plan], int(number)
            chunks.setdefault(name, {})[n] = Chunk(name, n, json.loads(bounds), int(rows), int(size))
        for plan, number, rows in self._of_plans("loaded", "plan, number, loaded_rows", tables):
            loaded.setdefault(tables[plan], {})[int(number)] = int(rows)
        begun = {plan for (plan,) in self._of_plans("announced", "DISTINCT plan", tables)}
        return {
            name: TableLoad(
                entry.fingerprint,
                tuple(chunks[name].values()),
                loaded.get(name, {}),
                entry.finished,
                announced=entry.plan in begun,
            )
            for name, entry in state.tables.items()
            if name in chunks
        }

    def clear(self, epoch: int, operation: str) -> None:
        self._change(epoch, lambda state: State(operation), "position = NULL, writing = NULL")

    def restart(self, epoch: int, operation: str, position: Position, tables: Sequence[Table]) -> None:
        entries = {t.name: Entry(t.fingerprint) for t in tables}
        place = f"position = {self._position(position)}, writing = NULL"
        self._change(epoch, lambda state: State(operation, tables=entries), place)

    def forget(self, epoch: int, tables: Sequence[TableName]) -> None:
        gone = set(tables)
        self._change(epoch, lambda s: replace(s, tables={n: e for n, e in s.tables.items() if n not in gone}))

    def remove(self) -> None:
        """The row last but for what nobody looks for without it: whoever is cut on the way removes again."""
        row = self.row()
        self._session.execute(f"DELETE FROM {self._own('owned')} WHERE {self._mine}")  # noqa: S608
        self._session.execute(f"DELETE FROM {self._own('progress')} WHERE {self._mine}")  # noqa: S608
        if row is not None:
            self._drop_plans(entry.plan for entry in row.state.tables.values())

    def save_plan(self, epoch: int, table: Table, chunks: Sequence[Chunk]) -> None:
        plan = uuid.uuid4().hex
        rows = [
            (self._text(plan), str(c.number), self._text(json.dumps(c.bounds)), str(c.rows), str(c.bytes))
            for c in chunks
        ]
        self._insert("chunks", rows)
        self._change(epoch, lambda s: s.with_entries({table.name: Entry(table.fingerprint, plan=plan)}))

    def save_layouts(self, epoch: int, tables: Sequence[Table]) -> None:
        def changed(state: State) -> State:
            known = {t.name: state.tables.get(t.name, Entry("")) for t in tables}
            return state.with_entries({t.name: replace(known[t.name], fingerprint=t.fingerprint) for t in tables})

        self._change(epoch, changed)

    def own(self, tables: Sequence[TableName]) -> None:
        there = self.owned()
        self._insert("owned", [self._owner_of(t) for t in dict.fromkeys(tables) if t not in there])

    def owned(self) -> frozenset[TableName]:
        found = self._session.query(
            f"SELECT target_schema, target_table FROM {self._own('owned')} WHERE {self._mine}"  # noqa: S608
        )
        return frozenset(TableName(*row) for row in found)

    def disown(self, tables: Sequence[TableName]) -> None:
        for at in range(0, len(tables), _ROWS_A_STATEMENT):
            which = " OR ".join(
                f"(target_schema = {self._text(t.schema)} AND target_table = {self._text(t.table)})"
                for t in tables[at : at + _ROWS_A_STATEMENT]
            )
            self._session.execute(f"DELETE FROM {self._own('owned')} WHERE {self._mine} AND ({which})")  # noqa: S608

    def snapshot_opened(self, epoch: int, position: Position, *, keep_older: bool) -> None:
        new = self._position(position if position.text else None)
        place = f"COALESCE(position, {new})" if keep_older else new
        self._change(epoch, lambda s: replace(s, snapshots=s.snapshots + 1), f"position = {place}")

    def table_finished(self, epoch: int, table: TableName) -> None:
        def changed(state: State) -> State:
            entry = state.tables.get(table)
            return state if entry is None else state.with_entries({table: replace(entry, finished=True)})

        self._change(epoch, changed)

    def data_complete(self, epoch: int) -> None:
        self._change(epoch, lambda state: replace(state, complete=True))

    def position(self) -> Position | None:
        row = self.row()
        return row.position if row else None

    def set_position(self, epoch: int, position: Position) -> None:
        if not self.store_position(epoch, position, held=True):
            raise self._fenced(epoch)

    def close(self) -> None:
        self._session.close()

    # --- what loader and applier stand on -----------------------------------------------------------------------------

    def fence(self, epoch: int) -> str:
        """A condition that holds as long as the epoch owns the migration, for statements on other tables. The engine
        reads it as it was when the statement began."""
        return f"EXISTS (SELECT 1 FROM {self._own('progress')} WHERE {self._mine} AND epoch = {int(epoch)})"  # noqa: S608

    def free(self, epoch: int) -> str:
        """The same, and no repair holds the target."""
        return self.fence(epoch)[:-1] + " AND (held_until IS NULL OR held_until <= CURRENT_TIMESTAMP()))"

    def holding(self, holder: str) -> str:
        """Holds for who holds the target."""
        return (
            f"EXISTS (SELECT 1 FROM {self._own('progress')} WHERE {self._mine} AND holder = {self._text(holder)} "  # noqa: S608
            "AND held_until > CURRENT_TIMESTAMP())"
        )

    def require(self, epoch: int) -> Row:
        """The row, if the epoch owns it. Raises Fenced."""
        row = self.row()
        if row is None or row.epoch != epoch:
            raise self._fenced(epoch)
        return row

    def require_free(self, epoch: int) -> Row:
        """The same once no repair holds the target, which is waited for."""
        deadline = time.monotonic() + HOLD_SECONDS + 10
        while (row := self.require(epoch)).held:
            if time.monotonic() > deadline:
                raise TargetInterrupted(f"a repair of {self._migration} does not let the target go")
            time.sleep(0.3)
        return row

    def store_position(self, epoch: int, position: Position, *, held: bool = False) -> bool:
        """Whether it was stored: it is not where the epoch is not the owner's, or (but for ``held``) a repair holds."""
        free = "" if held else " AND (held_until IS NULL OR held_until <= CURRENT_TIMESTAMP())"
        return self._update(f"position = {self._position(position)}", f"epoch = {int(epoch)}{free}")

    def note_writing(self, epoch: int, position: Position) -> None:
        """That changes up to there are about to be written, which might be written again after a kill: until the
        position has come there."""
        if not self._update(f"writing = {self._position(position)}", f"epoch = {int(epoch)}"):
            raise self._fenced(epoch)

    def hold(self, holder: str) -> None:
        """Keep appliers from writing until ``release``, or for HOLD_SECONDS. ``holder`` is never used again: its name
        stays, for who looks whether there was a hold. Raises TargetInterrupted when another one holds."""
        until = f"held_until = CURRENT_TIMESTAMP() + INTERVAL '{HOLD_SECONDS}' SECOND"
        free = "(held_until IS NULL OR held_until <= CURRENT_TIMESTAMP())"
        if self.row() is None:
            self.claim()
        if not self._update(f"holder = {self._text(holder)}, {until}", free):
            row = self.row()
            if row is None or not row.held or row.holder != holder:  # else it was sent twice, and found its own work
                raise TargetInterrupted("another repair holds the target's tables")

    def release(self, holder: str) -> None:
        self._update("held_until = NULL", f"holder = {self._text(holder)}")

    def facts(self, epoch: int, chunk: Chunk) -> ChunkFacts:
        """Raises Fenced, and LoaderFailed for a chunk that is not in the plan."""
        entry = self.require(epoch).state.tables.get(chunk.table)
        plan = entry.plan if entry else None
        where = f"plan = {self._text(plan or '')} AND number = {int(chunk.number)}"
        found = self._session.query(
            f"SELECT 0 AS fact, '' AS file, planned_rows AS n FROM {self._own('chunks')} WHERE {where} "  # noqa: S608
            f"UNION ALL SELECT 1, file, file_rows FROM {self._own('announced')} WHERE {where} "
            f"UNION ALL SELECT 2, '', loaded_rows FROM {self._own('loaded')} WHERE {where}"
        )
        of: dict[int, list[tuple[str, int]]] = {}
        for fact, file, rows in sorted((int(r[0]), str(r[1]), int(r[2])) for r in found):
            of.setdefault(fact, []).append((file, rows))
        if plan is None or 0 not in of:
            raise LoaderFailed(f"{chunk.table}: chunk {chunk.number} is not in the plan that the target keeps")
        loaded = of[2][0][1] if 2 in of else None
        return ChunkFacts(plan, loaded, *of[1][0]) if 1 in of else ChunkFacts(plan, loaded, None, 0)

    def announce(self, epoch: int, plan: str, chunk: Chunk, file: str, rows: int) -> None:
        """Before a file is loaded: whoever comes after takes the same name, under which it is loaded once."""
        self._add(epoch, "announced", f"{self._text(plan)}, {int(chunk.number)}, {self._text(file)}, {int(rows)}")

    def record(self, epoch: int, plan: str, chunk: Chunk, rows: int) -> None:
        self._add(epoch, "loaded", f"{self._text(plan)}, {int(chunk.number)}, {int(rows)}")

    def loaded_rows(self, plan: str) -> int:
        """Of all chunks of a plan that are recorded."""
        return sum(dict(self._of_plans("loaded", "number, loaded_rows", [plan])).values())

    def in_flight(self, table: TableName) -> list[str]:
        """The names of files that attempts to load the table have announced, of chunks that are not recorded."""
        row = self.row()
        entry = row.state.tables.get(table) if row else None
        plans = [entry.plan] if entry and entry.plan else []
        done = {int(number) for (number,) in self._of_plans("loaded", "number", plans)}
        found = self._of_plans("announced", "number, file", plans)
        return sorted({str(file) for number, file in found if int(number) not in done})

    def empty(self, epoch: int, table: TableName, target: TableName) -> None:
        """Take all rows out of the target table and forget what was loaded of it. What is cut between the two, the
        next claim brings to its end."""
        self._change(
            epoch,
            lambda s: s.with_entries({table: replace(s.tables.get(table, Entry("")), emptying=target)}),
        )
        self._empty(epoch)

    def _empty(self, epoch: int) -> None:
        for name, entry in self.require(epoch).state.tables.items():
            if entry.emptying is None:
                continue
            self._session.execute(
                f"DELETE FROM {self._dialect.qualified(entry.emptying)} WHERE {self.fence(epoch)}"  # noqa: S608
            )
            plan = uuid.uuid4().hex if entry.plan else None
            if entry.plan:
                self._session.execute(
                    f"INSERT INTO {self._own('chunks')} SELECT {self._text(plan or '')}, number, bounds, "  # noqa: S608
                    f"planned_rows, planned_bytes FROM {self._own('chunks')} WHERE plan = {self._text(entry.plan)}"
                )
            self._change(epoch, _emptied(name, plan))

    # --- SQL ----------------------------------------------------------------------------------------------------------

    def _change(self, epoch: int, change: Callable[[State], State], also: str = "") -> None:
        """Replace the state by one made of it. Raises Fenced."""
        for _ in range(_ATTEMPTS):
            row = self.require(epoch)
            state = change(row.state)
            text = state.to_json()
            sets = f"state = {self._text(text)}, version = version + 1" + (f", {also}" if also else "")
            done = self._update(sets, f"epoch = {int(epoch)} AND version = {row.version}")
            if not done:  # a driver that sends a statement again, after a broken link, finds its own work
                now = self.require(epoch)
                done = (now.version, now.text) == (row.version + 1, text)
            if done:
                kept = {entry.plan for entry in state.tables.values()}
                self._drop_plans(e.plan for e in row.state.tables.values() if e.plan not in kept)
                return
        raise TargetInterrupted(f"the progress of {self._migration} is changed by others all the time")

    def _update(self, assignments: str, condition: str) -> bool:
        sql = f"UPDATE {self._own('progress')} SET {assignments} WHERE {self._mine} AND {condition}"  # noqa: S608
        return self._session.execute(sql) == 1

    def _add(self, epoch: int, table: str, values: str) -> None:
        sql = (
            f"INSERT INTO {self._own(table)} SELECT {values} FROM {self._own('progress')} "  # noqa: S608
            f"WHERE {self._mine} AND epoch = {int(epoch)}"
        )
        if self._session.execute(sql) != 1:
            raise self._fenced(epoch)

    def _drop_plans(self, plans: Iterable[str | None]) -> None:
        gone = sorted({plan for plan in plans if plan})
        for at in range(0, len(gone), _ROWS_A_STATEMENT):
            listed = ", ".join(map(self._text, gone[at : at + _ROWS_A_STATEMENT]))
            for table in _OF_PLANS:
                self._session.execute(f"DELETE FROM {self._own(table)} WHERE plan IN ({listed})")  # noqa: S608

    def _of_plans(self, table: str, columns: str, plans: Iterable[str]) -> list[tuple[Any, ...]]:
        named = sorted(plans)
        found: list[tuple[Any, ...]] = []
        for at in range(0, len(named), _ROWS_A_STATEMENT):
            listed = ", ".join(map(self._text, named[at : at + _ROWS_A_STATEMENT]))
            found += self._session.query(f"SELECT {columns} FROM {self._own(table)} WHERE plan IN ({listed})")  # noqa: S608
        return found

    def _insert(self, table: str, rows: Sequence[Sequence[str]]) -> None:
        for at in range(0, len(rows), _ROWS_A_STATEMENT):
            values = ", ".join(f"({', '.join(row)})" for row in rows[at : at + _ROWS_A_STATEMENT])
            self._session.execute(f"INSERT INTO {self._own(table)} VALUES {values}")  # noqa: S608

    def _owner_of(self, name: TableName) -> tuple[str, str, str]:
        return self._text(self._migration), self._text(name.schema), self._text(name.table)

    def _fenced(self, epoch: int) -> Fenced:
        return Fenced(
            f"another worker has taken over the migration {self._migration}: epoch {epoch} is not its own any more"
        )

    def _position(self, position: Position | None) -> str:
        return self._text(position.to_json()) if position else "NULL"

    def _own(self, name: str) -> str:
        return self._dialect.own(name)

    def _text(self, text: str) -> str:
        return self._dialect.literal(text)


def _position(text: str | None) -> Position | None:
    return Position.from_json(text) if text else None


def _emptied(name: TableName, plan: str | None) -> Callable[[State], State]:
    def changed(state: State) -> State:
        entry = replace(state.tables[name], finished=False, plan=plan, emptying=None)
        if not entry.fingerprint:  # of a table that nothing was kept of
            return replace(state, tables={n: e for n, e in state.tables.items() if n != name})
        return state.with_entries({name: entry})

    return changed
