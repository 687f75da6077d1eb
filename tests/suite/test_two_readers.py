"""Two readers of one value: the load and the log bring the same into the target, for every type and character set.

Both halves of a table are written alike, one before the snapshot and one behind it; the target's client compares them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product, zip_longest
from pathlib import Path

import pytest

from tests.conftest import running_server
from tests.engines import SCHEMA, Side, side_of
from tests.pairs import first
from tests.servers.fleet import SERVERS, Fleet
from tests.suite.drawn import Drawn
from tests.suite.drawn_mysql import MYSQL
from tests.suite.drawn_postgres import POSTGRES
from tests.suite.running import Running, Watch, replicating
from tests.suite.world import World
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.schema import apply_schema, extract_schema
from whimbrel.pipeline.validation.repair import repair_data
from whimbrel.pipeline.validation.tables import validate_data

BEHIND = 1_000_000  # what is added to the id of a row when it is written again behind the snapshot
PAIRS = (("postgres15", "postgres18"), ("postgres18", "mysql"), ("mysql", "postgres18"), ("mariadb", "mariadb"))
OTHERS = (("mysql", "mysql"), ("mariadb", "postgres15"))  # with these each source has met a target of each family
FURTHER = (("postgres18", "mariadb"), ("mysql", "mariadb"), ("mariadb", "mysql"))
ZONES_POSTGRES = (
    "alter database {} set timezone = 'America/St_Johns'; alter role postgres set timezone = 'Asia/Kolkata';"
)
WRITER_POSTGRES = "set timezone = 'Europe/Berlin';"
# Europe/Berlin's changes of 2025, for servers that have no zones loaded
ZONE = """
delete from mysql.time_zone_name where time_zone_id = 4711; delete from mysql.time_zone where time_zone_id = 4711;
delete from mysql.time_zone_transition where time_zone_id = 4711;
delete from mysql.time_zone_transition_type where time_zone_id = 4711;
insert into mysql.time_zone (time_zone_id, use_leap_seconds) values (4711, 'N');
insert into mysql.time_zone_name (name, time_zone_id) values ('Test/Berlin', 4711);
insert into mysql.time_zone_transition_type (time_zone_id, transition_type_id, `offset`, is_dst, abbreviation)
  values (4711, 0, 3600, 0, 'CET'), (4711, 1, 7200, 1, 'CEST');
insert into mysql.time_zone_transition (time_zone_id, transition_time, transition_type_id)
  values (4711, 1743296400, 1), (4711, 1761440400, 0);
