"""The edges of each type, loaded from a file and applied from the log: both are what the vendor's client then shows."""

from __future__ import annotations

import base64
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contract.bench import SCHEMA, WHOLE, Bench
from tests.engines import side_of
from tests.servers.spanner import Spanner
from tests.staged import staged as written
from whimbrel.codecs.typed import Text, typed
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import ValueRefused
from whimbrel.model.change import INSERT, UPDATE
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, ColumnType, Table

_numbers = itertools.count(1)
TEXT, BYTES = ColumnType(pa.string(), "text"), ColumnType(pa.binary(), "bytea")
DOUBLE, SINGLE = ColumnType(pa.float64(), "double"), ColumnType(pa.float32(), "real")
DATE, MOMENT = ColumnType(pa.date32(), "date"), ColumnType(pa.timestamp("us"), "timestamp")
INSTANT = ColumnType(pa.timestamp("us", tz="UTC"), "timestamptz")
NUMBER = ColumnType(pa.decimal128(38, 9), "numeric(38,9)")
JSON = ColumnType(pa.string(), "jsonb", Annotation.JSON)
ODD = "tab\there\nline\r\\N \\ '\" \0 ü🐦漢 "
WIDE = f"-{'9' * 29}.{'9' * 9}"
# type, the text of a value as file and log have it, and what the client shows of ``CAST(… AS STRING)`` or of itself
EDGES: list[tuple[str, ColumnType, str, Any]] = [
    ("{}", ColumnType(pa.int64(), "bigint"), "-9223372036854775808", -(2**63)),
    ("{}", ColumnType(pa.int64(), "bigint"), "9223372036854775807", 2**63 - 1),
    ("CAST({} AS STRING)", ColumnType(pa.uint64(), "bigint unsigned"), "18446744073709551615", "18446744073709551615"),
    ("{}", ColumnType(pa.int16(), "smallint"), "-32768", -32768),
    ("{}", ColumnType(pa.bool_(), "boolean"), "true", True),
    ("CAST({} AS STRING)", NUMBER, WIDE, WIDE),
    ("CAST({} AS STRING)", NUMBER, "0.000000001", "0.000000001"),
    ("{}", ColumnType(pa.decimal128(38, 10), "numeric(38,10)"), f"{'9' * 28}.{'9' * 10}", f"{'9' * 28}.{'9' * 10}"),
    ("{}", DOUBLE, "5e-324", 5e-324),
    ("{}", DOUBLE, "1.7976931348623157e+308", 1.7976931348623157e308),
    ("{}", DOUBLE, "-Infinity", -math.inf),
    ("CAST({} AS STRING)", DOUBLE, "NaN", "nan"),
    ("IEEE_DIVIDE(1, {})", DOUBLE, "-0", -math.inf),
    ("{}", SINGLE, "16777217", 16777216.0),
    ("{}", SINGLE, "0.1", 0.10000000149011612),
    ("CAST({} AS STRING)", DATE, "0001-01-01", "0001-01-01"),
    ("CAST({} AS STRING)", DATE, "1582-10-10", "1582-10-10"),
    ("CAST({} AS STRING)", DATE, "9999-12-31", "9999-12-31"),
    ("{}", ColumnType(pa.time64("us"), "time"), "23:59:59.999999", "23:59:59.999999"),
    ("STRING({}, 'UTC')", MOMENT, "9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999+00"),
    ("STRING({}, 'UTC')", INSTANT, "0001-01-01 00:00:00.000001+00", "0001-01-01 00:00:00.000001+00"),
    ("TO_CODE_POINTS({})", TEXT, ODD, [ord(c) for c in ODD]),
    ("{}", TEXT, "", ""),
    ("{}", ColumnType(pa.string(), "varchar(3)", length=3), "🐦🐦 ", "🐦🐦 "),
    ("{}", ColumnType(pa.string(), "char(4)", Annotation.CHAR, 4), "a   ", "a   "),
    ("{}", BYTES, "\0\t\n\\\r", base64.b64encode(b"\0\t\n\\\r")),
    ("{}", BYTES, "", b""),
    ("IF({0} IS NULL, NULL, TO_JSON_STRING({0}))", JSON, '{"b": 1.5, "a": [1, null, "🐦"]}',
     '{"a":[1,null,"🐦"],"b":1.5}'),
    ("IF({0} IS NULL, NULL, TO_JSON_STRING({0}))", JSON, '{"b": 1, "b": 2}', '{"b":1}'),
    ("{}", ColumnType(pa.string(), "uuid", Annotation.UUID), "00000000-0000-4000-8000-000000000001",
     "00000000-0000-4000-8000-000000000001"),
]  # fmt: skip


@pytest.fixture
def bench(spanner: Spanner, tmp_path: Path) -> Iterator[Bench]:
    columns = [Column("id", WHOLE, nullable=False)]
    columns += [Column(f"c{n}", type) for n, (_, type, _, _) in enumerate(EDGES)]
    side = side_of(spanner, "spanner", "values", "edges")
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
    server: Any = b.side.server
    rows = server.query(f"select id, {columns} from edges.edges order by id", b.side.database)
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
    [(0, "9223372036854775808"), (5, f"1{'0' * 29}"), (15, "infinity"), (19, "0000-00-00 00:00:00"), (23, "four")],
)
def test_what_has_no_place_is_refused_and_nothing_stays(bench: Bench, place: int, text: str) -> None:
    """By column, by us or by Spanner."""
    b = bench
    row: list[str | None] = [None] * len(EDGES)
    row[place] = text
    with pytest.raises(ValueRefused, match=rf"(?s)edges.*c{place}\b"):
        b.apply(b.applier(), b.segment((INSERT, ("1", *[None] * len(EDGES))), (INSERT, ("2", *row))))
    assert (shown(b), b.ledger.position()) == ({}, None)


def test_a_document_that_would_be_rounded_is_refused(bench: Bench) -> None:
    b = bench
    row: list[str | None] = [None] * len(EDGES)
    for number in ("0.12345678901234567890123", "123456789012345678901234567890", "1e400", "-1e-400"):
        row[27] = f'{{"text": "12345678901234567890123", "a": [{number}]}}'
        with pytest.raises(ValueRefused, match=r"edges.*") as refused:
            b.apply(b.applier(), b.segment((INSERT, ("1", *row))))
        assert number not in str(refused.value.to_json())
        assert shown(b) == {}
    row[27] = (
        '{"text": "12345678901234567890123", "a": [18446744073709551615, -9223372036854775808, 0.1, 1e22, 0.5e-3]}'
    )
    b.apply(b.applier(), b.segment((INSERT, ("1", *row))))
    kept = json.loads(shown(b)[1][27])
    assert kept["a"] == [18446744073709551615, -9223372036854775808, 0.1, 1e22, 0.5e-3]
