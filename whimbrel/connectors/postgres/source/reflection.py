"""The catalog queries that schema.py assembles tables from. Each takes relation oids; names come back qualified."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

Connection = psycopg.Connection[tuple[Any, ...]]
Row = dict[str, Any]

RELATIONS = """
select n.nspname as schema, c.relname as name, c.relkind::text as kind, c.relispartition as partition,
       exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
         as extension
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = any(%s) and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'
 order by n.nspname, c.relname
"""

TABLES = """
with leaves as (
  select c.oid as relid, coalesce(p.relid::oid, c.oid) as leaf
    from pg_class c left join lateral pg_partition_tree(c.oid) p on c.relkind = 'p' and p.isleaf
   where c.oid = any(%(oids)s)
), sizes as (
  select l.relid, sum(pg_relation_size(l.leaf)) as main, sum(pg_table_size(l.leaf)) as bytes,
         sum(case when f.reltuples > 0 and f.relpages > 0
                  then f.reltuples / f.relpages * (pg_relation_size(l.leaf) / current_setting('block_size')::float8)
                  else pg_relation_size(l.leaf) / 100.0 end) as rows
    from leaves l join pg_class f on f.oid = l.leaf group by l.relid
)
select c.oid, c.relkind::text as kind, s.bytes::bigint, s.rows::bigint, obj_description(c.oid, 'pg_class') as comment,
       c.relpersistence = 'u' as unlogged,
       array(select h.inhrelid::regclass::text from pg_inherits h where h.inhparent = c.oid and c.relkind = 'r'
              order by 1) as heirs
  from pg_class c join sizes s on s.relid = c.oid
"""

FIND = """
select w.ordinal, c.oid, c.relkind::text as kind,
       has_schema_privilege(n.oid, 'USAGE') and has_any_column_privilege(c.oid, 'SELECT') as readable
  from unnest(%s::text[], %s::text[]) with ordinality as w(schema, name, ordinal)
  join pg_namespace n on n.nspname = w.schema
  join pg_class c on c.relnamespace = n.oid and c.relname = w.name and c.relkind in ('r', 'p')
 order by w.ordinal
"""

COLUMNS = """
select a.attrelid as relid, a.attnum, a.attname as name, a.atttypid as type, a.atttypmod as typmod,
       format_type(a.atttypid, a.atttypmod) as native, a.attnotnull as not_null, a.attidentity::text as identity,
       a.attgenerated::text as generated, pg_get_expr(d.adbin, d.adrelid) as expression,
       col_description(a.attrelid, a.attnum) as comment,
       case when a.attcollation <> t.typcollation then l.collation end as collation
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  left join lateral (
    select quote_ident(n.nspname) || '.' || quote_ident(co.collname) as collation
      from pg_collation co join pg_namespace n on n.oid = co.collnamespace where co.oid = a.attcollation) l on true
 where a.attrelid = any(%(oids)s) and a.attnum > 0 and not a.attisdropped
 order by a.attrelid, a.attnum
"""

TYPES = """
with recursive used(oid) as (
  select distinct atttypid from pg_attribute where attrelid = any(%(oids)s) and attnum > 0 and not attisdropped
  union
  select part.oid
    from used u join pg_type t on t.oid = u.oid
   cross join lateral (
      select t.typelem as oid where t.typcategory = 'A' and t.typelem <> 0
      union all select t.typbasetype where t.typtype = 'd'
      union all select a.atttypid from pg_attribute a
                 where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) part
)
select t.oid, n.nspname as schema, t.typname as name, t.typtype::text as kind, format_type(t.oid, null) as spelling,
       case when t.typcategory = 'A' then t.typelem else 0 end as element, t.typbasetype as base,
       t.typtypmod as base_typmod, format_type(t.typbasetype, t.typtypmod) as base_native, t.typnotnull as not_null,
       t.typdefault as "default",
       array(select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder) as labels,
       array(select array[k.conname::text, pg_get_constraintdef(k.oid)] from pg_constraint k
              where k.contypid = t.oid and k.contype = 'c' order by k.conname) as checks,
       case when t.typtype = 'c' and r.relkind = 'c' then
         array(select array[a.attname::text, format_type(a.atttypid, a.atttypmod)] from pg_attribute a
                where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped order by a.attnum)
       end as attributes,
       array(select a.atttypid from pg_attribute a
              where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) as attribute_types,
       x.extname as extension, xn.nspname as extension_schema
  from used u
  join pg_type t on t.oid = u.oid
  join pg_namespace n on n.oid = t.typnamespace
  left join pg_class r on r.oid = t.typrelid
  left join pg_depend d on d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
  left join pg_extension x on x.oid = d.refobjid
  left join pg_namespace xn on xn.oid = x.extnamespace
