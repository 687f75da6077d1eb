"""Keys and indexes around a load: dropped while the table is empty, built once its rows are there.

What is dropped is first written down in ``whimbrel.dropped``, in the same transaction: a table always has its
indexes, or their definitions are there to build them from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from psycopg import errors as pg

from whimbrel.connectors.postgres import particulars
from whimbrel.connectors.postgres.connection import identifier, qualified
from whimbrel.connectors.postgres.locks import bound_waits
from whimbrel.connectors.postgres.source.reflection import SEQUENCES, Connection, Row, rows
from whimbrel.connectors.postgres.source.schema import reflect
from whimbrel.connectors.postgres.target import ddl
from whimbrel.connectors.postgres.target.ledger import ledger_on
from whimbrel.connectors.postgres.target.ledger_layout import ensure_schema
from whimbrel.connectors.protocols import Claim
from whimbrel.model.names import TableName
from whimbrel.model.table import Index, Table

_MEMORY = "256MB"

# Foreign keys before the keys they rest on. Left alone: partitioned tables and partitions, replica identities,
# exclusion constraints, and keys that a foreign key of a table outside the load rests on.
_DROPPABLE = """
with loaded as (
  select c.oid, n.nspname as schema, c.relname as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.oid = any(%(oids)s) and c.relkind = 'r' and not c.relispartition
), kept as (
  select k.conindid as index from pg_constraint k
   where k.contype = 'f' and k.confrelid in (select oid from loaded) and k.conrelid not in (select oid from loaded)
  union select i.indexrelid from pg_index i where i.indisreplident
)
select l.schema, l.name as "table", k.conname as name, case k.contype when 'f' then 0 else 1 end as place,
       'constraint' as kind, format('alter table %%I.%%I add constraint %%I %%s', l.schema, l.name, k.conname,
                                    pg_get_constraintdef(k.oid)) as definition
  from pg_constraint k join loaded l on l.oid = k.conrelid
 where k.contype in ('f', 'p', 'u') and (k.contype = 'f' or k.conindid not in (select index from kept))
union all
select l.schema, l.name, c.relname, 2, 'index', pg_get_indexdef(i.indexrelid)
  from pg_index i join loaded l on l.oid = i.indrelid join pg_class c on c.oid = i.indexrelid
 where not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
   and i.indexrelid not in (select index from kept) and i.indisvalid
 order by place
