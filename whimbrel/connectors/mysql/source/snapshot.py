"""One consistent view over several sessions, and the rows of it as finished lines.

The view is made by freezing writes for the moment in which the sessions open their transactions: with a global read
lock, else with read locks on the tables. Where an account may do neither, tables with a key are read without a lock if
changes are replayed from before the first session opened, because replaying them converges.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pymysql
from pymysql.constants import COMMAND

from whimbrel.codecs.rowpackets import BinaryPackets, Damaged, LinePackets, Packets, ValuePackets
from whimbrel.connectors.mysql import particulars, rowtext
from whimbrel.connectors.mysql.connection import (
    Session,
    connect,
    execute,
    mapped,
    qualified,
    query,
    quote_identifier,
)
from whimbrel.connectors.mysql.locks import bound_waits
from whimbrel.connectors.mysql.refusals import number_and_text, server_refusal
from whimbrel.connectors.mysql.server import server_identity
from whimbrel.connectors.mysql.source import log
from whimbrel.connectors.mysql.source.bounds import condition, index_of
from whimbrel.connectors.mysql.source.freeze import freeze, thaw
from whimbrel.connectors.mysql.source.statement import prepare
from whimbrel.connectors.protocols import Buffer
from whimbrel.errors import ExtractorFailed, LogDisabled, SourceInterrupted, SourcePermissionDenied
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Job
from whimbrel.model.position import Position
from whimbrel.model.table import Column, Table

_LOG = logging.getLogger(__name__)
OUT_BYTES = 256 * 1024
IN_BYTES = 1 << 20
_TRANSACTIONAL = frozenset({"", "innodb", "rocksdb", "tokudb"})


@dataclass(frozen=True)
class Token:
    """Lets a reader open inside the view. ``lock`` is held by session ``holder`` as long as the source is frozen."""

    lock: str
    holder: int


class MySQLSnapshot:
    """See ``protocols.Snapshot``. ``notes`` says what the account could not do. Readers hold the view themselves."""

    def __init__(self, session: Session, position: Position, token: Token, lanes: int, notes: tuple[str, ...]) -> None:
        self.position = position
        self.token = token
        self.notes = notes
        self._session = session
        self._waiting = lanes
        self._frozen = True

    def lane_opened(self) -> None:
        self._waiting -= 1
        if self._waiting == 0:
            self.release()

    def release(self) -> None:
        if not self._frozen:
            return
        with mapped("source"):
            thaw(self._session)
            execute(self._session, "SELECT RELEASE_LOCK(%s)", (self.token.lock,))
        self._frozen = False

    def keepalive(self) -> None:
        try:
            self._session.ping(reconnect=False)
        except pymysql.MySQLError as e:
            raise SourceInterrupted(f"the session that opened the snapshot is gone: {number_and_text(e)[1]}") from e

    def close(self) -> None:
        self._session.close()


def open_snapshot(job: Job, tables: Sequence[Table], *, capture: bool, lanes: int) -> MySQLSnapshot:
    """Freeze the source and read its position; it thaws with ``release`` or when all ``lanes`` have opened.

    Raises SourceInterrupted when the lock is not had soon (see ``freeze``), SourcePermissionDenied when the account may
    not lock and the tables cannot do without.
    """
    session = connect(job.source.parameters, job.operation)
    try:
        _require_transactional(tables, capture=capture)
        needed = not _converges(tables, capture=capture, lanes=lanes)
        notes = freeze(session, job.source.parameters, job.operation, tables, needed=needed)
        for note in notes:
            _LOG.warning(note)
        position = _position(session, capture=capture)
        holder = int(session.thread_id())  # type: ignore[no-untyped-call]
        token = Token(f"whimbrel-frozen:{holder}", holder)
        with mapped("source"):
            execute(session, "SELECT GET_LOCK(%s, 0)", (token.lock,))
        return MySQLSnapshot(session, position, token, lanes, notes)
    except BaseException:
        session.close()
        raise


def _converges(tables: Sequence[Table], *, capture: bool, lanes: int) -> bool:
    """Whether the rows come out right without a lock."""
    return all(t.key for t in tables) if capture else lanes <= 1


def without_transactions(tables: Sequence[Table]) -> list[Table]:
    """Those whose engine shows rows as they are now, in no snapshot."""
    return [t for t in tables if particulars.of(t).engine.lower() not in _TRANSACTIONAL]


def _require_transactional(tables: Sequence[Table], *, capture: bool) -> None:
    """Other engines show rows as they are now: that only converges by replaying changes onto a key."""
    loose = without_transactions(tables)
    refused = [str(t.name) for t in loose if capture and not t.key]
    if refused:
        raise ExtractorFailed(
            f"{', '.join(refused)}: no transactions and no key, so rows and changes cannot be told apart",
            remedy="ALTER TABLE ... ENGINE=InnoDB on the source, or add a primary key.",
            tables=refused,
        )
    for table in loose:
        _LOG.warning("%s: its engine has no snapshots; rows are read as they are at that moment", table.name)


def _position(session: Session, *, capture: bool) -> Position:
    """Where the log stands. A plain data load does without a log, and without the right to see it."""
    try:
        return log.current_position(session, gtids=True)
    except (LogDisabled, SourcePermissionDenied):
        if capture:
            raise
        return log.no_position(server_identity(session))


def open_reader(job: Job, token: Token) -> MySQLReader:
    """Open a session inside the view. Raises SourceInterrupted when the source is no longer frozen."""
    session = connect(job.source.parameters, job.operation, autocommit=True)
    try:
        with mapped("source"):
            # Behind an ALTER TABLE that waits for another reader of this load there is nothing to wait for.
            bound_waits(session)
            execute(session, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            execute(session, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            holder = query(session, "SELECT IS_USED_LOCK(%s)", (token.lock,))[0][0]
        if holder is None or int(holder) != token.holder:
            raise SourceInterrupted("the snapshot was released before this reader opened; a new one is needed")
        return MySQLReader(session)
    except BaseException:
        session.close()
        raise


class MySQLReader:
    """See ``protocols.SnapshotReader``. An error in ``extract`` ends the session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._buffer = bytearray(IN_BYTES)

    def extract(
        self, table: Table, columns: Sequence[Column], chunk: Chunk, format: Format, write: Callable[[Buffer], object]
    ) -> int:
        if format is Format.RESULT_SET:
            return self._binary(table, columns, chunk, write)
        if format not in (Format.TAB_TEXT, Format.COPY_TEXT):
            raise ExtractorFailed(f"{table.name}: MySQL writes no {format}")
        longest = rowtext.LONGEST_ESCAPED_BY_MARIADB if self._session.mariadb else None
        unreadable = rowtext.unreadable(table, columns)
        line = rowtext.line(columns, format, longest, unreadable)
        source, where = _from(table, chunk), condition(table, chunk.bounds)
        sql = f"SELECT {line} FROM {source}{f' WHERE {where}' if where else ''}"  # noqa: S608 - quoted in rowtext
        whole = self._lines(table, sql, LinePackets(), write)
        if not whole.nulls:
            return whole.rows
        # rows that are too long for one string or for the server's escapes; in the same view they are the same rows
        expressions, values = rowtext.separate(columns, format)
        rest = f"FROM {source} WHERE {f'({where}) AND ' if where else ''}{line} IS NULL"
        self._refuse_unreadable(table, unreadable, rest)
        sql = f"SELECT {', '.join(expressions)} {rest}"  # quoted in rowtext
        long = self._lines(table, sql, ValuePackets(values), write)
        if long.rows != whole.nulls:
            raise ExtractorFailed(f"{table.name}: {whole.nulls} rows were too long for one string, {long.rows} came")
        return whole.rows + long.rows

    def _refuse_unreadable(self, table: Table, unreadable: Mapping[str, str], rest: str) -> None:
        if not unreadable:
            return
        sums = ", ".join(f"SUM({condition})" for condition in unreadable.values())
        with mapped("source", str(table.name)):
            counts = zip(unreadable, query(self._session, f"SELECT {sums} {rest}")[0], strict=True)
        told = [f"column {name}: {int(count)}" for name, count in counts if count]
        if told:
            raise ExtractorFailed(
                f"{table.name}: texts with bytes that have no meaning in their character set, {', '.join(told)}",
                remedy="Correct these texts in the source, or make the column a VARBINARY or BLOB there.",
                table=str(table.name),
            )

    def _binary(self, table: Table, columns: Sequence[Column], chunk: Chunk, write: Callable[[Buffer], object]) -> int:
        """The rows as a prepared statement's answer has them: values that no server has formatted."""
        values, where = rowtext.bare(table, columns), condition(table, chunk.bounds)
        sql = f"SELECT {', '.join(values)} FROM {_from(table, chunk)}{f' WHERE {where}' if where else ''}"  # noqa: S608
        with mapped("source", str(table.name)):
            statement = prepare(self._session, sql)
        packets = self._answer(table, COMMAND.COM_STMT_EXECUTE, statement.execution, BinaryPackets(len(values)), write)
        statement.close()
        return packets.rows

    def _lines(self, table: Table, sql: str, packets: Packets, write: Callable[[Buffer], object]) -> Packets:
        return self._answer(table, COMMAND.COM_QUERY, sql, packets, write)

    def _answer(
        self, table: Table, command: int, what: str | bytes, packets: Packets, write: Callable[[Buffer], object]
    ) -> Packets:
        try:
            self._session._execute_command(command, what)
            self._session._sock.settimeout(None)
            self._receive(packets, write)
        except Damaged as e:
            self._end()
            raise SourceInterrupted(f"{table.name}: the source's answer does not decode: {e}") from e
        except (OSError, pymysql.MySQLError) as e:
            self._end()
            raise SourceInterrupted(f"{table.name}: the connection to the source broke: {e}") from e
        except BaseException:
            self._end()
            raise
        if packets.error is not None:
            error = pymysql.OperationalError(packets.error.number, packets.error.text)
            raise server_refusal(error, "source", str(table.name))
        return packets

    def _receive(self, packets: Packets, write: Callable[[Buffer], object]) -> None:
        """Socket to ``packets`` to ``write``, a block at a time; the buffer grows when one row is larger than it."""
        sock, filled, out = self._session._sock, 0, bytearray()
        while not packets.done:
            if len(self._buffer) == filled:
                self._buffer.extend(bytes(len(self._buffer)))
            count = sock.recv_into(memoryview(self._buffer)[filled:])
            if count == 0:
                raise OSError("closed by the server")
            filled += count
            lines, taken = packets.scan(self._buffer, filled)
            if taken:  # of a row larger than what comes at once nothing is moved until it is whole
                self._buffer[: filled - taken] = self._buffer[taken:filled]
                filled -= taken
            out += lines
            if len(out) >= OUT_BYTES:
                write(out)
                out = bytearray()
        if filled:
            raise Damaged("bytes came behind the last row")
        if out:
            write(out)

    def _end(self) -> None:
        with suppress(OSError, pymysql.MySQLError):
            self._session._force_close()

    def close(self) -> None:
        self._session.close()


def _from(table: Table, chunk: Chunk) -> str:
    name = qualified(table.name)
    return f"{name} FORCE INDEX ({quote_identifier(index_of(table))})" if chunk.bounds else name
