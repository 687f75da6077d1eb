-- Oracle's catalogue over PostgreSQL's ("Database Reference", the columns that migrations ask for).
set search_path to "SYS", pg_catalog;

create view relations as
  select c.oid, n.nspname::text owner, c.relname::text name, c.relkind, c.reltuples, c.relpages, c.relfilenode
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in (select u.name from users u)
  or n.nspname = 'SYS';

create view "ALL_USERS" as select name "USERNAME", row_number() over (order by name) "USER_ID" from users;
create view "ALL_TABLES" as
  select r.owner "OWNER", r.name "TABLE_NAME", 'USERS' "TABLESPACE_NAME", 'VALID' "STATUS",
    case when r.reltuples < 0 then null else r.reltuples::numeric end "NUM_ROWS",
    case when r.reltuples < 0 then null else r.relpages::numeric end "BLOCKS",
    case when r.reltuples > 0 then (r.relpages * 8192.0 / r.reltuples)::numeric(10,0) else 0 end "AVG_ROW_LEN",
    case when coalesce(k.partitioned, false) then 'YES' else 'NO' end "PARTITIONED",
    case when k.iot then 'IOT' end "IOT_TYPE", null::text "IOT_NAME",
    case when coalesce(k.temporary, false) then 'Y' else 'N' end "TEMPORARY",
    'NO' "SECONDARY", 'NO' "NESTED", 'NO' "DROPPED", null::text "CLUSTER_NAME", 'NO' "EXTERNAL",
    case when k.movement then 'ENABLED' else 'DISABLED' end "ROW_MOVEMENT", 8::numeric "INI_TRANS"
  from relations r left join table_kinds k on k.owner = r.owner and k.tab = r.name
  where r.relkind = 'r' and r.owner <> 'SYS' and sees(r.owner, r.name);
create view "ALL_OBJECTS" as
  select r.owner "OWNER", r.name "OBJECT_NAME", r.oid::bigint::numeric "OBJECT_ID",
    case when r.relkind = 'r' then r.relfilenode::bigint::numeric end "DATA_OBJECT_ID",
    case r.relkind when 'r' then 'TABLE' when 'v' then 'VIEW' when 'i' then 'INDEX' when 'S' then 'SEQUENCE'
      when 'm' then 'MATERIALIZED VIEW' end "OBJECT_TYPE",
    'VALID' "STATUS", null::text "SUBOBJECT_NAME", '2026-01-01'::timestamp(0) "LAST_DDL_TIME", 'N' "GENERATED",
    'N' "SECONDARY"
  from relations r where r.relkind in ('r', 'v', 'i', 'S', 'm') and r.owner <> 'SYS' and sees(r.owner, r.name)
  union all
  select distinct owner, name, (1000000 + hashtext(owner || name || type) % 1000000)::numeric, null::numeric, type,
    'VALID', null, '2026-01-01'::timestamp(0), 'N', 'N' from sources where owner = me() or is_dba();
create view "ALL_TAB_COLS" as
  select r.owner "OWNER", r.name "TABLE_NAME", a.attname::text "COLUMN_NAME", coalesce(c.data_type, 'VARCHAR2') "DATA_TYPE",
    null::text "DATA_TYPE_OWNER", c.data_length::numeric "DATA_LENGTH", c.data_precision::numeric "DATA_PRECISION",
    c.data_scale::numeric "DATA_SCALE",
    case when a.attnotnull then 'N' else 'Y' end "NULLABLE",
    case when c.hidden then null else row_number() over (partition by a.attrelid, coalesce(c.hidden, false)
      order by a.attnum) end::numeric "COLUMN_ID",
    case when c.sequence is not null then format('"%s"."%s".nextval', c.owner, c.sequence) else c.data_default end "DATA_DEFAULT",
    c.char_length::numeric "CHAR_LENGTH", c.char_used "CHAR_USED",
    case when c.hidden then 'YES' else 'NO' end "HIDDEN_COLUMN",
    case when c.is_virtual then 'YES' else 'NO' end "VIRTUAL_COLUMN",
    row_number() over (partition by a.attrelid order by a.attnum)::numeric "INTERNAL_COLUMN_ID",
    row_number() over (partition by a.attrelid order by a.attnum)::numeric "SEGMENT_COLUMN_ID",
    'YES' "USER_GENERATED", case when c.on_null then 'YES' else 'NO' end "DEFAULT_ON_NULL",
    case when c.identity is not null then 'YES' else 'NO' end "IDENTITY_COLUMN",
    case when c.char_used is not null then 'CHAR_CS' end "CHARACTER_SET_NAME", 'USING_NLS_COMP' "COLLATION"
  from pg_attribute a join relations r on r.oid = a.attrelid
  left join cols c on c.owner = r.owner and c.tab = r.name and c.col = a.attname
  where a.attnum > 0 and not a.attisdropped and r.relkind in ('r', 'v') and sees(r.owner, r.name);
