"""What a session asks, done in PostgreSQL: transactions, statements, and what the database looked like at an SCN.

An SCN is a place in PostgreSQL's log. The stand-in commits for everybody, so that between two commits it can say where
the log stands and keep PostgreSQL's own snapshot of that moment, which ``AS OF SCN`` then reads.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg
from psycopg import pq
from psycopg.types.string import TextLoader

from tests.emulators.oracle import ddl
from tests.emulators.oracle.definitions import Definitions
from tests.emulators.oracle.faults import Faults
from tests.emulators.oracle.sql import Refused, Translated, translate
from tests.emulators.oracle.tokens import literal, quoted, tokens, word
from tests.emulators.oracle.types import Type, of_result

HERE: Final = Path(__file__).parent
SNAPSHOTS: Final = 12  # moments that are kept, the undo of the stand-in
_CODES: Final = {
    "23505": 1, "42P01": 942, "3F000": 942, "42501": 942, "42703": 904, "23502": 1400, "23503": 2291, "23514": 2290,
    "42P07": 955, "22001": 12899, "22003": 1438, "40P01": 60, "42601": 900, "22P02": 1722, "57014": 1013,
    "OR410": 1410, "55P03": 54, "42883": 904, "42804": 932,
}  # fmt: skip
_TEXTS: Final = {942: "table or view does not exist", 904: "invalid identifier", 1: "unique constraint violated"}


_MADE: Final = re.compile(r'CREATE (?:OR REPLACE )?(TABLE|SEQUENCE|VIEW) ("[^"]+")\.("[^"]+")')


@dataclass
class Column:
    name: str
    type: Type
    nullable: bool = True


@dataclass
class Result:
    """``columns`` is None for what gives no rows; ``rows`` then is how many were changed."""

    columns: list[Column] | None = None
    values: Iterator[tuple[Any, ...]] = field(default_factory=lambda: iter(()))
    rows: int = 0


class Database:
    """The whole stand-in: its PostgreSQL, and what its sessions share."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.faults = Faults()
        self.numbers = itertools.count(101)
        self.sessions: dict[int, Killable] = {}
        self._commits = threading.RLock()
        self._kept: OrderedDict[int, psycopg.Connection[Any]] = OrderedDict()
        self._tokens: dict[int, str] = {}
        with psycopg.connect(dsn, autocommit=True) as connection:
            made = connection.execute("select 1 from pg_namespace where nspname = 'SYS'").fetchone()
            if made is None:
                for name in ("functions.sql", "catalogue.sql"):
                    connection.execute((HERE / name).read_text().encode())
            connection.execute('delete from "SYS".sessions')

    @contextmanager
    def committing(self) -> Iterator[None]:
        with self._commits:
            yield

    def scn(self) -> int:
        """Where the log stands, with a snapshot of this moment kept."""
        with self._commits:
            connection = psycopg.connect(self.dsn)
            connection.execute("begin isolation level repeatable read, read only")
            found = connection.execute("select pg_current_wal_insert_lsn() - '0/0', pg_export_snapshot()").fetchone()
            assert found is not None
            scn = int(found[0])
            if scn in self._kept:
                connection.close()
                self._kept.move_to_end(scn)
            else:
                self._kept[scn], self._tokens[scn] = connection, found[1]
            while len(self._kept) > SNAPSHOTS:
                self._forget(next(iter(self._kept)))
            return scn

    def _forget(self, scn: int) -> None:
        self._tokens.pop(scn)
        self._kept.pop(scn).close()

    def forget_all(self) -> None:
        """As when undo is overwritten."""
        with self._commits:
            for scn in list(self._kept):
                self._forget(scn)

    def token(self, scn: int) -> str:
        with self._commits:
            if scn not in self._tokens:
                raise Refused(1555, 'snapshot too old: rollback segment number  with name "" too small')
            self._kept.move_to_end(scn)
            return self._tokens[scn]


class Killable(Protocol):
    def kill(self) -> None: ...


