"""The SQL that an administrator runs on PostgreSQL before a migration. Written without asking the server anything.

Each statement is plain SQL for any client, to be run by itself: ALTER SYSTEM does not run together with others. It may
be run twice, and does nothing where there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from whimbrel.connectors.postgres.connection import identifier, literal, qualified
from whimbrel.connectors.protocols import Statement
from whimbrel.connectors.verdicts import needs_changes, schemas_of
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

MORE: Final = 10  # replication slots or senders that are added where none is left
OWN: Final = TableName("whimbrel", "*")  # where the target keeps the progress


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
        yield Statement(_join(user, "pg_read_all_data"), "to read every table (PostgreSQL 14 or newer)")
    for schema in schemas_of(tables):
        yield Statement(f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {to}", "to see the schema")
        sequences = f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {identifier(schema)} TO {to}"
        yield Statement(sequences, "to carry the next values of sequences over")
    for table in tables:
        what = f"ALL TABLES IN SCHEMA {identifier(table.schema)}" if table.is_pattern else f"TABLE {qualified(table)}"
        yield Statement(f"GRANT SELECT ON {what} TO {to}", "to read the rows")
    if tables:
        yield Statement(_for_each(_bypass(user), tables), "to read all rows of tables with row-level security")


def _capture(user: str, database: str, tables: Sequence[TableName]) -> Iterator[Statement]:
    yield Statement(
        "ALTER SYSTEM SET wal_level = 'logical'",
        "so that the log holds row changes; a managed service sets it in its own console (Amazon RDS: "
        "rds.logical_replication = 1, Cloud SQL: cloudsql.logical_decoding = on)",
        restart=True,
    )
    for setting, what in (("max_replication_slots", "a replication slot"), ("max_wal_senders", "a sender")):
        yield Statement(
            _left(setting),
            f"so that {what} is left for the migration. Nothing is changed: where none is left, the error says which "
            "ALTER SYSTEM to run. A value for every server would lower what some have, and standbys must have as many "
            "max_wal_senders as their primary",
        )
    yield Statement(
        f"ALTER ROLE {identifier(user)} REPLICATION",
        "to use a replication slot (on Amazon RDS: GRANT rds_replication)",
    )
    yield Statement(f"GRANT CREATE ON DATABASE {identifier(database)} TO {identifier(user)}", "to make a publication")
    yield Statement(
        _join(user, "pg_read_all_stats"),
        "to see transactions that keep a slot from being made; the migration works without",
    )
    if tables:
        yield Statement(
            _for_each(_own(user), tables), "only its owner can publish a table: membership in the owning role, or, "
            "where a superuser owns it, the table itself",
        )  # fmt: skip
        yield Statement(
            _for_each(_LOGGED, tables, partitions=True),
            "changes of unlogged tables are not in the log; this rewrites such tables",
        )
        yield Statement(
            _for_each(_IDENTITY, tables, partitions=True),
            "so that updates and deletes of tables without a primary key say which row they mean; it makes each of "
            "them, and of their partitions, log the whole old row",
        )


USED: Final = {"max_replication_slots": "pg_replication_slots", "max_wal_senders": "pg_stat_replication"}


def _left(setting: str) -> str:
    """A block that fails where all are in use, and says what to run: ALTER SYSTEM knows no condition, and runs in no
    block."""
    return f"""DO $whimbrel$ DECLARE most int := current_setting('{setting}'); used int; BEGIN
  SELECT count(*) INTO used FROM pg_catalog.{USED[setting]};
  IF used >= most THEN
    RAISE EXCEPTION 'none of % {setting} is left; run: ALTER SYSTEM SET {setting} = %', most, most + {MORE};
  END IF;