create view "ALL_TAB_COLUMNS" as select * from "ALL_TAB_COLS" where "HIDDEN_COLUMN" = 'NO';
create view "ALL_TAB_IDENTITY_COLS" as
  select owner "OWNER", tab "TABLE_NAME", col "COLUMN_NAME", identity "GENERATION_TYPE", sequence "SEQUENCE_NAME",
    'START WITH: 1' "IDENTITY_OPTIONS" from cols where identity is not null and sees(owner, tab);
create view "ALL_TAB_COMMENTS" as
  select owner "OWNER", name "TABLE_NAME", case relkind when 'v' then 'VIEW' else 'TABLE' end "TABLE_TYPE",
    obj_description(oid, 'pg_class') "COMMENTS" from relations where relkind in ('r', 'v') and sees(owner, name);
create view "ALL_COL_COMMENTS" as
  select r.owner "OWNER", r.name "TABLE_NAME", a.attname::text "COLUMN_NAME", col_description(r.oid, a.attnum) "COMMENTS"
  from relations r join pg_attribute a on a.attrelid = r.oid where a.attnum > 0 and not a.attisdropped
  and r.relkind in ('r', 'v') and sees(r.owner, r.name);
create view "ALL_CONSTRAINTS" as
  select r.owner "OWNER", k.conname::text "CONSTRAINT_NAME",
    case k.contype when 'p' then 'P' when 'u' then 'U' when 'f' then 'R' else 'C' end "CONSTRAINT_TYPE", r.name "TABLE_NAME",
    case when k.contype = 'n' then format('"%s" IS NOT NULL', (select attname from pg_attribute a
      where a.attrelid = k.conrelid and a.attnum = k.conkey[1])) else c.condition end "SEARCH_CONDITION",
    case when k.contype = 'n' then format('"%s" IS NOT NULL', (select attname from pg_attribute a
      where a.attrelid = k.conrelid and a.attnum = k.conkey[1])) else c.condition end "SEARCH_CONDITION_VC",
    p.owner "R_OWNER", (select pk.conname::text from pg_constraint pk where pk.conindid = k.conindid
      and pk.contype in ('p', 'u') and k.contype = 'f') "R_CONSTRAINT_NAME",
    case when k.contype = 'f' then case k.confdeltype when 'c' then 'CASCADE' when 'n' then 'SET NULL' else 'NO ACTION' end
      end "DELETE_RULE",
    'ENABLED' "STATUS", case when k.condeferrable then 'DEFERRABLE' else 'NOT DEFERRABLE' end "DEFERRABLE",
    case when k.condeferred then 'DEFERRED' else 'IMMEDIATE' end "DEFERRED", 'VALIDATED' "VALIDATED",
    case when k.conname like 'SYS\_C%' then 'GENERATED NAME' else 'USER NAME' end "GENERATED",
    case when k.contype in ('p', 'u') then k.conname::text end "INDEX_NAME", null::text "VIEW_RELATED"
  from pg_constraint k join relations r on r.oid = k.conrelid left join relations p on p.oid = k.confrelid
  left join checks c on c.owner = r.owner and c.tab = r.name and c.name = k.conname
  where (k.contype in ('p', 'u', 'f', 'c') or k.contype = 'n' and not exists (select from pg_constraint pk
    where pk.conrelid = k.conrelid and pk.contype = 'p' and k.conkey[1] = any(pk.conkey))) and sees(r.owner, r.name);
create view "ALL_CONS_COLUMNS" as
  select r.owner "OWNER", k.conname::text "CONSTRAINT_NAME", r.name "TABLE_NAME", a.attname::text "COLUMN_NAME",
    case when k.contype in ('c', 'n') then null else u.position end::numeric "POSITION"
  from pg_constraint k join relations r on r.oid = k.conrelid
  cross join lateral unnest(k.conkey) with ordinality u(number, position)
  join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.number where sees(r.owner, r.name);