class Session:
    """One connection's work. Not thread-safe; ``cancel`` may be called from elsewhere."""

    def __init__(self, database: Database, user: str, program: str) -> None:
        self.database, self.user, self.program = database, user, program
        self.number = next(database.numbers)
        self.serial = self.number * 7
        self.changed = False
        self.schema = user
        self._past: tuple[int, psycopg.Connection[Any]] | None = None
        self._main = self._connect()
        self.definitions = Definitions(self)
        backend = self._main.info.backend_pid
        with self.as_owner():
            self._main.execute(
                'insert into "SYS".sessions values (%s, %s, %s, %s, %s, null, null, %s)',
                [self.number, self.serial, user, program, program, backend],
            )
        self._main.commit()

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self.database.dsn)
        for name in ("timestamp", "timestamptz", "date", "numeric", "interval", "int2", "int4", "int8", "bool", "tid"):
            connection.adapters.register_loader(name, TextLoader)
        self.set_up(connection)
        connection.commit()
        return connection

    def set_up(self, connection: psycopg.Connection[Any]) -> None:
        for sql in (
            "set timezone to 'UTC'",
            "set datestyle to 'ISO, YMD'",
            "set intervalstyle to 'iso_8601'",
            f"set stand.me to {literal(self.user)}",
            f"set stand.sid to '{self.number}'",
            f'set search_path to {quoted(self.schema)}, "SYS", pg_catalog',
            f"set role {quoted(self.user)}",
        ):
            connection.execute(sql.encode())

    @contextmanager
    def as_owner(self) -> Iterator[psycopg.Connection[Any]]:
        """The right to write down what is noted beside PostgreSQL's own catalogue."""
        self._main.execute("reset role")
        try:
            yield self._main
        finally:
            if self._main.info.transaction_status != pq.TransactionStatus.INERROR:
                self._main.execute(f"set role {quoted(self.user)}".encode())

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._main.rollback()
            with self.as_owner() as owner:
                owner.execute('delete from "SYS".sessions where sid = %s', [self.number])
            self._main.commit()
        self._main.close()
        if self._past is not None:
            self._past[1].close()

    def cancel(self) -> None:
        with suppress(psycopg.Error):
            self._main.cancel()
        if self._past is not None:
            with suppress(psycopg.Error):
                self._past[1].cancel()

    def describe_self(self, **attributes: str) -> None:
        """What V$SESSION shows of module, action and client identifier."""
        with self.as_owner() as owner:
            for name, value in attributes.items():
                owner.execute(f'update "SYS".sessions set {name} = %s where sid = %s', [value, self.number])
        if not self.changed:
            self._main.commit()

    def commit(self) -> None:
        with self.database.committing():
            self._main.commit()
        self.changed = False

    def rollback(self) -> None:
        self._main.rollback()
        self.changed = False

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query of PostgreSQL's."""
        return self._main.execute(sql.encode()).fetchall()

    def analyze(self, owner: str, table: str) -> None:
        if self.changed:
            self.commit()
        with self.as_owner() as connection:
            connection.execute(f"analyze {quoted(owner)}.{quoted(table)}".encode())
        self._main.commit()

    def note(self, sql: str) -> None:
        """Write something into the stand-in's own tables."""
        with self.as_owner() as connection:
            connection.execute(sql.encode())
        self.commit()

    def find(self, number: int) -> Killable | None:
        return self.database.sessions.get(number)

    # --- statements ---------------------------------------------------------------------------------------------------

    def execute(self, sql: str, rows: Sequence[Sequence[Any]], *, commit: bool) -> Result:
        """Run a statement once for each row of binds. Raises Refused."""
        try:
            result = self._execute(sql, rows)
        except psycopg.Error as e:
            raise self._mapped(e) from None
        if commit and result.columns is None:
            self.commit()
        return result

    def _execute(self, sql: str, rows: Sequence[Sequence[Any]]) -> Result:
        parts = tokens(sql)
        head = word(parts[0]) if parts else ""
        if head == "STAND":
            self.database.faults.order(parts[1][1:-1].replace("''", "'"), self.database)
            return Result()
        if head in ("SELECT", "WITH"):
            return self._query(translate(sql), rows[0])
        if head in ("INSERT", "UPDATE", "DELETE", "MERGE"):
            return self._change(translate(sql), rows)
        if head in ("BEGIN", "DECLARE"):
            return self.definitions.block(sql, rows[0])
        if head == "COMMIT":
            self.commit()
            return Result()
        if head == "ROLLBACK":
            self.rollback()
            return Result()
        if head == "SET":
            return Result()
        if head == "ALTER" and word(parts[1]) == "SESSION":
            self._alter_session(parts)
            return Result()
        if self.changed:
            self.commit()  # as a definition does, before and after itself
        try:
            made = self.definitions.read(sql, parts)
            self._run(made)
        except BaseException:
            self._main.rollback()
            with suppress(psycopg.Error):
                self.set_up(self._main)
            raise
        self.commit()
        return Result()

    def _run(self, made: ddl.Made) -> None:
        for sql in made.sql:
            self._main.execute(sql.encode())
            found = _MADE.match(sql)
            if found and found[2] != quoted(self.user) and not found[2].startswith('"SYS"'):
                self._main.execute(f"ALTER {found[1]} {found[2]}.{found[3]} OWNER TO {found[2]}".encode())
        if made.notes:
            with self.as_owner() as owner:
                for sql in made.notes:
                    owner.execute(sql.encode())

    def _alter_session(self, parts: Sequence[str]) -> None:
        setting = word(parts[3])
        if setting == "CURRENT_SCHEMA":
            self.schema = parts[5].strip('"') if parts[5].startswith('"') else parts[5].upper()
            self._main.execute(f'set search_path to {quoted(self.schema)}, "SYS", pg_catalog'.encode())
        elif not (setting.startswith("NLS_") or setting in ("TIME_ZONE", "ISOLATION_LEVEL", "DDL_LOCK_TIMEOUT")):
            raise Refused(2248, f"invalid option for ALTER SESSION: {setting}")

    def _query(self, found: Translated, binds: Sequence[Any]) -> Result:
        wants_scn = any(t.upper() in ("V$DATABASE", "DUAL") for _, t in found.tables)
        given = list(binds)
        if found.scn is not None:
            at = found.scn if isinstance(found.scn, int) else int(given[int(found.scn[1:]) - 1])
            self._require_flashback(found)
            connection = self._as_of(at)
        else:
            connection = self._main
            if wants_scn and ("SCN" in found.sql.upper()):
                connection.execute(f"set stand.scn to '{self.database.scn()}'".encode())
        cursor = psycopg.RawCursor(connection)
        sql, given = _renumbered(found.sql, given)
        cursor.execute(sql.encode(), given)
        columns = self._described(cursor)
        values = iter(cursor.fetchall())
        if not self.changed and connection is self._main:
            connection.commit()  # a reader holds nothing
        return Result(columns, values)

    def _require_flashback(self, found: Translated) -> None:
        """FLASHBACK on somebody else's tables ("SQL Language Reference", SELECT, prerequisites)."""
        for owner, name in found.tables:
            if owner in ("", self.user) or self.user == "SYSTEM":
                continue
            row = self._main.execute(
                "select has_object(%s, %s, 'FLASHBACK') or has_system('FLASHBACK ANY TABLE') or is_dba()", [owner, name]
            ).fetchone()
            if row is None or str(row[0]) not in ("t", "True"):
                raise Refused(1031, "insufficient privileges")

    def _as_of(self, scn: int) -> psycopg.Connection[Any]:
        token = self.database.token(scn)
        if self._past is not None and self._past[0] == scn:
            return self._past[1]
        if self._past is not None:
            self._past[1].close()
        connection = self._connect()
        connection.execute("begin isolation level repeatable read, read only")
        connection.execute(f"set transaction snapshot {literal(token)}".encode())
        self._past = (scn, connection)
        return connection

    def _change(self, found: Translated, rows: Sequence[Sequence[Any]]) -> Result:
        cursor = psycopg.RawCursor(self._main)
        self._main.execute("savepoint statement")
        changed = 0
        try:
            for place, binds in enumerate(rows):
                try:
                    sql, given = _renumbered(found.sql, list(binds))
                    cursor.execute(sql.encode(), given)
                except psycopg.Error as e:
                    e.place = place  # type: ignore[attr-defined]
                    raise
                changed += cursor.rowcount
        except psycopg.Error:
            self._main.execute("rollback to savepoint statement")
            raise
        self._main.execute("release savepoint statement")
        self.changed = True
        return Result(rows=changed)

    def _described(self, cursor: Any) -> list[Column]:
        result = cursor.pgresult
        columns = []
        for place, described in enumerate(cursor.description):
            table, number = result.ftable(place), result.ftablecol(place)
            type = self._declared(table, number) if table and number > 0 else None
            if described.name == "ROWID":
                type = Type("ROWID", "text", 11, 10)
            columns.append(Column(described.name, type or of_result(result.ftype(place), result.fmod(place))))
        return columns

    def _declared(self, table: int, number: int) -> Type | None:
        return self.definitions.declared(self._main, table, number)

    def _mapped(self, error: psycopg.Error) -> Refused:
        if self._main.info.transaction_status == pq.TransactionStatus.INERROR:
            self._main.rollback()
        if self._past is not None and self._past[1].info.transaction_status != pq.TransactionStatus.INTRANS:
            self._past[1].close()
            self._past = None
        code = _CODES.get(error.sqlstate or "", 600)
        return Refused(code, _TEXTS.get(code, "") or str(error).splitlines()[0])


_PLACE: Final = re.compile(r"\$(\d+)\b")


def _renumbered(sql: str, binds: list[Any]) -> tuple[str, list[Any]]:
    """Without binds that the statement does not have any more, as that of the SCN."""
    used = sorted({int(n) for n in _PLACE.findall(sql)})
    places = {number: place for place, number in enumerate(used, 1)}
    return _PLACE.sub(lambda m: f"${places[int(m[1])]}", sql), [binds[n - 1] for n in used]
