"""What capturing leaves on the source: one publication and one replication slot per migration, of the same name."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg

from whimbrel.connectors.postgres.connection import connect, identifier, literal, mapped
from whimbrel.connectors.postgres.locks import bound_waits, locks_named
from whimbrel.connectors.postgres.server import system_identifier
from whimbrel.connectors.postgres.source import capturing
from whimbrel.connectors.postgres.source.publication import (
    WAIT_SECONDS,
    blocked,
    capture_name,
    check_tables,
    publish,
    published,
)
from whimbrel.connectors.postgres.source.watch import keep_present
from whimbrel.connectors.postgres.wire import Connection, results, run_script, send
from whimbrel.connectors.requirements import require
from whimbrel.errors import (
    InvalidRequest,
    LogDisabled,
    PositionForeign,
    PositionLost,
)
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.position import Position
from whimbrel.model.table import Table

END_SECONDS = 15.0  # how long a terminated backend may take to go

# The end of the last record. On a page's first byte the server reports where the next record will start, behind the
# page header, which no reader ever reaches; so step back to the page's start (segments start with a longer header).
_CURRENT_LSN = """
select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() - '0/0'::pg_lsn
            else (select w.lsn - case when w.lsn % b.segment = 40 then 40 when w.lsn % b.page = 24 then 24 else 0 end
                  from (select pg_current_wal_insert_lsn() - '0/0'::pg_lsn as lsn) w,
                       (select current_setting('wal_block_size')::numeric as page,
                               pg_size_bytes(current_setting('wal_segment_size'))::numeric as segment) b) end::bigint
"""


@dataclass(frozen=True)
class Slot:
    """A replication slot as the server shows it. ``confirmed`` is None while it is still being made."""

    database: str
    plugin: str
    confirmed: int | None
    pid: int | None
    lost: bool


# --- positions ------------------------------------------------------------------------------------------------------


def server_identity(connection: Connection) -> str:
    """The cluster's number and the database's oid: a log position means something only there."""
    with mapped("source"):
        row = connection.execute("select oid from pg_database where datname = current_database()").fetchone()
        assert row is not None
        return f"{system_identifier(connection)}/{row[0]}"


def timeline(connection: Connection) -> str:
    """The timeline that a primary writes its log in, another one after a promotion or a recovery to a point in time;
    '' on a standby."""
    with mapped("source"):
        row = connection.execute(
            "select case when not pg_is_in_recovery()"
            " then 'timeline ' || ltrim(left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), '0') else '' end"
        ).fetchone()
    assert row is not None
    return str(row[0])


def require_same_timeline(connection: Connection, position: Position) -> None:
    """Raise PositionForeign when the source was promoted or restored since: what lies behind the point where its
    timelines part was never on one of them. Positions that older versions stored say nothing of it."""
    now = timeline(connection)
    if position.extra and now and position.extra != now:
        raise PositionForeign(
            f"position {position.text} is of {position.extra}, and the source writes {now} (hexadecimal) now: it was "
            "promoted or restored since",
            remedy="Load the data again: changes that were replicated may not be on this server, and others may be.",
            position=position.text,
        )


def position_at(server: str, lsn: int, timeline: str = "", *, began: int = 0, told: int = 0) -> Position:
    """The Position of a log sequence number."""
    return Position("postgres", server, f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}", (lsn,), timeline, began, told)


def parse_lsn(text: str) -> int:
    """``0/16B3748`` as a number. Raises InvalidRequest."""
    match = re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", text.strip())
    if match is None:
        raise InvalidRequest(f"position: {text!r} is not of the form '0/16B3748'", field="position")
    return int(match[1], 16) << 32 | int(match[2], 16)


def check_position(text: str) -> None:
    """Raise InvalidRequest for what no server's log has."""
    if parse_lsn(text) == 0:
        raise InvalidRequest("position: '0/0' is before the beginning of any log", field="position")


def parse_position(connection: Connection, text: str) -> Position:
    """A position as users write it, on this server. Raises InvalidRequest."""
    return position_at(server_identity(connection), parse_lsn(text), timeline(connection))


def current_position(connection: Connection) -> Position:
    """The newest point of the log that a change could stand at."""
    return position_at(server_identity(connection), current_lsn(connection))


