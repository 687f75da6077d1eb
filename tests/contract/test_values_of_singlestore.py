"""The edges of each type, loaded from a file and applied from the log: both are what the vendor's client then shows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contract.bench import SCHEMA, WHOLE, Bench
from tests.engines import side_of
from tests.servers.singlestore import SingleStore
from tests.staged import staged as written
from whimbrel.codecs.typed import Text, typed
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import ValueRefused
from whimbrel.model.change import INSERT, UPDATE
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, ColumnType, Table

_numbers = itertools.count(1)
TEXT, BYTES = ColumnType(pa.string(), "text"), ColumnType(pa.binary(), "bytea")
ODD = "tab\there\nline\r\\N \\ '\" \0 ü🐦漢 "
# type, the text of a value as file and log have it, and as SQL shows it there (in hexadecimal for texts and bytes)
EDGES: list[tuple[str, ColumnType, str, str]] = [
    ("CAST({} AS CHAR)", ColumnType(pa.int64(), "bigint"), "-9223372036854775808", "-9223372036854775808"),
    ("CAST({} AS CHAR)", ColumnType(pa.uint64(), "bigint unsigned"), "18446744073709551615", "18446744073709551615"),
    ("CAST({} AS CHAR)", ColumnType(pa.int16(), "smallint"), "-32768", "-32768"),
    ("CAST({} AS CHAR)", ColumnType(pa.bool_(), "boolean"), "true", "1"),
    ("CAST({} AS CHAR)", ColumnType(pa.decimal256(65, 30), "numeric(65,30)"), f"-{'9' * 35}.{'9' * 30}",
     f"-{'9' * 35}.{'9' * 30}"),
    ("CAST({} AS CHAR)", ColumnType(pa.decimal128(20, 9), "numeric(20,9)"), "0.000000001", "0.000000001"),
    ("CAST({} AS CHAR)", ColumnType(pa.float64(), "double"), "5e-324", "5e-324"),
    ("CAST({} AS CHAR)", ColumnType(pa.float64(), "double"), "1.7976931348623157e+308", "1.7976931348623157e308"),
    ("CAST({} + 0e0 AS CHAR)", ColumnType(pa.float32(), "real"), "16777217", "16777216"),
    ("CAST({} + 0e0 AS CHAR)", ColumnType(pa.float32(), "real"), "0.1", "0.10000000149011612"),
    ("CAST({} AS CHAR)", ColumnType(pa.date32(), "date"), "1000-01-01", "1000-01-01"),
    ("CAST({} AS CHAR)", ColumnType(pa.date32(), "date"), "9999-12-31", "9999-12-31"),
    ("CAST({} AS CHAR)", ColumnType(pa.time64("us"), "time"), "23:59:59.999999", "23:59:59.999999"),
    ("CAST({} AS CHAR)", ColumnType(pa.timestamp("us"), "timestamp"), "9999-12-31 23:59:59.999999",
     "9999-12-31 23:59:59.999999"),
    ("CAST({} AS CHAR)", ColumnType(pa.timestamp("us", tz="UTC"), "timestamptz"), "2038-01-19 03:14:08.000001+00",
     "2038-01-19 03:14:08.000001"),
    ("HEX({})", TEXT, ODD, ODD.encode().hex().upper()),
    ("HEX({})", TEXT, "", ""),
    ("HEX({})", ColumnType(pa.string(), "varchar(3)", length=3), "🐦🐦 ", "🐦🐦 ".encode().hex().upper()),
    ("HEX({})", ColumnType(pa.string(), "char(4)", Annotation.CHAR, 4), "a   ", "61202020"),
    ("HEX({})", BYTES, "\0\t\n\\\r", "00090A5C0D"),
    ("HEX({})", BYTES, "", ""),
    ("CAST({} AS CHAR)", ColumnType(pa.string(), "json", Annotation.JSON), '{"a": [1, null, "🐦"]}',
     '{"a": [1, null, "🐦"]}'),
    ("{}", ColumnType(pa.string(), "uuid", Annotation.UUID), "00000000-0000-4000-8000-000000000001",
     "00000000-0000-4000-8000-000000000001"),
]  # fmt: skip


@pytest.fixture
def bench(singlestore: SingleStore, tmp_path: Path) -> Iterator[Bench]:
    columns = [Column("id", WHOLE, nullable=False)]
    columns += [Column(f"c{n}", type) for n, (_, type, _, _) in enumerate(EDGES)]
    side = side_of(singlestore, "singlestore", "values", "edges")
    made = Bench(side, [Table(TableName(SCHEMA, "edges"), tuple(columns), ("id",))], tmp_path, f"edges{next(_numbers)}")
    with closing(made):
        yield made
        made.drop_tables()


def canonical(text: str) -> str:
    return "t" if text == "true" else text


def staged(b: Bench, *rows: Sequence[str | None]) -> StagedFile:
    """A file as a lane makes it."""
    source, target = b.tables[0].columns, b.targets[0].columns
    raw = [[None if value is None else value.encode() for value in row] for row in rows]
    columns = [pa.array([row[n] for row in raw], pa.binary()) for n in range(len(source))]
    batch = pa.RecordBatch.from_arrays(columns, names=[c.name for c in source])
    path = b.folder / "edges.parquet"
    pq.write_table(pa.Table.from_batches([typed(batch, source, target, "edges", Text.CANONICAL)]), path)
    return written(path, len(rows))


def shown(b: Bench) -> dict[int, tuple[Any, ...]]:
    columns = ", ".join(show.format(f"c{n}") for n, (show, *_) in enumerate(EDGES))
    rows = b.side.server.query(f"select id, {columns} from edges.edges order by id")  # type: ignore[union-attr]
    return {row[0]: row[1:] for row in rows}


def test_each_edge_is_kept_by_a_load_and_by_a_change_alike(bench: Bench) -> None:
    b, nothing = bench, [None] * len(EDGES)
    texts = [text for _, _, text, _ in EDGES]
    (chunk,) = b.plan()
    assert b.load(chunk, staged(b, ("1", *map(canonical, texts)), ("3", *nothing))) == 2
    segment = b.segment(
        (INSERT, ("2", *map(canonical, texts))), (INSERT, ("4", *nothing)), (UPDATE, ("3", *map(canonical, texts)))
    )
    b.apply(b.applier(), segment)
    wanted = tuple(there for *_, there in EDGES)
    found = shown(b)
    assert found[1] == wanted
    assert found == {1: wanted, 2: wanted, 3: wanted, 4: tuple(nothing)}


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (6, "NaN"),
        (8, "Infinity"),
        (10, "0999-12-31"),
        (13, "0001-01-01 00:00:00"),
        (17, "four"),
        (4, f"1{'0' * 35}"),
        (0, "9223372036854775808"),
    ],
)
def test_what_has_no_place_is_refused_by_column_and_nothing_stays(bench: Bench, place: int, text: str) -> None:
    b = bench
    row: list[str | None] = [None] * len(EDGES)
    row[place] = text
    with pytest.raises(ValueRefused, match=rf"edges.*column c{place}: "):
        b.apply(b.applier(), b.segment((INSERT, ("1", *[None] * len(EDGES))), (INSERT, ("2", *row))))
    assert (shown(b), b.ledger.position()) == ({}, None)