"""

CONSTRAINTS = """
select k.oid, k.conrelid as relid, k.conname as name, k.contype::text as kind, k.conindid as index,
       array(select a.attname::text from unnest(k.conkey) with ordinality as u(attnum, place)
               join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum order by u.place) as columns,
       pn.nspname as parent_schema, p.relname as parent,
       array(select a.attname::text from unnest(k.confkey) with ordinality as u(attnum, place)
               join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.attnum order by u.place)
         as parent_columns,
       k.confdeltype::text as on_delete, k.confupdtype::text as on_update, k.condeferrable as deferrable,
       k.condeferred as deferred, k.convalidated as validated, pg_get_constraintdef(k.oid) as definition,
       case when k.contype = 'c' then pg_get_expr(k.conbin, k.conrelid) end as expression
  from pg_constraint k
  left join pg_class p on p.oid = k.confrelid
  left join pg_namespace pn on pn.oid = p.relnamespace
 where k.conrelid = any(%(oids)s) and k.contype in ('p', 'u', 'f', 'c', 'x') and k.conparentid = 0
 order by k.conrelid, k.contype, k.conname
"""

INDEXES = """
select i.indexrelid as index, i.indrelid as relid, c.relname as name, i.indisunique as is_unique, am.amname as method,
       pg_get_indexdef(i.indexrelid) as definition,
       array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality as u(attnum, place)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
              where u.place <= i.indnkeyatts order by u.place) as columns,
       array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality as u(attnum, place)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
              where u.place > i.indnkeyatts order by u.place) as include,
       array(select (o & 1) = 1 from unnest(i.indoption::int2[]) as o) as descending,
       am.amname = 'btree' and i.indexprs is null and i.indpred is null and c.reloptions is null
         and not exists (select from unnest(i.indoption::int2[]) as o where o not in (0, 3))
         and not exists (select from unnest(i.indclass::oid[]) as o join pg_opclass q on q.oid = o
                          where not q.opcdefault)
         and not exists (select from unnest(i.indcollation::oid[], i.indkey::int2[]) as u(coll, attnum)
                           join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
                          where u.coll <> 0 and u.coll <> a.attcollation)
         and pg_get_indexdef(i.indexrelid) not like '%% NULLS NOT DISTINCT%%' as plain
  from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am am on am.oid = c.relam
 where i.indrelid = any(%(oids)s) and i.indisvalid and i.indislive
 order by i.indrelid, c.relname
"""

SEQUENCES = """
with uses as (
  select d.refobjid as relid, d.refobjsubid as attnum, d.objid as sequence, d.deptype = 'i' as identity, true as owned
    from pg_depend d
   where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = any(%(oids)s)
     and d.deptype in ('a', 'i') and d.refobjsubid > 0
  union all
  select f.adrelid, f.adnum, d.refobjid, false, false
    from pg_attrdef f
    join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid and d.refclassid = 'pg_class'::regclass
   where f.adrelid = any(%(oids)s) and d.deptype = 'n'
)
select u.relid, a.attname as "column", n.nspname as schema, c.relname as name, bool_or(u.identity) as identity,
       bool_or(u.owned) as owned, format_type(s.seqtypid, null) as type, s.seqstart as start,
       s.seqincrement as increment,
       s.seqmin as least, s.seqmax as greatest, s.seqcache as cache, s.seqcycle as cycle, c.oid,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) as spelling,
       has_sequence_privilege(c.oid, 'SELECT') as readable,
       a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype) as numeric
  from uses u
  join pg_class c on c.oid = u.sequence and c.relkind = 'S'
  join pg_sequence s on s.seqrelid = c.oid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = u.relid and a.attnum = u.attnum
 group by u.relid, u.attnum, a.attname, a.atttypid, n.nspname, c.relname, s.seqrelid, s.seqtypid, s.seqstart,
          s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle, c.oid
 order by u.relid, u.attnum
"""


def rows(connection: Connection, query: str, parameters: Any) -> list[Row]:
    """Run one of the queries above."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()