"""


@dataclass(frozen=True)
class Table:
    """A table of the comparison; ``rows`` are its VALUES, the id in front."""

    name: str
    columns: Sequence[Drawn]
    rows: Sequence[str]
    key: bool = True

    def ddl(self, postgres: bool) -> str:
        columns = ", ".join(f"{c.name} {c.type}" for c in self.columns)
        made = f"create table suite.{self.name} (id int not null{' primary key' if self.key else ''}, {columns});"
        return made + (f"alter table suite.{self.name} replica identity full;" if postgres and not self.key else "")

    def insert(self, postgres: bool) -> str:
        """The first half, in statements that no packet is too small for."""
        return "".join(f"insert into suite.{self.name} values {row};" for row in self.rows)

    def again(self) -> str:
        names = ", ".join(c.name for c in self.columns)
        return (
            f"insert into suite.{self.name} select id + {BEHIND}, {names} from suite.{self.name} where id < {BEHIND};"
        )


def shown(side: Side, table: Table) -> list[list[str]]:
    """Every row as the client shows it, bytes and texts in hex: its id, then its columns."""
    names = [c.name for c in table.columns]
    if side.is_postgres:
        values = [f"coalesce(encode(convert_to({n}::text, 'UTF8'), 'hex'), '~')" for n in names]
    else:
        types = dict(
            line.split("\t")
            for line in side.run(
                "select column_name, lower(data_type) from information_schema.columns"
                f" where table_schema = '{side.schema}' and table_name = '{table.name}'"
            ).splitlines()
        )
        values = [f"coalesce({_exact(n, types[n])}, '~')" for n in names]
    query = f"select concat_ws('|', id, {', '.join(values)}) from {side.schema}.{table.name} order by id"
    return [line.split("|") for line in side.run(query).splitlines()]


INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
PLAIN = (*INTEGERS, "decimal", "double", "date", "time", "datetime", "timestamp", "year", "inet4", "inet6", "uuid")
TEXTUAL = ("char", "text", "enum", "set")


def _exact(name: str, type: str) -> str:
    if type == "float":
        return f"({name} * 1e0)"
    if type == "bit":
        return f"({name} + 0)"
    if type == "json":
        return f"hex(cast({name} as char))"
    if type in PLAIN:
        return f"cast({name} as char)"
    # a character that its character set has twice may come back under its other code
    return f"hex(convert({name} using utf8mb4))" if any(part in type for part in TEXTUAL) else f"hex({name})"


@dataclass(frozen=True)
class Comparison(World):
    """A world whose tables are ``tables``."""

    tables: Sequence[Table] = ()

    def job(self, operation: str, *, threads: int = 2, rows_per_file: int = 200_000) -> Job:
        names = tuple(TableName(SCHEMA, t.name) for t in self.tables)
        return replace(super().job(operation, threads=threads, rows_per_file=rows_per_file), tables=names)

    def write(self, statements: str) -> None:
        """In a session of another zone than those of server, role and database."""
        if self.source.is_postgres:
            self.source.run(WRITER_POSTGRES + statements)
        else:
            self.source.run("set sql_mode = '', time_zone = 'Test/Berlin';" + statements)

    def load(self) -> None:
        postgres = self.source.is_postgres
        self.write("".join(t.ddl(postgres) for t in self.tables))
        self.write("".join(t.insert(postgres) for t in self.tables))
        extract_schema(self.job("schema"), Watch())
        apply_schema(self.job("schema"), Watch(), None)
        copy_data(self.job("op"), Watch(), capture=True, resume=False)

    def _count(self, table: Table) -> int:
        side = self.target
        return int(side.run(f"select count(*) from {side.schema}.{table.name}"))

    def arrived(self, running: Running, counts: Sequence[int]) -> None:
        def there() -> bool:
            return running.watch.caught_up and [self._count(t) for t in self.tables] == list(counts)

        running.wait(there, 60, "the changes to arrive", every=0.3)

    def unlike(self, table: Table) -> list[str]:
        """The values of the load that the log's row does not have, or that the source shows otherwise."""
        rows = shown(self.target, table)
        half = len(rows) // 2
        names = ["id", *(c.name for c in table.columns)]
        assert {len(row) for row in rows} == {len(names)}, [row for row in rows if len(row) != len(names)][:2]
        halves: Iterator[tuple[list[str], list[str]]] = zip_longest(rows[:half], rows[half:], fillvalue=[])
        found = [
            f"{table.name}.{name} row {loaded[0]}: load {ours[:60]} log {theirs[:60]}"
            for loaded, logged in halves
            for name, ours, theirs in zip(names[1:], loaded[1:], logged[1:], strict=True)
            if ours != theirs
        ]
        if self.source.type == self.target.type:
            both: Iterator[tuple[list[str], list[str]]] = zip_longest(shown(self.source, table), rows, fillvalue=[])
            found += [
                f"{table.name}.{name} row {there[0]}: source {there[n][:60]} target {here[n][:60]}"
                for there, here in both
                for n, name in enumerate(names)
                if there[n] != here[n]
            ]
        return found

    def run(self) -> None:
        self.load()
        with replicating(self, "op") as running:
            self.write("".join(t.again() for t in self.tables))
            self.arrived(running, [2 * len(t.rows) for t in self.tables])
            found = [line for t in self.tables for line in self.unlike(t)]
            assert not found, "\n".join([f"{len(found)} values differ", *found[:40]])
            keyless = [t for t in self.tables if not t.key]
            # rows that the load brought are found again by the images that the log has of them
            self.write("".join(f"delete from suite.{t.name} where id < {BEHIND};" for t in keyless))
            self.arrived(running, [len(t.rows) * (2 if t.key else 1) for t in self.tables])
        clean_up(self.job("op"), remove_capture=True)


