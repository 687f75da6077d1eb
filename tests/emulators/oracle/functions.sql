-- Oracle's functions and tables of the stand-in's own, in the schema SYS. What the stand-in notes itself is in small
-- letters, out of reach of Oracle's names.
create schema "SYS";
grant usage on schema "SYS" to public;
set search_path to "SYS", pg_catalog;
set check_function_bodies to off;

create domain timestamp9 as text collate "C";  -- a TIMESTAMP of more than six digits, which PostgreSQL has not
create table cols (
  owner text, tab text, col text, data_type text, data_length int, data_precision int, data_scale int, char_length int,
  char_used text, data_default text, is_virtual bool, hidden bool, identity text, on_null bool, sequence text);
create table checks (owner text, tab text, name text, condition text);
create table expressions (owner text, index text, position int, expression text);
create table index_kinds (owner text, index text, kind text);
create table table_kinds (owner text, tab text, iot bool, partitioned bool, temporary bool, movement bool);
create table sources (owner text, name text, type text, line int, text text);
create table triggers (owner text, name text, table_owner text, tab text, kind text, event text, body text);
create table view_texts (owner text, name text, text text);
create table sequences (owner text, name text, cycles bool, ordered bool, cache bigint, low numeric, high numeric);
create table users (name text primary key, password text, dba bool default false);
create table system_privileges (grantee text, privilege text, primary key (grantee, privilege));
create table object_privileges (grantee text, owner text, object text, privilege text, grantor text,
  primary key (grantee, owner, object, privilege));
create table log_groups (owner text, name text, tab text, kind text, always text);
create table policies (owner text, tab text, name text);
create table sessions (sid int primary key, serial int, username text, program text, module text, action text,
  client_identifier text, backend int, status text default 'INACTIVE', logon timestamp default now());
create table database_facts (dbid bigint, name text, log_mode text, minimal text, resetlogs_scn numeric,
  resetlogs_time timestamp, role text, opened text, force_logging text, cdb text);
insert into database_facts values (1718281828, 'STAND', 'ARCHIVELOG', 'NO', 1, '2026-01-01', 'PRIMARY', 'READ WRITE',
  'NO', 'NO');
create table nls (parameter text, value text);
insert into nls values ('NLS_CHARACTERSET', 'AL32UTF8'), ('NLS_NCHAR_CHARACTERSET', 'AL16UTF16'),
  ('NLS_LENGTH_SEMANTICS', 'BYTE'), ('NLS_SORT', 'BINARY'), ('NLS_COMP', 'BINARY'), ('NLS_RDBMS_VERSION', '19.0.0.0.0');

create function ora_sysdate() returns timestamp(0) language sql stable as 'select clock_timestamp()::timestamp(0)';
create function ora_systimestamp() returns timestamptz language sql stable as 'select clock_timestamp()';
create function ora_user() returns text language sql stable as $$select current_setting('stand.me', true)$$;
create function me() returns text language sql stable as $$select current_setting('stand.me', true)$$;
create function is_dba() returns bool language sql stable security definer as
  $$select coalesce((select dba from users where name = current_setting('stand.me', true)), false)$$;
create function has_system(wanted text) returns bool language sql stable security definer as
  $$select exists (select from system_privileges where grantee = current_setting('stand.me') and privilege = wanted)$$;
create function has_object(o text, t text, wanted text) returns bool language sql stable security definer as
  $$select exists (select from object_privileges where grantee in (current_setting('stand.me'), 'PUBLIC')
    and owner = o and object = t and (wanted is null or privilege = wanted))$$;
create function sees(o text, t text) returns bool language sql stable as
  $$select o = me() or is_dba() or has_object(o, t, null) or has_system('SELECT ANY TABLE')$$;

create function base64(n bigint, digits int) returns text language sql immutable as
  $$select string_agg(substr('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
      ((n >> (6 * place)) & 63)::int + 1, 1), '' order by place desc) from generate_series(0, digits - 1) place$$;
create function unbase64(t text) returns bigint language plpgsql immutable as $$
  declare n bigint := 0; begin
    for i in 1..length(t) loop
      n := n * 64 + strpos('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', substr(t, i, 1)) - 1;
    end loop;
    return n; end $$;
create function ora_rowidtochar(o oid, t tid) returns text language sql immutable as
  $$select base64(o::bigint, 6) || 'AAB' || base64(split_part(trim('()' from t::text), ',', 1)::bigint, 6)
    || base64(split_part(trim('()' from t::text), ',', 2)::bigint, 3)$$;
create function ora_rowidtochar(t tid) returns text language sql immutable as
  $$select ora_rowidtochar(0::oid, t)$$;
create function ora_chartorowid(t text) returns tid language plpgsql immutable as $$
  begin
    if t !~ '^[A-Za-z0-9+/]{18}$' then raise 'invalid ROWID' using errcode = 'OR410'; end if;
    return ('(' || unbase64(substr(t, 10, 6)) || ',' || unbase64(substr(t, 16, 3)) || ')')::tid;
  end $$;

-- TM9: all digits, and none in front of a point that stands for zero; with an exponent beyond 64 characters
create function ora_to_char(n numeric, f text) returns text language plpgsql immutable as $$
  declare t text; p int; d text; begin
    if n is null then return null; end if;
    if upper(f) not in ('TM9', 'TM') then return trim(pg_catalog.to_char(n, f)); end if;
    t := trim_scale(n)::text;
    t := regexp_replace(t, '^(-?)0\.', '\1.');
    if length(t) > 64 then
      d := rtrim(replace(ltrim(t, '-'), '.', ''), '0');
      p := length(split_part(ltrim(t, '-'), '.', 1)) - 1 - (length(d) - length(ltrim(d, '0')));
      d := ltrim(d, '0');
      t := case when n < 0 then '-' else '' end || left(d, 1) || case when length(d) > 1 then '.' || substr(d, 2) else '' end
        || 'E' || case when p < 0 then '-' else '+' end || abs(p);
    end if;
    return t; end $$;