def current_lsn(connection: Connection) -> int:
    with mapped("source"):
        row = connection.execute(_CURRENT_LSN).fetchone()
    assert row is not None
    return int(row[0])


_FLUSH = """begin; set local synchronous_commit to local;
select pg_logical_emit_message(true, 'whimbrel', '')
where case when pg_is_in_recovery() then false else pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn() end;
commit"""


def flush_log(connection: Connection) -> None:
    """Make a server that has come to rest flush its log, by committing an empty message that no table sees.

    Only flushed log is decoded, and an idle server leaves its own last records unflushed for up to ten seconds, which
    would look like lag.
    """
    try:
        run_script(connection, _FLUSH)
    except psycopg.errors.InsufficientPrivilege:
        run_script(connection, "rollback")  # then an idle source shows its lag a little late, and nothing is wrong


# --- what must be true before ---------------------------------------------------------------------------------------


def check_capture(connection: Connection, tables: Sequence[Table]) -> None:
    """Raise what would stop capturing these tables, having changed nothing.

    LogDisabled (wal_level, a standby, unlogged tables), SourcePermissionDenied, ReplicaIdentityMissing.
    """
    with mapped("source"):
        _check_log(connection)
        require([capturing.may_replicate(connection)])
        check_tables(connection, tables)


def require_primary(connection: Connection) -> None:
    """Raise LogDisabled on a standby, also where it could decode its log (from version 16 on)."""
    with mapped("source"):
        require([capturing.primary(connection)])


def _check_log(connection: Connection) -> None:
    require(capturing.of_server(connection))
    for setting in ("max_replication_slots", "max_wal_senders"):
        if connection.execute("select current_setting(%s)", [setting]).fetchone() == ("0",):
            raise LogDisabled(f"{setting} is 0 on the source; capturing changes needs one for each migration")


# --- slot -----------------------------------------------------------------------------------------------------------


def find_slot(connection: Connection, name: str) -> Slot | None:
    """The slot of that name, in whatever database of the server it is."""
    with mapped("source"):
        row = connection.execute(
            """
            select database, plugin, confirmed_flush_lsn - '0/0'::pg_lsn, active_pid,
                   coalesce(wal_status = 'lost', false)
            from pg_replication_slots where slot_name = %s
            """,
            [name],
        ).fetchone()
    if row is None:
        return None
    return Slot(row[0] or "", row[1] or "", None if row[2] is None else int(row[2]), row[3], bool(row[4]))


def own_slot(connection: Connection, name: str) -> Slot | None:
    """Our usable slot, or None. One that a dead worker left half-made is removed.

    Raises PositionLost when it was invalidated, PositionForeign when another database's migration has that name.
    """
    slot = find_slot(connection, name)
    if slot is None:
        return None
    if slot.database != connection.info.dbname or slot.plugin != "pgoutput":
        raise PositionForeign(
            f"replication slot {name} exists, but belongs to database {slot.database!r} and plugin {slot.plugin!r}",
            remedy="Rename the migration, or drop the slot if nobody uses it.",
        )
    if slot.lost:
        raise PositionLost(f"replication slot {name} was invalidated: the source has removed log that it needs")
    if slot.confirmed is None:
        drop_slot(connection, name)
        return None
    return slot


def create_slot(endpoint: Endpoint, operation: str, name: str, *, export: bool) -> tuple[Connection, int, str]:
    """Make a slot; return the open replication session, the LSN it starts at and the exported snapshot's name.

    The snapshot lives until the session's next command or its end. Raises SlotsExhausted, and SlotBlocked naming the
    backends whose transactions were in the way for too long.
    """
    session = connect(endpoint.parameters, operation, replication=True)
    try:
        kind = "EXPORT_SNAPSHOT" if export else "NOEXPORT_SNAPSHOT"
        with mapped("source"):
            send(session.pgconn, f"CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput {kind}")
            created = results(session.pgconn, WAIT_SECONDS)[0]
        lsn = (created.get_value(0, 1) or b"").decode()
        return session, parse_lsn(lsn), (created.get_value(0, 2) or b"").decode()
    except TimeoutError:
        session.cancel_safe(timeout=END_SECONDS)
        session.close()
        with closing(connect(endpoint.parameters, operation)) as connection, mapped("source"):
            raise blocked(connection, f"making replication slot {name}") from None
    except BaseException:
        session.close()
        raise


