"""A lane that stages Parquet: what pyarrow reads of it is what the client of the source shows."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import running_server
from tests.engines import SCHEMA, TABLES, side_of
from tests.servers.fleet import SERVERS, Fleet
from tests.suite.drawn_mysql import MYSQL, quoted
from tests.suite.world import World
from whimbrel.codecs.typed import Text, typed
from whimbrel.connectors.protocols import Capabilities, Route, negotiate
from whimbrel.connectors.registry import engine
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import ValueRefused
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, Table
from whimbrel.pipeline import pair as pairs
from whimbrel.pipeline.load import lane
from whimbrel.pipeline.load.lane import Extracted, Failed, Join, LaneSpec, Loaded, Opened, Started, Take
from whimbrel.pipeline.load.staging import Staging
from whimbrel.pipeline.pair import Pair

ROWS = 300
LOADS = (Format.PARQUET,)


@dataclass
class Recorder:
    """A target engine that keeps what it is given to load."""

    files: dict[str, list[pa.Table]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(source=False, target=True, loads=LOADS))

    def target(self, endpoint: Endpoint, operation: str) -> Recorder:
        return self

    def open_loader(self, job: Job) -> Recorder:
        return self

    def load(
        self,
        epoch: int,
        source: Table,
        target: Table,
        columns: Sequence[Column],
        chunk: Chunk,
        format: Format,
        file: StagedFile,
        *,
        upsert: bool,
    ) -> int:
        assert format is Format.PARQUET
        content = b"".join(file.blocks(1 << 20, str(target.name)))  # as many bytes, with the checksum that is said
        read = pq.read_table(io.BytesIO(content))
        assert read.num_rows == file.rows
        assert read.schema.names == [c.name for c in target.columns]
        assert read.schema.types == [c.type.arrow for c in target.columns]
        self.files.setdefault(source.name.table, []).append(read)
        self.names.append(file.path.name)
        return file.rows

    def close(self) -> None:
        return


@pytest.fixture(params=["postgres18", "mariadb"])
def origin(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> World:
    side = side_of(running_server(fleet, request.param), SERVERS[request.param], "suite_parquet")
    side.drop_leftovers()
    return World(side, side, tmp_path, "parquet")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    for module in (lane, pairs):
        monkeypatch.setattr(module, "engine", lambda type: found if type == "recorder" else engine(type))
    # only a main thread may set what a signal does
    monkeypatch.setattr(
        lane, "signal", SimpleNamespace(signal=lambda *_: None, SIGINT=0, SIGTERM=0, SIG_IGN=0, SIG_DFL=0)
    )
    return found


def as_recorded(table: Table) -> Table:
    """The table as the recorder would hold it: under other names, and without unsigned numbers of 64 bits."""
    types = {pa.uint64(): pa.decimal128(20, 0)}
    columns = tuple(
        replace(c, name=f"{c.name}_there", type=replace(c.type, arrow=types.get(c.type.arrow, c.type.arrow)))
        for c in table.columns
    )
    return replace(table, name=TableName("there", table.name.table), columns=columns)


def copied(
    world: World, names: Sequence[str], *, rows_per_file: int = 200_000, read: Format | None = None
) -> list[object]:
    """Copy these tables in a lane; return what it told but for how it began."""
    job = replace(world.job("op"), target=Endpoint("there", "recorder", {}))
    source = engine(job.source.type).source(job.source, job.operation)
    Staging(job).open()
    told: list[object] = []
    with closing(source):
        tables = source.reflect([TableName(SCHEMA, n) for n in names])
        pair = Pair(job, source, cast(Any, None), tables, tuple(map(as_recorded, tables)), {})
        routes = pair.routes()
        assert read is None or {r.read for r in routes.values()} == {read}
        chunks = [source.plan(t, rows_per_file, 64 << 20) for t in tables]
        with closing(source.open_snapshot(job, tables, capture=False, lanes=1)) as snapshot:
            ours, theirs = Pipe()
            spec = LaneSpec(job, 1, tuple((s, t, routes[s.name]) for s, t in pair.both))
            thread = threading.Thread(target=lane.main, args=(spec, theirs), daemon=True)
            thread.start()

            def told_next() -> Any:
                assert ours.poll(30)
                return ours.recv()

            assert isinstance(told_next(), Started)
            ours.send(Join(snapshot.token))
            assert isinstance(told_next(), Opened)
            snapshot.lane_opened()
            waiting = 0
            for number, planned in enumerate(chunks):
                for chunk in planned:
                    ours.send(Take(number, chunk, upsert=False))
                    waiting += 1
            while waiting:
                told.append(told_next())
                waiting -= isinstance(told[-1], Loaded | Failed)
                if isinstance(told[-1], Failed):
                    break
            ours.send(None)
            if not isinstance(told[-1], Failed):  # whoever is told so ends the process
                thread.join(30)
                assert not thread.is_alive()
    return told


def micro(value: Any) -> str:
    return str(value.strftime("%H:%M:%S.%f") if hasattr(value, "strftime") else value)


def moment(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S.%f}"


def rounded(digits: int) -> Callable[[float], str]:
    return lambda value: str(round(Decimal(repr(value)), digits))


def plain(value: Any) -> str:
    return str(value)


ITEM: dict[str, Callable[[Any], str]] = {
    "amount": plain,
    "title": plain,
    "body": lambda v: v.encode().hex().upper(),
    "flag": lambda v: str(int(v)),
    "score": rounded(6),
    "ratio": rounded(3),
    "born": plain,
    "noon": micro,
    "made": moment,
    "seen": moment,
    "raw": lambda v: v.hex().upper(),
    "uid": plain,
    "bits": plain,
}


def printed(table: str, rows: pa.Table) -> list[str]:
    """The rows as the suite prints them."""
    found = []
    for row in rows.to_pylist():
        row = {name.removesuffix("_there"): value for name, value in row.items()}
        if table != "item":
            found.append("|".join("-" if v is None else str(v) for v in row.values()))
            continue
        doc = row.pop("doc")
        cells = {n: "-" if v is None else ITEM.get(n, plain)(v) for n, v in row.items()}
        json_ = ["-"] * 3
        if doc is not None:
            read = json.loads(doc)
            json_ = [str(read["n"]), read["q"], json.dumps(read["deep"][2])]
        found.append("|".join([*list(cells.values())[:13], *json_, *list(cells.values())[13:]]))
    return found


def test_rows_arrive_typed_as_the_client_shows_them(origin: World, recorder: Recorder) -> None:
    origin.make(ROWS)
    told = copied(origin, TABLES, rows_per_file=100)
    assert not [t for t in told if isinstance(t, Failed)]
    expected = origin.source.rows()
    for table in TABLES:
        rows = pa.concat_tables(recorder.files[table])
        assert sorted(printed(table, rows)) == sorted(expected[table]), table
    loaded = {(e.table, e.chunk.number): e.rows for e in told if isinstance(e, Loaded)}
    extracted = {(e.table, e.chunk.number): (e.rows, e.bytes) for e in told if isinstance(e, Extracted)}
    assert {k: rows for k, (rows, _) in extracted.items()} == loaded
    assert all(size > 0 for _, size in extracted.values())
    assert all(name.endswith(".parquet") for name in recorder.names)
    assert len(recorder.names) == len(loaded) > len(TABLES)
    assert not list((origin.home / "migrations").rglob("*.parquet*"))  # what is loaded is removed


def test_a_value_without_a_place_ends_the_lane_by_name(origin: World, recorder: Recorder) -> None:
    origin.make(5)
    origin.source.change(
        "alter table item alter column born type date using 'infinity'::date",
        "set sql_mode = ''; update item set born = '0000-00-00' where id = 3",
    )
    [failed] = [t for t in copied(origin, ["item"]) if isinstance(t, Failed)]
    assert isinstance(failed.error, ValueRefused)
    assert "suite.item, column born_there" in failed.error.message
    assert not recorder.files


BINARY = r"""
create schema suite;
create type suite.mood as enum ('sad', 'grüße');
create domain suite.price as numeric(20, 6);
create table suite.wide (id int primary key, i2 smallint, i8 bigint, o oid, f4 real, f8 double precision, b boolean,
  d numeric(12, 2), dd suite.price, huge numeric(60, 20), t text, v varchar(20), c char(5), j json, jb jsonb, u uuid,
  m suite.mood, raw bytea, day date, clock time, made timestamp, seen timestamptz);