create view index_parts as
  select r.owner, x.relname::text index_name, r.owner table_owner, r.name table_name, i.indisunique, u.position,
    a.attname::text column_name, (i.indoption[u.position - 1] & 1) = 1 descending, e.expression, i.indexrelid,
    coalesce(kind.kind, 'NORMAL') kind
  from pg_index i join pg_class x on x.oid = i.indexrelid join relations r on r.oid = i.indrelid
  cross join lateral unnest(i.indkey::int2[]) with ordinality u(number, position)
  left join pg_attribute a on a.attrelid = r.oid and a.attnum = u.number and u.number > 0
  left join expressions e on e.owner = r.owner and e.index = x.relname and e.position = u.position
  left join index_kinds kind on kind.owner = r.owner and kind.index = x.relname
  where r.relkind = 'r' and r.owner <> 'SYS' and sees(r.owner, r.name);
create view "ALL_INDEXES" as
  select owner "OWNER", index_name "INDEX_NAME",
    case when bool_or(column_name is null or descending) then 'FUNCTION-BASED ' else '' end || max(kind) "INDEX_TYPE",
    table_owner "TABLE_OWNER", table_name "TABLE_NAME", 'TABLE' "TABLE_TYPE",
    case when bool_or(indisunique) then 'UNIQUE' else 'NONUNIQUE' end "UNIQUENESS", 'VALID' "STATUS", 'NO' "PARTITIONED",
    'NO' "DROPPED", 'VISIBLE' "VISIBILITY", 'N' "GENERATED"
  from index_parts group by owner, index_name, table_owner, table_name;
create view "ALL_IND_COLUMNS" as
  select owner "INDEX_OWNER", index_name "INDEX_NAME", table_owner "TABLE_OWNER", table_name "TABLE_NAME",
    case when column_name is null or descending then 'SYS_NC' || lpad(position::text, 5, '0') || '$' else column_name end
      "COLUMN_NAME", position::numeric "COLUMN_POSITION", case when descending then 'DESC' else 'ASC' end "DESCEND"
  from index_parts;
create view "ALL_IND_EXPRESSIONS" as
  select owner "INDEX_OWNER", index_name "INDEX_NAME", table_owner "TABLE_OWNER", table_name "TABLE_NAME",
    coalesce(expression, format('"%s"', column_name)) "COLUMN_EXPRESSION", position::numeric "COLUMN_POSITION"
  from index_parts where column_name is null or descending;
create view "ALL_SEQUENCES" as
  select r.owner "SEQUENCE_OWNER", r.name "SEQUENCE_NAME", s.seqmin::numeric "MIN_VALUE",
    coalesce(q.high, s.seqmax::numeric) "MAX_VALUE", s.seqincrement::numeric "INCREMENT_BY",
    case when s.seqcycle then 'Y' else 'N' end "CYCLE_FLAG", 'N' "ORDER_FLAG", coalesce(q.cache, 20)::numeric "CACHE_SIZE",
    coalesce(pg_sequence_last_value(r.oid) + s.seqincrement, s.seqstart)::numeric "LAST_NUMBER"
  from pg_sequence s join relations r on r.oid = s.seqrelid
  left join sequences q on q.owner = r.owner and q.name = r.name where r.owner = me() or is_dba()
  or has_object(r.owner, r.name, null);
create view "ALL_VIEWS" as
  select owner "OWNER", name "VIEW_NAME", length(text)::numeric "TEXT_LENGTH", text "TEXT", text "TEXT_VC"
  from view_texts where sees(owner, name);
create view "ALL_POLICIES" as select owner "OBJECT_OWNER", tab "OBJECT_NAME", name "POLICY_NAME", 'YES' "SEL",
  'YES' "ENABLE" from policies where sees(owner, tab);
create view "ALL_MVIEWS" as select null::text "OWNER", null::text "MVIEW_NAME", null::text "QUERY" where false;
create view "ALL_SOURCE" as
  select owner "OWNER", name "NAME", type "TYPE", line::numeric "LINE", text "TEXT" from sources
  where owner = me() or is_dba();
create view "ALL_TRIGGERS" as
  select owner "OWNER", name "TRIGGER_NAME", kind "TRIGGER_TYPE", event "TRIGGERING_EVENT", table_owner "TABLE_OWNER",
    tab "TABLE_NAME", 'ENABLED' "STATUS", body "TRIGGER_BODY", name "DESCRIPTION" from triggers
  where owner = me() or is_dba();
create view "ALL_PROCEDURES" as
  select distinct owner "OWNER", name "OBJECT_NAME", null::text "PROCEDURE_NAME", type "OBJECT_TYPE" from sources
  where type in ('PROCEDURE', 'FUNCTION', 'PACKAGE') and (owner = me() or is_dba());