"""


class PostgresFinisher:
    """See ``protocols.Finisher``. Each call has a session of its own."""

    def __init__(self, session: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._session = session

    def prepare(self, tables: Sequence[Table], claim: Claim | None = None) -> None:
        with self._session() as connection:
            prepare_load(connection, tables, claim)

    def indexes(self, source: Table, target: Table, stop: Callable[[], bool], claim: Claim | None = None) -> None:
        with self._session() as connection:
            finish_table(connection, source, target, stop, claim)

    def keys(self, target: Sequence[Table], claim: Claim | None = None) -> None:
        with self._session() as connection:
            finish_keys(connection, target, claim)

    def sequences(self, source: Sequence[Table], target: Sequence[Table], patience: int | None = None) -> None:
        with self._session() as connection:
            if patience is not None:
                bound_waits(connection, patience)
            sync_sequences(connection, source, target)


@contextmanager
def _claimed(connection: Connection, claim: Claim | None) -> Iterator[None]:
    """A transaction that ends in Fenced, and so changes nothing, once somebody else has claimed the migration.

    Asked before, so that an old owner's build does not keep a new one waiting for the table, and last, because the row
    that is asked is locked until the end: a new owner must not wait for it through a long build.
    """
    ledger = ledger_on(connection, claim.migration) if claim else None
    if ledger and claim:
        ledger.require(claim.epoch)
    with connection.transaction():
        yield
        if ledger and claim:
            ledger.fence(claim.epoch)


def prepare_load(connection: Connection, tables: Sequence[Table], claim: Claim | None = None) -> None:
    """Drop what slows the load of those tables that are empty. Idempotent."""
    ensure_schema(connection)
    connection.execute("set search_path to ''")
    oids = [oid for t in tables if (oid := _oid(connection, t.name)) and not has_rows(connection, t.name)]
    for found in rows(connection, _DROPPABLE, {"oids": oids}):
        _drop(connection, found, claim)


def _drop(connection: Connection, found: Row, claim: Claim | None) -> None:
    """Write down and drop one key or index; one that something else depends on (a view's GROUP BY) stays."""
    table = TableName(found["schema"], found["table"])
    if found["kind"] == "index":
        statement = f"drop index {qualified(TableName(table.schema, found['name']))}"
    else:
        statement = f"alter table {qualified(table)} drop constraint {identifier(found['name'])}"
    try:
        with _claimed(connection, claim):
            connection.execute(
                "insert into whimbrel.dropped (schema_name, table_name, name, position, definition)"
                " values (%s, %s, %s, %s, %s) on conflict (schema_name, table_name, name)"
                " do update set position = excluded.position, definition = excluded.definition",
                [table.schema, table.table, found["name"], found["place"], found["definition"]],
            )
            connection.execute(statement.encode())
    except pg.DependentObjectsStillExist:
        return


def finish_table(
    connection: Connection, source: Table, target: Table, stop: Callable[[], bool], claim: Claim | None = None
) -> None:
    """Keys, indexes, identity values and statistics. Returns early once ``stop`` says so. Idempotent."""
    ensure_schema(connection)
    connection.execute(f"set maintenance_work_mem = '{_MEMORY}'".encode())
    connection.execute("set search_path to ''")
    for build in _builds(connection, target):
        if stop():
            return
        with _claimed(connection, claim):
            build()
    if stop():
        return
    sync_sequences(connection, [source], [target])
    connection.execute(f"analyze {qualified(target.name)}".encode())


def _builds(connection: Connection, target: Table) -> Iterator[Callable[[], object]]:
    """What is still missing, what was dropped first: it is the target's own, whatever it is called there."""
    yield from _restorations(connection, target.name, [1, 2])
    (existing,) = reflect(connection, [target.name])
    for name, definition in ddl.key_constraints(target):
        if name == target.primary_key_name and existing.primary_key:
            continue
        if not any(has_index(i, existing) for i in target.indexes if i.name == name):
            statement = ddl.add_constraint(target.name, name, definition)
            yield partial(connection.execute, statement.encode())
    for index in target.indexes:
        if not index.constraint and not has_index(index, existing):
            yield partial(connection.execute, ddl.create_index(target.name, index).encode())


def has_index(index: Index, existing: Table) -> bool:
    """Whether the table has an index that does the same, under any name."""

    def shape(i: Index) -> tuple[object, ...]:
        down = tuple(i.descending) if any(i.descending) else ()
        return (i.columns, i.unique, i.expression is None, any(i.prefixes), down, i.include)

    plain = index.expression is None and not any(index.prefixes)
    return any(i.name == index.name or (plain and shape(i) == shape(index)) for i in existing.indexes)


def _restorations(connection: Connection, table: TableName, places: list[int]) -> Iterator[Callable[[], object]]:
    found = connection.execute(
        "select name, definition from whimbrel.dropped"
        " where schema_name = %s and table_name = %s and position = any(%s) order by position, name",
        [table.schema, table.table, places],
    ).fetchall()
    for name, definition in found:
        yield partial(_restore, connection, table, str(name), str(definition))


def _restore(connection: Connection, table: TableName, name: str, definition: str) -> None:
    """Build one again and forget that it was dropped, both or neither."""
    with connection.transaction():
        there = connection.execute(
            "select exists (select from pg_constraint where conname = %s and conrelid = to_regclass(%s))"
            " or exists (select from pg_index where indrelid = to_regclass(%s) and indexrelid = to_regclass(%s))",
            [name, qualified(table), qualified(table), qualified(TableName(table.schema, name))],
        ).fetchone()
        if there == (False,):
            connection.execute(definition.encode())
        connection.execute(
            "delete from whimbrel.dropped where schema_name = %s and table_name = %s and name = %s",
            [table.schema, table.table, name],
        )


def finish_keys(connection: Connection, targets: Sequence[Table], claim: Claim | None = None) -> None:
    """Foreign keys: those that were dropped, and those of the source that are not there yet. Idempotent."""
    ensure_schema(connection)
    connection.execute("set search_path to ''")
    for table in targets:
        for restore in _restorations(connection, table.name, [0]):
            with _claimed(connection, claim):
                restore()
    for table, existing in zip(targets, reflect(connection, [t.name for t in targets]), strict=True):
        there = {(k.columns, k.parent, k.parent_columns) for k in existing.foreign_keys}
        for key in table.foreign_keys:
            if (key.columns, key.parent, key.parent_columns) not in there:
                with _claimed(connection, claim):
                    connection.execute(ddl.add_foreign_key(table, key).encode())
        for check in ddl.late_checks(table):
            with _claimed(connection, claim):
                connection.execute(check.encode())


def sync_sequences(connection: Connection, sources: Sequence[Table], targets: Sequence[Table]) -> None:
    """Set every sequence past its column's greatest value and to no less than the source's next. Idempotent."""
    for source, target in zip(sources, targets, strict=True):
        for use in rows(connection, SEQUENCES, {"oids": [_oid(connection, target.name)]}):
            _advance(connection, target.name, use, _source_next(source, use["column"]))


def _source_next(source: Table, column: str) -> int | None:
    use = particulars.of(source).sequences.get(column)
    if use is not None:
        return use.next_value
    found = next((c for c in source.columns if c.name == column), None)
    return found.identity.next_value if found and found.identity else None


def _advance(connection: Connection, table: TableName, use: Row, source_next: int | None) -> None:
    name = qualified(TableName(use["schema"], use["name"]))
    step = int(use["increment"])
    furthest = max if step > 0 else min
    at = connection.execute(f"select last_value, is_called from {name}".encode()).fetchone()  # noqa: S608 - quoted
    assert at is not None
    current = int(at[0]) + (step if at[1] else 0)
    wanted = [current] + ([] if source_next is None else [source_next])
    if use["numeric"]:
        edge = "max" if step > 0 else "min"
        sql = f"select {edge}({identifier(use['column'])})::numeric from {qualified(table)}"  # noqa: S608 - quoted
        found = connection.execute(sql.encode()).fetchone()
        wanted += [int(found[0]) + step] if found and found[0] is not None else []
    following = furthest(wanted)
    if following == current:
        return
    bounded = min(max(following, int(use["least"])), int(use["greatest"]))
    connection.execute("select setval(%s::regclass, %s, %s)", [name, bounded, bounded != following])


def _oid(connection: Connection, name: TableName) -> int | None:
    found = connection.execute("select to_regclass(%s)::oid", [qualified(name)]).fetchone()
    return found[0] if found else None


def has_rows(connection: Connection, name: TableName) -> bool:
    sql = f"select exists (select from {qualified(name)})"  # noqa: S608 - quoted
    return connection.execute(sql.encode()).fetchone() == (True,)
