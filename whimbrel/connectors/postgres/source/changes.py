"""Reading the source's log: a replication session that streams pgoutput into change buffers."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing

import psycopg
import pyarrow as pa

from whimbrel.codecs.pgoutput import POSTGRES_EPOCH_US, Decoder, Layout, Relation
from whimbrel.connectors.postgres.connection import connect, mapped
from whimbrel.connectors.postgres.source.history import Origin, origin
from whimbrel.connectors.postgres.source.publication import capture_name, published
from whimbrel.connectors.postgres.source.schema import unqualified_names_off
from whimbrel.connectors.postgres.source.slots import (
    END_SECONDS,
    own_slot,
    position_at,
    release_slot,
    require_primary,
    require_same_timeline,
    server_identity,
    timeline,
)
from whimbrel.connectors.postgres.source.watch import Watch, oids_of
from whimbrel.connectors.postgres.wire import Connection, flush, readable, results, send
from whimbrel.connectors.protocols import ChangeSink
from whimbrel.errors import (
    LayoutChanged,
    LogDamaged,
    PositionForeign,
    PositionLost,
    SourceInterrupted,
    WhimbrelError,
)
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

FEEDBACK_SECONDS = 5.0  # how often the server hears of us without having asked
ASK_SECONDS = 0.5  # how often an idle server is asked how far it is: it tells by itself only every half minute
START_SECONDS = 30.0
# A server that is asked twice a second answers in between, but not while it decodes a huge transaction to a point.
SILENCE_SECONDS = 300.0

_DATA_HEADER = 25  # 'w', where the data starts, where the log ends, the server's clock
_DATA_START = struct.Struct(">Q").unpack_from
_KEEPALIVE = struct.Struct(">cQqB")  # 'k', where the log ends, the server's clock, whether it wants an answer
_STATUS = struct.Struct(">cQQQqB").pack
_COMMIT = ord("C")  # the message that ends a transaction: flags, where its record begins, where it ends
_TRUNCATE = ord("T")  # the message that lists truncated tables: their number, options, their oids
_COUNT = struct.Struct(">IB").unpack_from
_LOST_STATES = ("42704", "55000", "58P01")  # no such slot, invalidated slot, log file removed


class PostgresChanges:
    """One replication session and one that watches the catalog; see ``protocols.ChangeStream``. Not thread-safe."""

    def __init__(self, session: Connection, decoder: Decoder, origin: Origin, start: int, watch: Watch) -> None:
        self._session = session
        self._watch = watch
        self._link = session.pgconn
        self._decoder = decoder
        self._origin = origin
        self._received = self._reached = start
        self._confirmed = start
        self._told = 0.0
        self._silent = 0.0  # seconds that were spent waiting in vain since anything came

    def read(self, sink: ChangeSink, timeout: float, limit: int) -> bool:
        """Decode what has come, waiting for the first message only. True when there was any."""
        began = time.monotonic()
        deadline = began + timeout
        taken = 0
        with mapped("source"):
            while taken < limit:
                size, data = self._link.get_copy_data(1)
                if size > 0:
                    taken += size
                    self._message(bytes(data), sink)
                elif size < 0:
                    self._ended()
                elif not readable(self._link, 0 if taken else deadline - time.monotonic()):
                    break
                else:
                    self._link.consume_input()
            untold = time.monotonic() - self._told
            if not taken and untold > ASK_SECONDS:
                self._tell(ask=True)
            elif untold > FEEDBACK_SECONDS:
                self._tell()
        self._silent = 0.0 if taken else self._silent + time.monotonic() - began
        if self._silent > SILENCE_SECONDS:
            raise SourceInterrupted(f"the source has sent nothing of its log for {SILENCE_SECONDS:.0f} s")
        self._watch.look(self._reached)
        return taken > 0

    def notices(self) -> Sequence[str]:
        return self._watch.lines()

    def confirm(self, position: Position) -> None:
        """Let the server forget its log up to ``position``, which the target has committed."""
        self._confirmed = max(self._confirmed, position.order[0])
        with mapped("source"):
            self._tell()

    def close(self) -> None:
        """End the session. The server needs a moment to release the slot; ``open_changes`` waits for that."""
        self._session.close()
        self._watch.close()

    def _message(self, data: bytes, sink: ChangeSink) -> None:
        kind = data[0:1]
        if kind == b"w":
            self._reached = max(self._reached, _DATA_START(data, 1)[0])
            if data[_DATA_HEADER] == _COMMIT and len(data) >= _DATA_HEADER + 18:
                self._origin.told = _DATA_START(data, _DATA_HEADER + 10)[0]
            self._decoder.decode(data[_DATA_HEADER:], sink)
            if data[_DATA_HEADER] == _TRUNCATE:
                self._watch.truncated(_truncated(data))
        elif kind == b"k" and len(data) == _KEEPALIVE.size:
            _, end, _, reply = _KEEPALIVE.unpack(data)
            if not self._decoder.in_transaction:
                # All that the server had to send up to there has been sent, so an idle slot can move on.
                self._received = max(self._received, end)
                self._reached = max(self._reached, end)
                sink.advance(self._origin.at(end))
            if reply:
                self._tell()
        else:
            raise LogDamaged(f"replication stream: a message of type {kind!r} and {len(data)} bytes is not documented")

    def _tell(self, *, ask: bool = False) -> None:
        """Send a status update; only ``confirmed`` counts as flushed, which frees log. ``ask`` wants an answer."""
        now = time.time_ns() // 1000 - POSTGRES_EPOCH_US
        received = max(self._received, self._confirmed)
        self._link.put_copy_data(_STATUS(b"r", received, self._confirmed, self._confirmed, now, int(ask)))
        flush(self._link)
        self._told = time.monotonic()

    def _ended(self) -> None:
        try:
            results(self._link, END_SECONDS)
        except psycopg.Error as e:
            raise _lost_or(e) from e
        except TimeoutError:
            pass  # the same as an end without a reason
        raise SourceInterrupted("the source ended the replication stream")


def _truncated(data: bytes) -> tuple[int, ...]:
    """The oids in a message that the decoder has found to be whole."""
    count, _ = _COUNT(data, _DATA_HEADER + 1)
    return struct.unpack_from(f">{count}I", data, _DATA_HEADER + 1 + 5)


def open_changes(endpoint: Endpoint, job: Job, tables: Sequence[Table], start: Position) -> PostgresChanges:
    """Read the migration's slot from ``start`` on.

    Raises PositionForeign, PositionLost (no slot, an invalidated one, one that has moved past ``start``, or a table
    that was not published), LogDisabled (a standby), LayoutChanged (also for what was done to a table while nobody
    followed).
    """
    name = capture_name(job.migration)
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect(endpoint.parameters, job.operation)))
        require_primary(connection)
        server = server_identity(connection)
        start.require_same_server(position_at(server, start.order[0]))
        require_same_timeline(connection, start)
        require_reached(connection, start)
        confirmed = _require_slot(connection, name, start)
        _require_published(connection, name, tables)
        source = origin(connection, server, timeline(connection), name, confirmed, start)
        oids = oids_of(connection, tables)
        watch = Watch(connection, name, oids)
        layouts = Layouts(connection, tables, oids)
        session = stack.enter_context(closing(connect(endpoint.parameters, job.operation, replication=True)))
        _start(session, name, start)
        stack.pop_all()
    return PostgresChanges(session, Decoder(layouts.layout, source.at), source, start.order[0], watch)


def _start(session: Connection, name: str, start: Position) -> None:
    options = f"proto_version '1', publication_names '\"{name}\"'"
    try:
        send(session.pgconn, f"START_REPLICATION SLOT {name} LOGICAL {start.text} ({options})")
        results(session.pgconn, START_SECONDS)
    except TimeoutError as e:
        raise SourceInterrupted(f"replication from slot {name} did not start in {START_SECONDS:.0f} s") from e
    except psycopg.Error as e:
        raise _lost_or(e) from e


def require_reached(connection: Connection, start: Position) -> None:
    """A server that has written less than we have read is another one: the stream would skip what it writes next."""
    with mapped("source"):
        row = connection.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    if start.order[0] > int(row[0]):
        end = position_at("", int(row[0])).text
        raise PositionForeign(
            f"position {start.text} lies beyond the end of the source's log at {end}: it is another server's, or one "
            "that was promoted or restored without its last changes",
            remedy="Load the data again: what was replicated last is not on this server.",
        )


def _require_slot(connection: Connection, name: str, start: Position) -> int:
    """Where the slot stands, from which nobody reads any more."""
    _confirmed(connection, name, start)
    release_slot(connection, name)
    return _confirmed(connection, name, start)  # whoever read may have moved it in his last moment


def _confirmed(connection: Connection, name: str, start: Position) -> int:
    slot = own_slot(connection, name)
    if slot is None or slot.confirmed is None:
        raise PositionLost(f"replication slot {name} does not exist any more", slot=name)
    if slot.confirmed > start.order[0]:
        have = position_at("", slot.confirmed).text
        raise PositionLost(
            f"replication slot {name} has moved on to {have}, beyond our position {start.text}", slot=name
        )
    return slot.confirmed


def _require_published(connection: Connection, name: str, tables: Sequence[Table]) -> None:
    found = published(connection, name)
    missing = sorted(str(t.name) for t in tables if found is None or t.name not in found)
    if missing:
        raise PositionLost(
            f"publication {name} does not hold {', '.join(missing)}: their changes were not kept", tables=missing
        )


def _lost_or(error: psycopg.Error) -> WhimbrelError:
    """The leaf for an error of the replication session."""
    text = " ".join((error.diag.message_primary or str(error)).split())
    if error.sqlstate in _LOST_STATES:
        return PositionLost(f"the source cannot send the log from our position on: {text}", sqlstate=error.sqlstate)
    return SourceInterrupted(f"replication from the source ended: {text}", sqlstate=error.sqlstate)


# --- layouts --------------------------------------------------------------------------------------------------------

_TYPES = """
select distinct a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
join unnest(%s::text[], %s::text[]) as wanted(schema, name) on n.nspname = wanted.schema and c.relname = wanted.name
where a.attnum > 0 and not a.attisdropped
"""


def _type_names(connection: Connection, tables: Sequence[Table]) -> dict[tuple[int, int], str]:
    """How the server spells the types that the tables have now, by oid and modifier."""
    names = [t.name for t in tables]
    with mapped("source"), unqualified_names_off(connection):
        rows = connection.execute(_TYPES, [[n.schema for n in names], [n.table for n in names]]).fetchall()
    return {(oid, modifier): spelling for oid, modifier, spelling in rows}


class Layouts:
    """Compares the layouts that the log announces with the tables as they were reflected."""

    def __init__(self, connection: Connection, tables: Sequence[Table], oids: Mapping[int, TableName]) -> None:
        self._connection = connection
        self._tables: dict[TableName, Table] = {t.name: t for t in tables}
        self._oids = oids
        self._types = _type_names(connection, tables)

    def layout(self, relation: Relation) -> Layout | None:
        """How to write the relation's rows; None for a table that is not migrated. Raises LayoutChanged."""
        known = self._oids.get(relation.oid)
        table = self._tables.get(relation.table)
        if known != relation.table and (known is not None or table is not None):
            raise _renamed(known, relation.table)
        if table is None:
            return None
        logged = {c.name: self._spelling(c.type_oid, c.type_modifier) for c in relation.columns}
        differences = _differences(table, logged)
        if differences:
            raise LayoutChanged(
                f"{table.name} changed its columns on the source: {'; '.join(differences)}",
                table=str(table.name),
                differences=differences,
            )
        columns = tuple(logged)
        _require_same_key(table, relation)
        key = tuple(columns.index(name) for name in table.key)
        covered = relation.identity == "f" or (bool(key) and all(relation.columns[i].identity for i in key))
        binary = tuple(pa.types.is_binary(table.column(name).type.arrow) for name in columns)
        return Layout(table.name, columns, binary, key, covered)

    def _spelling(self, oid: int, modifier: int) -> str:
        """A type that no table had when the stream was opened is asked for; the log may be older or newer than that."""
        if (oid, modifier) not in self._types:
            with mapped("source"), unqualified_names_off(self._connection):
                row = self._connection.execute("select format_type(%s::oid, %s::int)", [oid, modifier]).fetchone()
            assert row is not None
            self._types[oid, modifier] = row[0]
        return self._types[oid, modifier]