create function ora_to_char(n numeric) returns text language sql immutable as $$select ora_to_char(n, 'TM9')$$;
create function ora_to_char(n double precision, f text) returns text language sql immutable as $$select n::text$$;
create function ora_to_char(t timestamp, f text) returns text language sql immutable as
  $$select case when f ~ 'FF[789]' then ora_to_char(to_char(t, 'YYYY-MM-DD HH24:MI:SS.US')::timestamp9, f)
    else pg_catalog.to_char(t, regexp_replace(replace(f, 'SYYYY', case when t < '0001-01-01' then '-YYYY' else ' YYYY' end),
      'FF$', 'FF6')) end$$;
create function ora_to_char(t timestamptz, f text) returns text language sql immutable as
  $$select ora_to_char(t at time zone 'UTC', f)$$;
create function ora_to_char(t timestamp9, f text) returns text language sql immutable as
  $$select pg_catalog.to_char(split_part(t, '.', 1)::timestamp,
      regexp_replace(replace(f, 'SYYYY', case when left(t, 1) = '-' then '-YYYY' else ' YYYY' end), 'FF[0-9]?', ''))
    || substr(rpad(split_part(t, '.', 2), 9, '0'), 1, coalesce(substring(f from 'FF([0-9])')::int, 9))$$;
create function ora_to_char(t interval) returns text language sql immutable as
  $$select case when extract(month from t) <> 0 or extract(year from t) <> 0
    then case when t < '0' then '-' else '+' end || lpad(abs(extract(year from t))::int::text, 2, '0') || '-'
      || lpad(abs(extract(month from t))::int::text, 2, '0')
    else case when t < '0' then '-' else '+' end || lpad((abs(extract(epoch from t)) / 86400)::numeric::bigint::text, 2, '0')
      || ' ' || pg_catalog.to_char(make_interval(secs => (abs(extract(epoch from t))::numeric % 86400)::double precision),
        'HH24:MI:SS.US') end$$;
create function ora_to_char(t text) returns text language sql immutable as 'select t';
create function ora_to_number(t text) returns numeric language sql immutable as 'select t::numeric';
create function ora_to_number(t text, f text) returns numeric language sql immutable as
  $$select case when f ~ '^X+$' then ('x' || lpad(lower(t), 16, '0'))::bit(64)::bigint::numeric else t::numeric end$$;
create function ora_to_date(t text, f text) returns timestamp(0) language sql immutable as
  $$select to_timestamp(t, f)::timestamp(0)$$;
create function ora_to_timestamp(t text, f text) returns timestamp language sql immutable as
  $$select to_timestamp(t, f)::timestamp$$;
create function ora_to_clob(t text) returns text language sql immutable as 'select t';
create function ora_empty_clob() returns text language sql immutable as $$select ''$$;
create function ora_substr(t text, a int, n int) returns text language sql immutable as
  $$select nullif(substr(t, case when a < 0 then length(t) + a + 1 else greatest(a, 1) end, n), '')$$;
create function ora_substr(t text, a int) returns text language sql immutable as
  $$select nullif(substr(t, case when a < 0 then length(t) + a + 1 else greatest(a, 1) end), '')$$;
create function ora_instr(t text, s text) returns int language sql immutable as 'select strpos(t, s)';
create function ora_mod(a numeric, b numeric) returns numeric language sql immutable as
  'select case when b = 0 then a else mod(a, b) end';
create function ora_lpad(t text, n int, s text) returns text language sql immutable as 'select lpad(t, n, s)';
create function ora_lpad(t numeric, n int, s text) returns text language sql immutable as
  'select lpad(ora_to_char(t), n, s)';
create function ora_trunc(n numeric) returns numeric language sql immutable as 'select trunc(n)';
create function ora_trunc(t timestamp) returns timestamp(0) language sql immutable as
  $$select date_trunc('day', t)::timestamp(0)$$;
create function ora_rawtohex(b bytea) returns text language sql immutable as $$select upper(encode(b, 'hex'))$$;
create function ora_hextoraw(t text) returns bytea language sql immutable as $$select decode(t, 'hex')$$;
create function ora_standard_hash(t text, kind text) returns bytea language sql immutable as
  $$select sha256(convert_to(coalesce(t, ''), 'UTF8'))$$;
create function ora_lengthb(t text) returns int language sql immutable as 'select octet_length(t)';
create function ora_sys_extract_utc(t timestamptz) returns timestamp language sql immutable as
  $$select t at time zone 'UTC'$$;
create function ora_sys_context(space text, key text) returns text language sql stable as
  $$select case upper(key) when 'SESSION_USER' then me() when 'CURRENT_SCHEMA' then me() when 'CON_NAME' then 'STAND'
    when 'SID' then current_setting('stand.sid', true) when 'CDB_NAME' then null when 'SERVER_HOST' then 'stand' end$$;
create function sys_guid() returns bytea language sql volatile as $$select uuid_send(gen_random_uuid())$$;
create function get_system_change_number() returns numeric language sql stable as
  $$select current_setting('stand.scn')::numeric$$;
