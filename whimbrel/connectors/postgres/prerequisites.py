"""The SQL that an administrator runs on PostgreSQL before a migration. Written without asking the server anything.

Every statement may be run twice, and does nothing where there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from whimbrel.connectors.postgres.connection import identifier, literal, qualified
from whimbrel.connectors.protocols import Statement
from whimbrel.connectors.verdicts import needs_changes, schemas_of
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

SLOTS: Final = 20  # replication slots and senders a source should have in all


def statements(
    endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
) -> tuple[Statement, ...]:
    """See ``protocols.Checks.statements``."""
    user, database = str(endpoint.parameters["user"]), str(endpoint.parameters["database"])
    changes = needs_changes(mode)
    if role == "target":
        return tuple(_target(user, database, tables))
    reading = _source(user, database, tables)
    return (*reading, *_capture(user, database, tables)) if changes else tuple(reading)


def _source(user: str, database: str, tables: Sequence[TableName]) -> Iterator[Statement]:
    to = identifier(user)
    yield Statement(f"GRANT CONNECT ON DATABASE {identifier(database)} TO {to}", "to connect")
    if not tables:
        yield Statement(f"GRANT pg_read_all_data TO {to}", "to read every table (PostgreSQL 14 or newer)")
    for schema in schemas_of(tables):
        yield Statement(f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {to}", "to see the schema")
        sequences = f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {identifier(schema)} TO {to}"
        yield Statement(sequences, "to carry the next values of sequences over")
    for table in tables:
        what = f"ALL TABLES IN SCHEMA {identifier(table.schema)}" if table.is_pattern else f"TABLE {qualified(table)}"
        yield Statement(f"GRANT SELECT ON {what} TO {to}", "to read the rows")


def _capture(user: str, database: str, tables: Sequence[TableName]) -> Iterator[Statement]:
    yield Statement("ALTER SYSTEM SET wal_level = 'logical'", "so that the log holds row changes", restart=True)
    for setting in ("max_replication_slots", "max_wal_senders"):
        yield Statement(
            _raise(setting),
            "one for each migration, beside those in use. ALTER SYSTEM knows no condition, so the query writes the "
            "statement, or none where enough are free, and psql's \\gexec runs it; elsewhere run what it returns",
            restart=True,
        )
    yield Statement(
        f"ALTER ROLE {identifier(user)} REPLICATION",
        "to use a replication slot (on Amazon RDS: GRANT rds_replication)",
    )
    yield Statement(f"GRANT CREATE ON DATABASE {identifier(database)} TO {identifier(user)}", "to make a publication")
    if tables:
        yield Statement(
            _for_each(_own(user), tables), "only its owner can publish a table: membership in the owning role, or, "
            "where a superuser owns it, the table itself",
        )  # fmt: skip
        yield Statement(
            _for_each(_LOGGED, tables), "changes of unlogged tables are not in the log; this rewrites such tables"
        )
        yield Statement(
            _for_each(_IDENTITY, tables),
            "so that updates and deletes of tables without a primary key say which row they mean; it makes each of "
            "them log the whole old row",
        )


_USED: Final = {"max_replication_slots": "pg_replication_slots", "max_wal_senders": "pg_stat_replication"}


def _raise(setting: str) -> str:
    """Never lowers what is set, and leaves room for half of SLOTS beside those in use."""
    wanted = f"greatest({SLOTS}, (SELECT count(*) FROM pg_catalog.{_USED[setting]}) + {SLOTS // 2})"  # noqa: S608 - names of ours
    return (
        f"SELECT format('ALTER SYSTEM SET {setting} = %s', {wanted})\n"
        f"WHERE current_setting('{setting}')::int < {wanted}\n\\gexec"
    )


def _target(user: str, database: str, tables: Sequence[TableName]) -> Iterator[Statement]:
    to = identifier(user)
    yield Statement(
        f"GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {identifier(database)} TO {to}",
        "to connect, and to make schemas, the schema 'whimbrel' that keeps the progress, and staging tables",
    )
    yield Statement(_set_role_parameter(user), "to load and apply rows without firing triggers and foreign keys")
    for schema in schemas_of(tables):
        granting = f"format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', nspname, {literal(user)})"
        yield Statement(
            _loop(" ".join(("SELECT", granting, "FROM pg_catalog.pg_namespace WHERE nspname =", literal(schema)))),
            "to make tables where the schema exists already",
        )
    if tables:
        yield Statement(_for_each(_own(user), tables), "only its owner can change or empty a table that exists")


# --- blocks that act on what there is ---------------------------------------------------------------------------------


def _loop(query: str) -> str:
    """A block that runs every statement the query selects."""
    tag = "$whimbrel$"
    while tag in query:  # a name that holds it would end the block
        tag = f"{tag[:-1]}_$"
    return f"DO {tag} DECLARE s text; BEGIN\n  FOR s IN {query}\n  LOOP EXECUTE s; END LOOP;\nEND {tag}"


def _for_each(choose: str, tables: Sequence[TableName]) -> str:
    """Run what ``choose`` selects (as column ``sql``) for each of the tables that exist."""
    wanted = " OR ".join(
        f"n.nspname = {literal(t.schema)}" + ("" if t.is_pattern else f" AND c.relname = {literal(t.table)}")
        for t in tables
    )
    return _loop(f"{choose}\n    AND c.relkind IN ('r', 'p') AND ({wanted}) ORDER BY 1")


_TABLES = "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"


def _own(user: str) -> str:
    return f"""SELECT DISTINCT CASE WHEN o.rolsuper
      THEN format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, c.relname, {literal(user)})
      ELSE format('GRANT %I TO %I', o.rolname, {literal(user)}) END AS sql
    {_TABLES} JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    WHERE NOT pg_catalog.pg_has_role({literal(user)}, c.relowner, 'USAGE')"""


_LOGGED = f"""SELECT format('ALTER TABLE %I.%I SET LOGGED', n.nspname, c.relname) AS sql
    {_TABLES} WHERE c.relpersistence = 'u'"""

# Which tables say too little: no identity at all, or the default one without a primary key, or another index than it.
UNIDENTIFIED = """(c.relreplident = 'n'
      OR c.relreplident = 'd' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
      OR c.relreplident = 'i' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident
          AND (i.indisprimary OR NOT EXISTS (
            SELECT FROM pg_catalog.pg_index p WHERE p.indrelid = c.oid AND p.indisprimary))))"""

_IDENTITY = f"""SELECT format('ALTER TABLE %I.%I REPLICA IDENTITY FULL', n.nspname, c.relname) AS sql
    {_TABLES} WHERE {UNIDENTIFIED}"""


def _set_role_parameter(user: str) -> str:
    """The parameter can be granted since PostgreSQL 15; before, only superusers may set it."""
    return _loop(
        f"SELECT format('GRANT SET ON PARAMETER session_replication_role TO %I', {literal(user)}) AS sql"
        " WHERE current_setting('server_version_num')::int >= 150000"
    )