@pytest.fixture
def world(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[World]:
    source_name, target_name = request.param
    source = side_of(running_server(fleet, source_name), SERVERS[source_name], "values_source")
    target = side_of(running_server(fleet, target_name), SERVERS[target_name], "values_target")
    if source.server is target.server:
        target = replace(target, schema=f"{SCHEMA}_copy")
    for side in (source, target):
        side.drop_leftovers()
        side.run(
            ZONES_POSTGRES.format(side.database) if side.is_postgres else "set global time_zone = '-03:30';" + ZONE
        )
    source.run(
        "create schema suite; create type suite.mood as enum ('sad', 'it''s', 'ünï 漢');"
        "create type suite.pair as (a int, b text); create domain suite.even as int check (value % 2 = 0);"
        if source.is_postgres
        else "create database suite character set utf8mb4;"
    )
    yield World(source, target, tmp_path, "values")
    for side in (source, target):
        side.run("alter role postgres reset timezone" if side.is_postgres else "set global time_zone = 'SYSTEM'")
        side.drop_leftovers()


def columns_for(source: str, target: str) -> list[Drawn]:
    """Those of the source's engine that the target can hold. ``same`` types travel only between servers of one kind."""
    everything = POSTGRES if source == "postgres" else MYSQL
    here = source if source == target else ""
    return [
        c for c in everything if source in c.only and (not c.home or target in c.home or ("same" in c.home and here))
    ]


def rows_of(columns: Sequence[Drawn], first: int = 1) -> list[str]:
    """Row by row the next value of each column, NULL behind its last: as the text of VALUES."""
    count = max(len(c.values) for c in columns) + 1
    return [
        f"({first + n}, {', '.join(c.values[n] if n < len(c.values) else 'null' for c in columns)})"
        for n in range(count)
    ]


def compared(world: World, tables: Sequence[Table]) -> None:
    Comparison(world.source, world.target, world.home, world.name, tables).run()


def _ids(pair: tuple[str, str]) -> str:
    return f"{pair[0]}-{pair[1]}"


def typed(world: World) -> list[Table]:
    columns = columns_for(world.source.type, world.target.type)
    plain = [c for c in columns if c.type not in ("json", "xml", "point") or not world.source.is_postgres]
    return [Table("typed", columns, rows_of(columns)), Table("bare", plain, rows_of(plain), key=False)]


@pytest.mark.parametrize("world", first(PAIRS, OTHERS), indirect=True)
def test_every_type_is_the_same_by_load_and_by_log(world: World) -> None:
    compared(world, typed(world))


@pytest.mark.long
@pytest.mark.parametrize("world", FURTHER, indirect=True, ids=_ids)
def test_every_type_is_the_same_in_further_targets(world: World) -> None:
    compared(world, typed(world))


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(("mysql", "mysql"), id="mysql-mysql"),
        pytest.param(("postgres18", "mysql"), id="postgres18-mysql"),
        pytest.param(("mysql", "postgres18"), id="mysql-postgres18", marks=pytest.mark.long),
        pytest.param(("mariadb", "mysql"), id="mariadb-mysql", marks=pytest.mark.long),
        pytest.param(("mysql", "mariadb"), id="mysql-mariadb", marks=pytest.mark.long),
    ],
    indirect=True,
)
def test_decimals_in_documents_keep_their_digits(world: World) -> None:
    numbers = ["12345678901234567890.123456789012345678", "1.50", "-0.000000000000000000000000000001", "9" * 65]
    if world.source.type == "mysql":
        sized = [(n, len(n.partition(".")[2])) for n in numbers]
        made = [f"json_object('n', cast('{n}' as decimal(65,{scale})))" for n, scale in sized]
    else:
        made = [f"""'{{"n": {n}}}'""" for n in numbers]
    columns = [Drawn("doc", "jsonb" if world.source.is_postgres else "json", made)]
    tables = [Table("digits", columns, rows_of(columns)), Table("bare", columns, rows_of(columns), key=False)]
    compared(world, tables)
    texts = [bytes.fromhex(row[1]).decode() for row in shown(world.target, tables[0]) if row[1] != "~"]
    assert [text.partition(": ")[2].rstrip("}") for text in texts] == numbers * 2
    if world.target.type == "mysql":
        kinds = f"select distinct json_type(doc->'$.n') from {world.target.schema}.digits where doc is not null"
        assert world.target.run(kinds) == "DECIMAL\n"
        lost_digits_are_found(world, tables)