insert into suite.wide values
  (1, -32768, -9223372036854775808, 0, 'NaN', 'Infinity', true, -9999999999.99, 0.000001,
   -1234567890123456789012345678901234567890.12345678901234567890, '', 'ü', 'a', '{ "a" : 1.50 }', '{"a": 1.50}',
   '00000000-0000-0000-0000-000000000000', 'sad', '', '0001-01-01', '00:00', '0001-01-01 00:00:00',
   '0001-01-01 00:00Z'),
  (2, 32767, 9223372036854775807, 4294967295, 0.1, 1e-300, false, 9999999999.99, -12345678901234.000001,
   0.00000000000000000001, E'tab\t\n\\', null, 'abcde', '[]', '"\\u00fc"', 'ffffffff-ffff-4fff-bfff-fffffffffffe',
   'grüße', '\\x00ff0a5c', '9999-12-31', '23:59:59.999999', '9999-12-31 23:59:59.999999',
   '9999-12-31 23:59:59.999999Z'),
  (3, 0, 0, 1, -0.0, -0.0, null, 0, 100, 10000, null, null, null, null, null, null, null, null, '2000-01-01', null,
   '1999-12-31 23:59:59.999999', '2000-01-01 00:00Z'),
  (4, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
   null, null);
"""


def test_binary_rows_are_what_psql_shows(fleet: Fleet, tmp_path: Path, recorder: Recorder) -> None:
    server = running_server(fleet, "postgres18")
    side = side_of(server, "postgres", "suite_binary")
    side.drop_leftovers()
    side.run(BINARY)
    told = copied(World(side, side, tmp_path, "binary"), ["wide"], read=Format.COPY_BINARY)
    assert not [t for t in told if isinstance(t, Failed)]
    [found] = recorder.files["wide"]
    [table] = engine("postgres").source(side.endpoint("source"), "op").reflect([TableName(SCHEMA, "wide")])
    for column, array in zip(table.columns, found.columns, strict=True):
        text = column.name if pa.types.is_binary(column.type.arrow) else f"convert_to({column.name}::text, 'UTF8')"
        if pa.types.is_boolean(column.type.arrow):
            text = f"convert_to(left({column.name}::text, 1), 'UTF8')"
        if column.name == "c":
            text = "convert_to(rpad(c, 5), 'UTF8')"  # only a cast to text takes the blanks
        sql = f"set timezone = 'UTC'; select coalesce(encode({text}, 'hex'), 'null') from suite.wide order by id"
        shown = [None if v == "null" else bytes.fromhex(v) for v in side.run(sql).split("\n")[: found.num_rows]]
        batch = pa.RecordBatch.from_arrays([pa.array(shown, pa.binary())], names=["x"])
        expected = typed(batch, [column], [column], "wide", Text.CANONICAL).column(0)
        assert repr(array.combine_chunks().to_pylist()) == repr(expected.to_pylist()), column.name


def shown(column: Column) -> str:
    """An expression of the client for the text of a value, as ``typed`` takes it."""
    name, arrow = column.name, column.type.arrow
    if pa.types.is_binary(arrow):
        return name
    if column.type.annotation is Annotation.BIT:
        return f"lpad(bin({name} + 0), {column.type.length}, '0')"
    if pa.types.is_float32(arrow):
        return f"concat({name} * 1e0)"
    if pa.types.is_timestamp(arrow) and arrow.tz:
        return f"concat({name}, '+00')"
    # only a number is shown without ZEROFILL's zeros
    return f"concat({name} + 0)" if pa.types.is_integer(arrow) else f"convert({name} using utf8mb4)"


@pytest.mark.parametrize("source", ["mariadb", "mysql"])
def test_result_sets_are_what_the_client_shows(fleet: Fleet, tmp_path: Path, recorder: Recorder, source: str) -> None:
    """Every type, and every character set."""
    side = side_of(running_server(fleet, source), source, "suite_binary")
    side.drop_leftovers()
    drawn = [d for d in MYSQL if source in d.only and not d.name.startswith("zero_")]
    count = max(len(d.values) for d in drawn) + 1
    drawn_rows = (", ".join(d.values[n] if n < len(d.values) else "null" for d in drawn) for n in range(count))
    charsets = side.run("select character_set_name from information_schema.character_sets order by 1").split()
    texts = {f"c_{c}": c for c in charsets if c not in ("binary", "filename")}
    side.run(
        "create database suite character set utf8mb4; set sql_mode = '', time_zone = '+00:00', autocommit = 0;"
        f"create table suite.wide (id int primary key, {', '.join(f'{d.name} {d.type}' for d in drawn)});"
        + "".join(f"insert into suite.wide values ({n}, {row});" for n, row in enumerate(drawn_rows))
        + "create table suite.texts (id int primary key, "
        + ", ".join(f"{name} varchar(60) character set {c}" for name, c in texts.items())
        + ");"
        + "".join(
            f"insert into suite.texts values ({n}, {', '.join([quoted(t)] * len(texts))});"
            for n, t in enumerate(["", "plain? ", "ß漢字の…é", "Ж€ñ\\\n", "กข", "ščř"])
        )
        + "commit"
    )
    told = copied(World(side, side, tmp_path, "binary"), ["wide", "texts"], read=Format.RESULT_SET)
    assert not [t for t in told if isinstance(t, Failed)]
    tables = (
        engine(source).source(side.endpoint("source"), "op").reflect([TableName(SCHEMA, n) for n in recorder.files])
    )
    for table in tables:
        [found] = recorder.files[table.name.table]
        values = ", ".join(f"coalesce(hex({shown(c)}), 'null')" for c in table.columns)
        sql = f"set time_zone = '+00:00'; select {values} from {table.name} order by id"
        rows = [line.split("\t") for line in side.run(sql).splitlines()]
        for number, (column, array) in enumerate(zip(table.columns, found.columns, strict=True)):
            texts_ = [None if row[number] == "null" else bytes.fromhex(row[number]) for row in rows]
            batch = pa.RecordBatch.from_arrays([pa.array(texts_, pa.binary())], names=["x"])
            wanted = replace(column, type=replace(column.type, arrow=array.type))
            expected = typed(batch, [column], [wanted], "wide", Text.CANONICAL).column(0)
            assert repr(array.combine_chunks().to_pylist()) == repr(expected.to_pylist()), column.name


@pytest.mark.parametrize("source", ["mariadb", "mysql"])
def test_values_without_a_place_are_named(fleet: Fleet, tmp_path: Path, recorder: Recorder, source: str) -> None:
    side = side_of(running_server(fleet, source), source, "suite_binary")
    side.drop_leftovers()
    side.run(
        "create database suite; set sql_mode = '', time_zone = '+00:00';"
        + "".join(
            f"create table suite.t{n} (id int primary key, v {type} null);"
            f"insert into suite.t{n} values (1, {good}), (2, null), (3, {bad});"
            for n, (type, good, bad) in enumerate(WRONG)
        )
    )
    for n, (type, _, _) in enumerate(WRONG):
        [failed] = [
            t
            for t in copied(World(side, side, tmp_path, "b"), [f"t{n}"], read=Format.RESULT_SET)
            if isinstance(t, Failed)
        ]
        assert isinstance(failed.error, ValueRefused), (type, failed.error)
        assert f"suite.t{n}, column v_there: " in failed.error.message
    assert not recorder.files


WRONG = (
    ("date", "'2020-01-01'", "'0000-00-00'"),
    ("date", "'2020-01-01'", "'2020-02-00'"),
    ("datetime(3)", "'2020-01-01'", "'0000-00-00'"),
    ("timestamp(2)", "'2020-01-01'", "'0000-00-00'"),
    ("varchar(9) character set cp1250", "'a'", "0x81"),
    ("varchar(9) character set big5", "'?'", "0xF9FE41"),
)


def test_parquet_is_made_of_what_readers_write() -> None:
    tab = Route(Format.TAB_TEXT, Format.PARQUET)
    assert negotiate([Format.COPY_TEXT, Format.TAB_TEXT], [Format.PARQUET, Format.TAB_TEXT]) == tab
    assert negotiate([Format.TAB_TEXT], [Format.TAB_TEXT, Format.PARQUET]) == Route(Format.TAB_TEXT, Format.TAB_TEXT)
    assert negotiate([Format.COPY_TEXT], [Format.PARQUET]) is None
