"""What stands beside tables on a PostgreSQL server is found by name, with definitions that its own client takes."""

from __future__ import annotations

from contextlib import closing

from tests.servers.postgres import Postgres
from tests.unit.postgres.test_schema import database, source_of
from whimbrel.model.names import TableName
from whimbrel.model.objects import Trigger, View

BESIDE = """
create table public.orders (id int primary key, n int);
create table public.other (id int primary key);
create view public.big as select id from public.orders where n > 100;
create schema reports;
create view reports.all_orders as select o.id from public.orders o join public.big using (id);
create view reports.unrelated as select 1 as one;
create materialized view public.kept as select count(*) from public.other;
create function public.twice(n int) returns int language sql as 'select n * 2';
create function public.twice(n text) returns text language sql as 'select n || n';
create procedure public.tidy() language plpgsql as $$begin delete from public.orders; end$$;
create aggregate public.total(int) (sfunc = int4pl, stype = int, initcond = '0');
create function public.stamp() returns trigger language plpgsql as $$begin return new; end$$;
create trigger stamped before update on public.orders for each row execute function public.stamp();
create trigger elsewhere before update on public.other for each row execute function public.stamp();
create rule quiet as on delete to public.orders do instead nothing;
create extension pg_trgm;
"""


def test_what_stands_beside_tables(server: Postgres) -> None:
    name = database(server, BESIDE)
    orders = TableName("public", "orders")
    with closing(source_of(server, name)) as source:
        found = source.objects([orders])
    kinds = {(o.kind, str(o.name)) for o in found}
    assert kinds == {
        ("view", "public.big"),
        ("view", "reports.all_orders"),
        ("materialized view", "public.kept"),
        ("function", "public.twice(n integer)"),
        ("function", "public.twice(n text)"),
        ("function", "public.stamp()"),
        ("procedure", "public.tidy()"),
        ("aggregate", "public.total(integer)"),
        ("trigger", "public.stamped"),
        ("rule", "public.quiet"),
    }
    reports = next(o for o in found if o.name.schema == "reports")
    assert isinstance(reports, View)
    assert reports.depends == (TableName("public", "big"), orders)
    assert all(o.table == orders for o in found if isinstance(o, Trigger))
    copy = database(server, "create table public.orders (id int primary key, n int); create schema reports")
    again = [o for o in found if o.kind not in ("aggregate", "materialized view")]
    order = {"view": 0, "function": 1, "procedure": 2}
    for one in sorted(again, key=lambda o: (order.get(o.kind, 3), str(o.name))):
        assert one.text is not None
        server.psql(one.text, copy)
    assert server.psql("select count(*) from pg_views where schemaname in ('public', 'reports')", copy) == "2"