def _require_same_key(table: Table, relation: Relation) -> None:
    """By the default identity the log marks the primary key; rows of another one would be put in each other's place."""
    logged = {c.name for c in relation.columns if c.identity}
    if relation.identity == "d" and table.primary_key and logged != set(table.primary_key):
        raise LayoutChanged(
            f"{table.name} changed its primary key on the source: {', '.join(sorted(logged)) or 'none'} in place of "
            f"{', '.join(sorted(table.primary_key))}",
            table=str(table.name),
        )


def _renamed(known: TableName | None, logged: TableName) -> LayoutChanged:
    """For a captured table under another name, and for another table under a captured one's."""
    if known is None:
        what = "another table has that name on the source since, or had it before"
    else:
        what = f"it was renamed on the source; its rows come as those of {logged}"
    return LayoutChanged(f"{known or logged}: {what}", table=str(known or logged))


def _differences(table: Table, logged: Mapping[str, str]) -> list[str]:
    """What the log's columns have that the table has not, and the other way round; generated ones may be missing."""
    known = {c.name: c.type.native for c in table.loaded_columns}
    found = [f"column {name} was added" for name in logged if name not in known]
    found += [f"column {name} was dropped or renamed" for name in known if name not in logged]
    found += [
        f"column {name} is {logged[name]}, not {native}"
        for name, native in known.items()
        if name in logged and logged[name] != native
    ]
    if not found and list(known) != list(logged):
        found.append("the order of its columns changed")
    return found
