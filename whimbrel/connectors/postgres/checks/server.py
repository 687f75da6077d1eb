"""What is asked of a PostgreSQL server in either role: version, free connections, rights on schemas and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg

from whimbrel.connectors.postgres.connection import identifier
from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.verdicts import offenders, schemas_of, verdict
from whimbrel.model.names import TableName

Connection = psycopg.Connection[tuple[Any, ...]]

CONNECTIONS: Final = 12  # what one migration may open


def value(connection: Connection, query: str, *arguments: Any) -> Any:
    """The first column of the first row; None when there is no row."""
    row = connection.execute(query.encode(), arguments).fetchone()
    return None if row is None else row[0]


def names(connection: Connection, query: str, *arguments: Any) -> list[str]:
    """The first column of every row, as text."""
    return [str(row[0]) for row in connection.execute(query.encode(), arguments).fetchall()]


_NAMED: Final = """from pg_class c join pg_namespace n on n.oid = c.relnamespace
  join unnest(%s::text[], %s::text[]) w(schema, name) on n.nspname = w.schema and c.relname = w.name"""

# The same with the partitions of each, whose changes are logged as their own.
_TREE: Final = """from pg_class r join pg_namespace rn on rn.oid = r.relnamespace
  join unnest(%s::text[], %s::text[]) w(schema, name) on rn.nspname = w.schema and r.relname = w.name
  left join lateral pg_partition_tree(r.oid) tree on true
  join pg_class c on c.oid = coalesce(tree.relid, r.oid) join pg_namespace n on n.oid = c.relnamespace"""


def tables_where(
    connection: Connection, tables: Sequence[TableName], condition: str, *, partitions: bool = False
) -> list[str]:
    """Those of the tables for which a condition over ``c`` (pg_class) and ``n`` (pg_namespace) holds."""
    among = _TREE if partitions else _NAMED
    query = " ".join(["select distinct n.nspname || '.' || c.relname", among, "where", condition, "order by 1"])
    return names(connection, query, [t.schema for t in tables], [t.table for t in tables])


def version(connection: Connection, oldest: int) -> CheckResult:
    """``oldest`` as PostgreSQL numbers its versions: 130000."""
    number = connection.info.server_version
    title = f"PostgreSQL {number // 10000}.{number % 10000}"
    return verdict(
        "postgres.version", number >= oldest, title, f"{title} is older than {oldest // 10000}", "Upgrade the server."
    )


# Sessions of other users show neither kind nor state to an ordinary one, but they can be counted.
_FREE: Final = """
with sessions as (
  select datid, usesysid from pg_stat_activity
   where usesysid is not null and (backend_type = 'client backend' or backend_type is null)),
limits(what, most, used) as (
  select 'the server', current_setting('max_connections')::int
         - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true), '0')::int, (select count(*) from sessions)
  union all
  select 'the database', datconnlimit, (select count(*) from sessions s where s.datid = d.oid)
    from pg_database d where datname = current_database() and datconnlimit >= 0
  union all
  select 'the user', rolconnlimit, (select count(*) from sessions s where s.usesysid = r.oid)
    from pg_roles r where rolname = current_user and rolconnlimit >= 0)
select what, most - used from limits order by 2 limit 1
"""


def free_connections(connection: Connection) -> CheckResult:
    """The tightest of the limits of server, database and user."""
    row = connection.execute(_FREE.encode()).fetchone()
    assert row is not None
    what, free = row[0], int(row[1])
    return verdict(
        "postgres.free_connections",
        free >= CONNECTIONS,
        f"{free} connections are free",
        f"only {max(free, 0)} connections are free, by the limit of {what}; a migration opens up to {CONNECTIONS}",
        "Raise max_connections, or the CONNECTION LIMIT of the database or the user; end idle sessions, or lower "
        "'threads' of the migration.",
        otherwise="warn" if free >= 4 else "fail",
    )


def create_on_database(connection: Connection, id: str, why: str) -> CheckResult:
    may = value(connection, "select has_database_privilege(current_database(), 'CREATE')")
    database, user = identifier(connection.info.dbname), identifier(connection.info.user)
    return verdict(
        id,
        bool(may),
        f"the user may {why}",
        f"user {connection.info.user} has no CREATE on the database, which is needed to {why}",
        f"GRANT CREATE ON DATABASE {database} TO {user}",
    )


def schemas_lacking(connection: Connection, tables: Sequence[TableName], right: str) -> list[str]:
    """The existing ones of the tables' schemas on which the user has not this right."""
    return names(
        connection,
        "select nspname from pg_namespace where nspname = any(%s) and not has_schema_privilege(oid, %s) order by 1",
        list(schemas_of(tables)),
        right,
    )


def row_security(found: Sequence[str], remedy: str) -> CheckResult:
    """A policy would hide rows, and what is hidden would be missing in silence."""
    return offenders(
        "postgres.row_security",
        found,
        "no policy hides rows from the user",
        "row-level security hides rows from the user in",
        remedy,
    )