def prepare_changes(endpoint: Endpoint, job: Job, tables: Sequence[Table]) -> Position:
    """Make publication and slot without a snapshot and return where capturing can start. Called twice it keeps them.

    The tables count as known as they are now: whoever starts anew has seen what was done to them.
    """
    name = capture_name(job.migration)
    with closing(connect(endpoint.parameters, job.operation)) as connection:
        server = server_identity(connection)
        slot = prepare(connection, name, tables)
        keep_present(connection, name, tables)
        if slot is not None and slot.confirmed is not None:
            return position_at(server, slot.confirmed, timeline(connection))
        session, lsn, _ = create_slot(endpoint, job.operation, name, export=False)
        session.close()
        return position_at(server, lsn, timeline(connection))


def prepare(connection: Connection, name: str, tables: Sequence[Table]) -> Slot | None:
    """Check the tables, publish them and return the slot of an earlier attempt, if there is one that can be kept.

    A slot whose publication is gone cannot be read any more and is dropped; a position that needed it is then lost,
    which ``open_changes`` notices.
    """
    check_capture(connection, tables)
    slot = own_slot(connection, name)
    if slot is not None and published(connection, name) is None:
        drop_slot(connection, name)
        slot = None
    with locks_named(connection):
        bound_waits(connection)
        publish(connection, name, tables)
    return slot


def holds(connection: Connection, migration: str, position: Position) -> bool:
    """Whether the migration's slot still keeps everything from ``position`` on."""
    if server_identity(connection) != position.server or position.extra not in ("", timeline(connection)):
        return False
    slot = find_slot(connection, capture_name(migration))
    if slot is None or slot.lost or slot.confirmed is None or slot.database != connection.info.dbname:
        return False
    return slot.confirmed <= position.order[0]


# --- cleanup --------------------------------------------------------------------------------------------------------


def cleanup(endpoint: Endpoint, job: Job) -> None:
    """Remove slot, publication and every other connection of this operation. Called twice it is no error."""
    name = capture_name(job.migration)
    with closing(connect(endpoint.parameters, job.operation)) as connection:
        terminate_sessions(connection)
        slot = find_slot(connection, name)
        if slot is not None and slot.database == connection.info.dbname:
            drop_slot(connection, name)
        with mapped("source"):
            drop = f"drop publication if exists {identifier(name)}"
            # What a standby has is its primary's, and to drop even nothing is refused there.
            connection.execute(f"do $$ begin if not pg_is_in_recovery() then {drop}; end if; end $$")


def end_sessions(endpoint: Endpoint, job: Job) -> None:
    """End every other connection of this operation; slot and publication stay."""
    with closing(connect(endpoint.parameters, job.operation)) as connection:
        terminate_sessions(connection)


_OTHER_SESSIONS = """
from pg_stat_activity s
where s.application_name = current_setting('application_name') and s.datname = current_database()
  and s.pid <> pg_backend_pid()
"""


def terminate_sessions(connection: Connection) -> None:
    """End all other backends of this database with this connection's application name; wait until they are gone."""
    with mapped("source"):
        connection.execute(f"select pg_terminate_backend(s.pid) {_OTHER_SESSIONS}")
        _wait_gone(connection, f"select {_OTHER_SESSIONS}")


def release_slot(connection: Connection, name: str) -> None:
    """End whoever reads our slot: it can only be an earlier worker of this migration."""
    with mapped("source"):
        connection.execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s", [name]
        )
        _wait_gone(
            connection,
            f"select from pg_replication_slots where slot_name = {literal(name)} and active_pid is not null",
        )


def drop_slot(connection: Connection, name: str) -> None:
    """Drop a slot, ending whoever reads it first. A slot that is gone is no error."""
    release_slot(connection, name)
    with mapped("source"):
        try:
            connection.execute("select pg_drop_replication_slot(%s)", [name])
        except psycopg.errors.UndefinedObject:
            return


def _wait_gone(connection: Connection, query: str) -> None:
    """Wait until the query has no row; what is still there after END_SECONDS is left to the server."""
    deadline = time.monotonic() + END_SECONDS
    while connection.execute(query).fetchone() is not None and time.monotonic() < deadline:
        time.sleep(0.05)
