"""MySQL and MariaDB as one end of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tests.engines.side import Side
from tests.servers.mysql import MySQL
from whimbrel.model.job import Endpoint

TABLES = """
create database if not exists suite character set utf8mb4;
use suite;
create table parent (id int primary key, name text not null, email varchar(80) not null unique);
create table item (
  id bigint auto_increment primary key, parent_id int, small smallint, amount decimal(20,6), title varchar(200),
  body longtext, flag tinyint(1), score double, ratio float, born date, noon time(6), made datetime(6),
  seen timestamp(6) null, doc json, raw longblob, uid char(36), bits bit(8),
  key item_title (title), foreign key (parent_id) references parent(id));
create table twokeys (a int, b varchar(20) character set utf8mb4 collate utf8mb4_bin, v text, primary key (a, b));
create table nokey (a int, b text);
"""

FILL = r"""
use suite;
set sql_mode='', time_zone='+00:00', cte_max_recursion_depth=10000000, max_recursive_iterations=10000000;
insert into parent with recursive s(n) as (select 1 union all select n + 1 from s where n < 50)
  select n, concat('parent ', n), concat('p', n, '@example.org') from s;
insert into item (parent_id, small, amount, title, body, flag, score, ratio, born, noon, made, seen, doc, raw, uid,
  bits)
with recursive s(n) as (select 1 union all select n + 1 from s where n < :rows)
select 1 + n % 50, n % 300 - 150, n * 1.25, concat('title ', n),
  case n % 7 when 0 then null when 1 then '' when 2 then 'tab\there\nline\r\\back' when 3 then 'ünïcödé 🐦 漢字'
    when 4 then 'quote '' double " ' else repeat('x', n % 900) end,
  n % 2 = 0, n / 3.0e0, n / 8.0e0, date_add('2000-01-01', interval n day), sec_to_time(1.5 + n),
  date_add('2001-02-03 04:05:06.789', interval n minute), date_add('2020-06-01 12:00:00.25', interval n hour),
  case when n % 5 = 0 then null else json_object('n', n, 'q', 'a"b', 'deep', json_array(1, null, true)) end,
  case when n % 6 = 0 then null else unhex(concat(lpad(hex(n), 8, '0'), '00ff0a5c09')) end,
  concat('00000000-0000-4000-8000-', lpad(n, 12, '0')), n % 256
from s;
insert into twokeys with recursive s(n) as (select 1 union all select n + 1 from s where n < 400)
  select n % 40, concat('k', n), concat('v', n) from s;
insert into nokey with recursive s(n) as (select 1 union all select n + 1 from s where n < 60)
  select n % 10, case when n % 3 = 0 then null else 'same' end from s;
analyze table parent, item, twokeys, nokey;
"""

ROWS = {
    "parent": "select concat_ws('|', id, cast(name as binary), cast(email as binary)) from {0}.parent order by id",
    "item": """select concat_ws('|', id, coalesce(parent_id, '-'), coalesce(small, '-'), coalesce(amount, '-'),
        cast(coalesce(title, '-') as binary), coalesce(hex(convert(body using utf8mb4)), '-'), coalesce(flag + 0, '-'),
        coalesce(cast(cast(score as decimal(30,6)) as char), '-'),
        coalesce(cast(cast(ratio as decimal(30,3)) as char), '-'),
        coalesce(born, '-'), coalesce(time_format(noon, '%H:%i:%s.%f'), '-'),
        coalesce(date_format(made, '%Y-%m-%d %H:%i:%s.%f'), '-'),
        coalesce(date_format(seen, '%Y-%m-%d %H:%i:%s.%f'), '-'),
        coalesce(json_value(doc, '$.n'), '-'), coalesce(json_value(doc, '$.q'), '-'),
        coalesce(json_extract(doc, '$.deep[2]'), '-'), coalesce(hex(raw), '-'),
        cast(coalesce(cast(uid as char), '-') as binary),
        coalesce(lpad(bin(bits + 0), 8, '0'), '-'))
        from {0}.item order by id""",
    "twokeys": """select concat_ws('|', a, cast(b as binary), cast(coalesce(v, '-') as binary))
        from {0}.twokeys order by a, cast(b as binary)""",
    "nokey": "select concat_ws('|', coalesce(a, '-'), cast(coalesce(b, '-') as binary)) from {0}.nokey order by 1",
}


class MySQLSide(Side):
    """The whole server; a schema is a database there."""

    server: MySQL
    family: ClassVar[str] = "mysql"
    tables: ClassVar[str] = TABLES
    fill: ClassVar[str] = FILL

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(name, self.type, self.server.parameters)

    def run(self, sql: str) -> str:
        return self.server.client("set time_zone='+00:00';" + sql)

    def change(self, postgres: str, mysql: str | None = None) -> None:
        self.run(f"use {self.schema};\n{postgres if mysql is None else mysql}")

    def rows(self) -> dict[str, list[str]]:
        return {table: self.run(query.format(self.schema)).splitlines() for table, query in ROWS.items()}

    def make(self, rows: int) -> None:
        # MariaDB and MySQL each know only one of the two names of the limit on recursion.
        known, other = "max_recursive_iterations=10000000", "cte_max_recursion_depth=10000000"
        if self.type == "mysql":
            known, other = other, known
        fill = self.fill.replace(f", {other}", "").replace(f"{other}, ", "")
        self.run(self.tables + fill.replace(":rows", str(rows)))

    def lines(self, table: str, columns: Sequence[str]) -> list[str]:
        values = ", ".join(f"coalesce({column}, 'NULL')" for column in columns)
        return sorted(self.run(f"select concat_ws('|', {values}) from {self.schema}.{table}").splitlines())

    def drop_leftovers(self) -> None:
        self.server.client(f"drop database if exists {self.schema}; drop database if exists whimbrel")
