"""A shop in two databases, loaded natively into each, so that what validation finds is known beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.servers.mysql import MySQL
from tests.servers.postgres import Postgres
from whimbrel.connectors.registry import engine
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.progress import ChangeProgress, Earlier, TableChangeTotals, TableProgress
from whimbrel.pipeline.pair import open_pair

Server = Postgres | MySQL
ITEMS, TAGS, EVENTS = 9000, 5000, 5000

DEFINITIONS = {
    "postgres": """
create table shop.items (id int primary key, name varchar(60), note text, price numeric(12,2), at timestamp(6),
  moment timestamptz, doc jsonb, data bytea, flag boolean, ratio double precision);
create table shop.tags (tag varchar(40) primary key, uses int);
create table shop.events (kind varchar(20), n int, note text, doc jsonb);
alter table shop.events replica identity full;
create table shop.parts (a int, b bigint, note varchar(20), primary key (a, b));
""",
    "mysql": """
create table shop.items (id int primary key, name varchar(60), note text, price decimal(12,2), at datetime(6),
  moment timestamp(6) null, doc json, data varbinary(40), flag tinyint(1), ratio double);
create table shop.tags (tag varchar(40) primary key, uses int);
create table shop.events (kind varchar(20), n int, note text, doc json);
create table shop.parts (a int, b bigint, note varchar(20), primary key (a, b));
""",
}
TABLES = tuple(TableName("shop", t) for t in ("items", "tags", "events", "parts"))


class QuietControl:
    """A Control that nobody listens to; what was logged and shown is kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shown: list[TableProgress] = []

    def check(self) -> None: ...

    def pause_wanted(self) -> bool:
        return False

    def followed(self) -> bool:
        return True

    def at_rest(self, resting: bool) -> None: ...

    def phase(self, name: str) -> None: ...

    def earlier(self) -> Earlier:
        return Earlier()

    def all_tables(self, progress: Sequence[TableProgress]) -> None:
        self.shown += progress

    def table(self, progress: TableProgress) -> None:
        self.shown.append(progress)

    def change_totals(self, totals: TableChangeTotals) -> None: ...

    def change(self, progress: ChangeProgress) -> None: ...

    def retained(self, bytes: int) -> None: ...

    def waits_for(self, error: WhimbrelError) -> None: ...

    def log(self, role: str, line: str) -> None:
        self.lines.append(line)


def kind_of(server: Server) -> str:
    return "postgres" if isinstance(server, Postgres) else server.flavor


def run(server: Server, sql: str) -> str:
    """Through the server's own client, in UTC; no double quotes and no backslashes in ``sql``."""
    if isinstance(server, Postgres):
        return server.psql("set timezone to 'UTC';" + sql, "validation")
    return server.client("SET time_zone = '+00:00';" + sql)


def empty(server: Server) -> None:
    """A database for the shop, without tables."""
    if isinstance(server, Postgres):
        if server.psql("select 1 from pg_database where datname = 'validation'") != "1":
            server.create_database("validation")
        server.psql("drop schema if exists whimbrel cascade; drop schema if exists shop cascade", "validation")
        server.psql("create schema shop", "validation")
    else:
        server.client("DROP DATABASE IF EXISTS whimbrel")
        server.create_database("shop")


def define(server: Server) -> None:
    run(server, DEFINITIONS["postgres" if isinstance(server, Postgres) else "mysql"])


def fill(server: Server) -> None:
    postgres = isinstance(server, Postgres)

    def values(rows: Iterator[str], table: str) -> str:
        return f"insert into shop.{table} values {','.join(rows)};"

    run(server, values((_item(n, postgres) for n in range(ITEMS)), "items"))
    run(server, values((f"('Tag {'éß日'[n % 3]} {n}', {n})" for n in range(TAGS)), "tags"))
    run(server, values((_event(n, postgres) for n in range(EVENTS)), "events"))
    run(server, values((f"({n % 70}, {n * 10_000_000_000}, 'p')" for n in range(5000)), "parts"))


def _event(n: int, postgres: bool) -> str:
    document = f'{{"a": {n % 9}, "b": 1.0}}' if postgres else f'{{"b":1,"a":{n % 9}}}'
    return f"('kind {n % 50}', {n % 500}, null, '{document}')"


def _item(n: int, postgres: bool) -> str:
    document = f'{{"n": {n}, "tags": ["a", null, 1.5], "deep": {{"x": {n / 4}, "big": {n}e3}}}}'
    if not postgres:  # another order, other spaces, other numerals
        document = f'{{"deep":{{"big":{n * 1000},"x":{n / 4}}},"tags":["a",null,1.50],"n":{n}}}'
    note = "''" if n % 7 == 0 else "null" if n % 7 == 1 else f"'note {n} | N 🐦'"
    data = f"'\\x{n:08x}00'" if postgres else f"X'{n:08x}00'"
    moment = f"'2026-03-29 00:30:{n % 60:02d}.{n % 1000:03d}'"
    ratio = f"{n / 7!r}" if n % 11 else "1e23"
    return (
        f"({n}, 'name {n}', {note}, {n}.50, '2026-11-23 13:00:{n % 60:02d}.{n % 1000:03d}', {moment}, '{document}',"
        f" {data}, '{n % 2}', {ratio})"
    )


def endpoint(server: Server, name: str) -> Endpoint:
    parameters: dict[str, Any] = (
        dict(server.parameters("validation")) if isinstance(server, Postgres) else dict(server.parameters)
    )
    kind = kind_of(server)
    return Endpoint(name, kind, engine(kind).parse(kind, parameters))


def job(source: Server, target: Server, folder: Path, tables: Sequence[TableName] = TABLES) -> Job:
    return Job("m", "validate-test", endpoint(source, "s"), endpoint(target, "t"), tuple(tables), folder)


def make_target(work: Job, target: Server) -> None:
    """The tables as the target renders them from the source."""
    with open_pair(work) as pair:
        rendered = pair.target.render(pair.tables, pair.schemas, work.source.type)
    for statement in rendered.tables:
        if isinstance(target, Postgres):
            target.psql(statement, "validation")
        else:
            target.client(statement)