create view "ALL_PART_TABLES" as
  select owner "OWNER", tab "TABLE_NAME", 'RANGE' "PARTITIONING_TYPE", 2::numeric "PARTITION_COUNT", null::text "INTERVAL"
  from table_kinds where partitioned and sees(owner, tab);
create view "ALL_LOBS" as
  select owner "OWNER", tab "TABLE_NAME", col "COLUMN_NAME", 'YES' "SECUREFILE" from cols
  where data_type in ('CLOB', 'NCLOB', 'BLOB') and sees(owner, tab);
create view "ALL_LOG_GROUPS" as
  select owner "OWNER", name "LOG_GROUP_NAME", tab "TABLE_NAME", kind "LOG_GROUP_TYPE", always "ALWAYS", 'USER NAME'
    "GENERATED" from log_groups where sees(owner, tab);
create view "ALL_TAB_PRIVS" as
  select grantor "GRANTOR", grantee "GRANTEE", owner "TABLE_SCHEMA", object "TABLE_NAME", privilege "PRIVILEGE",
    'NO' "GRANTABLE" from object_privileges where grantee in (me(), 'PUBLIC') or owner = me();
create view "SESSION_PRIVS" as select privilege "PRIVILEGE" from system_privileges where grantee = me()
  union select unnest(array['SELECT ANY TABLE', 'SELECT ANY DICTIONARY', 'FLASHBACK ANY TABLE', 'ALTER SYSTEM',
    'CREATE SESSION', 'LOGMINING']) where is_dba();
create view "SESSION_ROLES" as select 'DBA'::text "ROLE" where is_dba();
create view "NLS_DATABASE_PARAMETERS" as select parameter "PARAMETER", value "VALUE" from nls;
create view "NLS_SESSION_PARAMETERS" as select parameter "PARAMETER", value "VALUE" from nls;
create view "PRODUCT_COMPONENT_VERSION" as
  select 'Oracle Database 19c (stand-in)'::text "PRODUCT", '19.0.0.0.0'::text "VERSION",
    '19.28.0.0.0'::text "VERSION_FULL", 'Production'::text "STATUS";
create view "V$VERSION" as select 'Oracle Database 19c (stand-in)'::text "BANNER",
  'Oracle Database 19c (stand-in) Version 19.28.0.0.0'::text "BANNER_FULL";
create view "V$DATABASE" as
  select dbid::numeric "DBID", name "NAME", log_mode "LOG_MODE", minimal "SUPPLEMENTAL_LOG_DATA_MIN",
    minimal "SUPPLEMENTAL_LOG_DATA_PK", 'NO' "SUPPLEMENTAL_LOG_DATA_ALL", resetlogs_scn "RESETLOGS_CHANGE#",
    resetlogs_time::timestamp(0) "RESETLOGS_TIME", role "DATABASE_ROLE", opened "OPEN_MODE", force_logging "FORCE_LOGGING",
    cdb "CDB", current_setting('stand.scn', true)::numeric "CURRENT_SCN", 1::numeric "RESETLOGS_ID"
  from database_facts;
create view "V$INSTANCE" as select 'stand'::text "INSTANCE_NAME", 'stand'::text "HOST_NAME", '19.0.0.0.0'::text "VERSION",
  1::numeric "INSTANCE_NUMBER", 1::numeric "THREAD#", 'NO'::text "PARALLEL";
create view "V$PARAMETER" as select 'undo_retention'::text "NAME", '900'::text "VALUE";
create view "V$TRANSACTION" as select null::numeric "START_SCN", null::bytea "XID" where false;
create view "V$SESSION" as
  select s.sid::numeric "SID", s.serial::numeric "SERIAL#", s.username "USERNAME", s.program "PROGRAM", s.module "MODULE",
    s.action "ACTION", s.client_identifier "CLIENT_IDENTIFIER", s.status "STATUS", 'USER' "TYPE", 1::numeric "INST_ID",
    s.logon::timestamp(0) "LOGON_TIME" from sessions s;
grant select on all tables in schema "SYS" to public;
revoke select on "V$DATABASE", "V$INSTANCE", "V$PARAMETER", "V$TRANSACTION", "V$SESSION" from public;
revoke select on cols, checks, users, system_privileges, object_privileges, sessions, database_facts from public;
grant select on cols, checks, system_privileges, object_privileges to public;
