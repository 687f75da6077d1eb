"""What must be true of a server whose log is captured, and of the tables: the checks tell it, and a capture refuses by
it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whimbrel.connectors.postgres.connection import identifier
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.connectors.requirements import Requirement, nothing_found
from whimbrel.errors import LogDisabled, ReplicaIdentityMissing, SourcePermissionDenied

_RUN = "Run the source statements that POST /v1/prereqs lists."
_MAY_REPLICATE = """
select current_user, rolsuper or rolreplication or exists (
  select from pg_roles m where m.rolname = 'rds_replication' and pg_has_role(m.oid, 'member'))
from pg_roles where rolname = current_user
"""


def logical(connection: Connection) -> Requirement:
    row = connection.execute("select current_setting('wal_level')").fetchone()
    level = row[0] if row else None
    return Requirement(
        "postgres.wal_level",
        level == "logical",
        "wal_level is logical",
        f"wal_level is {level} on the source; capturing changes needs logical",
        "ALTER SYSTEM SET wal_level = 'logical', then restart the server.",
        LogDisabled,
        details={"wal_level": level},
    )


def primary(connection: Connection) -> Requirement:
    """No standby, also not one that could decode its log (from version 16 on)."""
    return Requirement(
        "postgres.primary",
        connection.execute("select pg_is_in_recovery()").fetchone() == (False,),
        "the server is a primary",
        "the source is a standby, where no publication can be made",
        "Point the source at the primary server.",
        LogDisabled,
    )


def may_replicate(connection: Connection) -> Requirement:
    row = connection.execute(_MAY_REPLICATE).fetchone()
    user, may = row or (connection.info.user, False)
    return Requirement(
        "postgres.replication_role",
        bool(may),
        "the user may use replication slots",
        f"user {user} may not use replication slots on the source (a role that it is a member of does not pass this "
        "right on)",
        f"ALTER ROLE {identifier(user)} REPLICATION",
        SourcePermissionDenied,
    )


def owned(not_owned: Sequence[str]) -> Requirement:
    return nothing_found(
        "postgres.table_ownership",
        not_owned,
        "all tables can be published",
        "only its owner can publish a table, and the user is not of the owning role of",
        _RUN,
        SourcePermissionDenied,
        "tables",
    )


def logged(unlogged: Sequence[str]) -> Requirement:
    return nothing_found(
        "postgres.unlogged_tables",
        unlogged,
        "changes of all tables are logged",
        "changes are not logged of",
        "ALTER TABLE ... SET LOGGED for each, or leave them out.",
        LogDisabled,
        "tables",
    )


def identified(unidentified: Sequence[str]) -> Requirement:
    """Publishing such a table would make the source refuse its own users' updates and deletes."""
    return nothing_found(
        "postgres.replica_identity",
        unidentified,
        "updates and deletes say which row they mean",
        "updates and deletes do not say which row they mean in",
        "Add a primary key, or ALTER TABLE ... REPLICA IDENTITY FULL for each; partitions have one of their own.",
        ReplicaIdentityMissing,
        "tables",
    )


def tables(foreign: Sequence[str]) -> Requirement:
    return nothing_found(
        "postgres.table_kinds",
        foreign,
        "all are tables whose changes are logged",
        "not tables whose changes are logged",
        "Leave them out, or migrate them with mode data only.",
        LogDisabled,
        "tables",
    )


def of_server(connection: Connection) -> Iterator[Requirement]:
    """Each is asked for once the one before is met."""
    yield logical(connection)
    yield primary(connection)