END $whimbrel$"""  # noqa: S608 - names of ours


def _target(user: str, database: str, tables: Sequence[TableName]) -> Iterator[Statement]:
    to = identifier(user)
    yield Statement(
        f"GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {identifier(database)} TO {to}",
        "to connect, and to make schemas, the schema 'whimbrel' that keeps the progress, and staging tables",
    )
    yield Statement(_set_role_parameter(user), "to load and apply rows without firing triggers and foreign keys")
    for schema in schemas_of((*tables, OWN)):
        granting = f"format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', nspname, {literal(user)})"
        yield Statement(
            _loop(" ".join(("SELECT", granting, "FROM pg_catalog.pg_namespace WHERE nspname =", literal(schema)))),
            "to make tables where the schema exists already",
        )
    yield Statement(_for_each(_own(user), (*tables, OWN)), "only its owner can change or empty a table that exists")
    if tables:
        yield Statement(_for_each(_bypass(user), tables), "to compare all rows of tables with row-level security")


# --- blocks that act on what there is ---------------------------------------------------------------------------------


def _loop(query: str) -> str:
    """A block that runs every statement the query selects."""
    tag = "$whimbrel$"
    while tag in query:  # a name that holds it would end the block
        tag = f"{tag[:-1]}_$"
    return f"DO {tag} DECLARE s text; BEGIN\n  FOR s IN {query}\n  LOOP EXECUTE s; END LOOP;\nEND {tag}"


def _for_each(choose: str, tables: Sequence[TableName], *, partitions: bool = False) -> str:
    """Run what ``choose`` selects (as column ``sql``) for each of the tables that exist.

    With ``partitions`` for theirs too, which PostgreSQL 12 and newer can list.
    """
    schema, table = ("rn.nspname", "r.relname") if partitions else ("n.nspname", "c.relname")
    wanted = " OR ".join(
        f"{schema} = {literal(t.schema)}" + ("" if t.is_pattern else f" AND {table} = {literal(t.table)}")
        for t in tables
    )
    if partitions:
        tree = "LEFT JOIN LATERAL pg_catalog.pg_partition_tree(r.oid) p ON true"
        among = "pg_catalog.pg_class r JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace"
        wanted = f"c.oid IN (SELECT coalesce(p.relid, r.oid) FROM {among} {tree} WHERE {wanted})"  # noqa: S608 - quoted
    return _loop(f"{choose}\n    AND c.relkind IN ('r', 'p') AND ({wanted}) ORDER BY 1")


_TABLES = "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"


# A membership that does not pass the role's rights on is made one that does.
_MEMBERSHIP = """'GRANT %1$I TO %2$I' || CASE WHEN current_setting('server_version_num')::int >= 160000
        THEN ' WITH INHERIT TRUE' ELSE '; ALTER ROLE %2$I INHERIT' END"""


def _join(user: str, role: str) -> str:
    named = f"{literal(role)}, {literal(user)}"
    return _loop(
        f"SELECT format({_MEMBERSHIP}, {named}) AS sql WHERE NOT pg_catalog.pg_has_role({literal(user)},"
        f" {literal(role)}, 'USAGE')"
    )


def _own(user: str) -> str:
    return f"""SELECT DISTINCT CASE WHEN o.rolsuper
      THEN format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, c.relname, {literal(user)})
      ELSE format({_MEMBERSHIP}, o.rolname, {literal(user)}) END AS sql
    {_TABLES} JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    WHERE NOT pg_catalog.pg_has_role({literal(user)}, c.relowner, 'USAGE')"""


def _bypass(user: str) -> str:
    """Policies hold for whoever does not own the table, and for its owner too where they are forced."""
    return f"""SELECT DISTINCT format('ALTER ROLE %I BYPASSRLS', {literal(user)}) AS sql
    {_TABLES} JOIN pg_catalog.pg_roles u ON u.rolname = {literal(user)}
    WHERE c.relrowsecurity AND NOT u.rolsuper AND NOT u.rolbypassrls
      AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(u.oid, c.relowner, 'USAGE'))"""


_LOGGED = f"""SELECT format('ALTER TABLE %I.%I SET LOGGED', n.nspname, c.relname) AS sql
    {_TABLES} WHERE c.relpersistence = 'u' AND c.relkind = 'r'"""

# Which tables say too little: no identity at all, or the default one without a primary key, or an index that is not the
# key that rows are found by: the primary key, or the first by name of the unique keys of NOT NULL columns.
UNIDENTIFIED = """(c.relreplident = 'n'
      OR c.relreplident = 'd' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
      OR c.relreplident = 'i' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisreplident AND (i.indisprimary OR NOT EXISTS (
          SELECT FROM pg_catalog.pg_index p JOIN pg_catalog.pg_class pc ON pc.oid = p.indexrelid
          WHERE p.indrelid = c.oid AND (p.indisprimary OR p.indisunique AND p.indimmediate AND p.indisvalid
            AND p.indpred IS NULL AND p.indexprs IS NULL AND pc.relname < ic.relname AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (p.indkey)
                AND NOT a.attnotnull))))))"""

_IDENTITY = f"""SELECT format('ALTER TABLE %I.%I REPLICA IDENTITY FULL', n.nspname, c.relname) AS sql
    {_TABLES} WHERE {UNIDENTIFIED}"""


def _set_role_parameter(user: str) -> str:
    """The parameter can be granted since PostgreSQL 15; before, only superusers may set it."""
    return _loop(
        f"SELECT format('GRANT SET ON PARAMETER session_replication_role TO %I', {literal(user)}) AS sql"
        " WHERE current_setting('server_version_num')::int >= 150000"
    )