def lost_digits_are_found(world: World, tables: Sequence[Table]) -> None:
    """A double in the place of the first number is told by a validation, and put right by a repair."""
    before = shown(world.target, tables[0])
    text = "replace(doc, '.123456789012345678', '.0')"
    world.target.run(f"update {world.target.schema}.digits set doc = {text} where id = 1")
    assert shown(world.target, tables[0]) != before
    validate = Comparison(world.source, world.target, world.home, world.name, tables).job
    found = validate_data(validate("validate"), Watch(), 100)
    assert {t["table"]: t["different"] for t in found["tables"]} == {"suite.digits": 1, "suite.bare": 0}
    assert repair_data(validate("repair"), Watch(), found, "validate")["valid"]
    assert shown(world.target, tables[0]) == before


# --- character sets ---------------------------------------------------------------------------------------------------


def characters(side: Side, charset: str, size: int) -> list[str]:
    """All characters of a character set that the server can show, as hex in that character set; by its client."""
    if charset.startswith(("utf", "ucs")):
        codes = [
            n for n in range(1, 0x10000 if size == 3 or charset == "ucs2" else 0x110000) if not 0xD800 <= n < 0xE000
        ]
        coded = {"ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be"}
        return [chr(n).encode(coded.get(charset, "utf-8")).hex() for n in codes]
    found = [bytes([n]) for n in range(1, 256)]
    if size > 1:
        found += [bytes(pair) for pair in product(range(0x80, 0x100), range(0x30, 0x100))]
    if charset in ("ujis", "eucjpms"):
        found += [bytes((0x8F, b, c)) for b, c in product(range(0xA1, 0xFF), range(0xA1, 0xFF))]
    if charset == "gb18030":
        found += [bytes(p) for p in product(range(0x81, 0x85), range(0x30, 0x3A), range(0x81, 0xFF), range(0x30, 0x3A))]
        found += [bytes(p) for p in product((0x90, 0xE3), range(0x30, 0x33), (0x81, 0xFE), range(0x30, 0x36))]
    rows = [",".join(f"(0x{f.hex()})" for f in found[at : at + 20_000]) for at in range(0, len(found), 20_000)]
    shown = side.run(
        f"create database if not exists characters; set sql_mode = '';"
        f"create temporary table characters.c (v varchar(4) character set {charset});"
        + "".join(f"insert ignore into characters.c values {some};" for some in rows)
        + "select hex(v) from characters.c where char_length(v) = 1 and char_length(convert(v using utf8mb4)) = 1"
        " and (hex(v) = '3F' or hex(convert(v using utf8mb4)) not in ('3F', 'EFBFBD'));drop database characters"
    )
    return list(dict.fromkeys(shown.splitlines()))


def texts(world: World, most: int | None, each: int = 50) -> list[Table]:
    """A column for each character set, of ``most`` drawn characters of it, or of all, ``each`` in a text."""
    lines = world.source.run("select character_set_name, maxlen from information_schema.character_sets").splitlines()
    columns = []
    for charset, size in (line.split("\t") for line in lines):
        if charset == "binary":
            continue
        found = characters(world.source, charset, int(size))
        if most is not None and len(found) > most:
            found = random.Random(11).sample(found, most)
        parts = ["".join(found[at : at + each]) for at in range(0, len(found), each)]
        columns.append(Drawn(f"c_{charset}", f"varchar({each}) character set {charset}", [f"0x{p}" for p in parts]))
        assert len(found) > 90, charset
    return [Table("texts", columns, rows_of(columns))]


OF_THE_FAMILY = PAIRS[2:]


@pytest.mark.parametrize("world", first(OF_THE_FAMILY, OTHERS), indirect=True)
def test_every_character_set_is_the_same_by_load_and_by_log(world: World) -> None:
    compared(world, texts(world, 2_000))


@pytest.mark.long
@pytest.mark.parametrize("world", [*OF_THE_FAMILY, *OTHERS], indirect=True, ids=_ids)
def test_every_character_of_every_character_set(world: World) -> None:
    compared(world, texts(world, None, each=200))
