"""Views, routines, triggers and rules beside tables, from PostgreSQL's catalog; not those of extensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from whimbrel.connectors.postgres.connection import qualified
from whimbrel.connectors.postgres.source.expressions import DIALECT
from whimbrel.connectors.postgres.source.reflection import Connection, rows
from whimbrel.connectors.postgres.source.schema import unqualified_names_off
from whimbrel.model.names import TableName
from whimbrel.model.objects import Routine, SchemaObject, Trigger, View

_VIEWS = """
with wanted as (
  select c.oid from unnest(%(schemas)s::text[], %(tables)s::text[]) as w(schema, name)
    join pg_namespace n on n.nspname = w.schema join pg_class c on c.relnamespace = n.oid and c.relname = w.name
), reads as (
  select distinct r.ev_class as view, d.refobjid as read
    from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
   where d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class and r.rulename = '_RETURN'
)
select n.nspname as schema, c.relname as name, c.relkind = 'm' as materialized, pg_get_viewdef(c.oid) as query,
       array(select array[rn.nspname::text, rc.relname::text]
               from reads x join pg_class rc on rc.oid = x.read join pg_namespace rn on rn.oid = rc.relnamespace
              where x.view = c.oid order by 1) as reads
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('v', 'm') and c.relpersistence <> 't'
   and (n.nspname = any(%(schemas)s) or exists (select from reads x join wanted w on w.oid = x.read
                                                 where x.view = c.oid))
   and n.nspname not in ('pg_catalog', 'information_schema')
   and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                                             and d.deptype = 'e')
 order by 1, 2
"""

_ROUTINES = """
select n.nspname as schema, p.proname as name, p.prokind::text as kind, l.lanname as language,
       pg_get_function_identity_arguments(p.oid) as arguments,
       case when p.prokind <> 'a' then pg_get_functiondef(p.oid) end as definition
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
 where n.nspname = any(%(schemas)s)
   and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid
                                             and d.deptype in ('e', 'i'))
 order by 1, 2, 5
"""

_TRIGGERS = """
with wanted as (
  select c.oid from unnest(%(schemas)s::text[], %(tables)s::text[]) as w(schema, name)
    join pg_namespace n on n.nspname = w.schema join pg_class c on c.relnamespace = n.oid and c.relname = w.name
)
select n.nspname as schema, c.relname as relation, t.tgname as name, 'trigger' as kind,
       pg_get_triggerdef(t.oid) as definition
  from wanted w join pg_class c on c.oid = w.oid join pg_namespace n on n.oid = c.relnamespace
  join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal
union all
select n.nspname, c.relname, r.rulename, 'rule', pg_get_ruledef(r.oid)
  from wanted w join pg_class c on c.oid = w.oid join pg_namespace n on n.oid = c.relnamespace
  join pg_rewrite r on r.ev_class = c.oid and r.rulename <> '_RETURN'
 order by 1, 2, 3
"""

_KINDS: Final[dict[str, Literal["procedure", "aggregate"]]] = {"p": "procedure", "a": "aggregate"}


def objects(connection: Connection, tables: Sequence[TableName]) -> tuple[SchemaObject, ...]:
    """See ``protocols.Source.objects``. Every account may read these definitions."""
    asked = {"schemas": [t.schema for t in tables], "tables": [t.table for t in tables]}
    with unqualified_names_off(connection):
        return (*_views(connection, asked), *_routines(connection, asked), *_triggers(connection, asked))


def _views(connection: Connection, asked: dict[str, list[str]]) -> Iterator[View]:
    for r in rows(connection, _VIEWS, asked):
        name = TableName(r["schema"], r["name"])
        kind = "MATERIALIZED VIEW" if r["materialized"] else "VIEW"
        reads = tuple(TableName(schema, table) for schema, table in r["reads"])
        yield View(name, DIALECT, f"CREATE {kind} {qualified(name)} AS\n{r['query']}", r["materialized"], reads)


def _routines(connection: Connection, asked: dict[str, list[str]]) -> Iterator[Routine]:
    for r in rows(connection, _ROUTINES, asked):
        name = TableName(r["schema"], f"{r['name']}({r['arguments']})")
        yield Routine(name, DIALECT, r["definition"], r["language"], _KINDS.get(r["kind"], "function"))


def _triggers(connection: Connection, asked: dict[str, list[str]]) -> Iterator[Trigger]:
    for r in rows(connection, _TRIGGERS, asked):
        table = TableName(r["schema"], r["relation"])
        yield Trigger(TableName(r["schema"], r["name"]), DIALECT, r["definition"], table, r["kind"])
