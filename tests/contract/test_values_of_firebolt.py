"""The edges of each type, applied to Firebolt and read there; and what it cannot hold."""

from __future__ import annotations

import itertools
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from tests.contract.bench import Bench, position
from tests.contract.firebolt import DATABASE, bench, stand
from tests.engines import side_of
from tests.servers.firebolt import Firebolt
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.protocols import Scope
from whimbrel.connectors.registry import engine
from whimbrel.errors import (
    ValueRefused,
)
from whimbrel.model.change import INSERT
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, ColumnType, Table

__all__ = ["bench", "stand"]  # fixtures


_numbers = itertools.count(1)
UTC_MICROS = pa.timestamp("us", tz="UTC")
EDGES: dict[str, tuple[ColumnType, list[bytes | None]]] = {
    "whole": (ColumnType(pa.int32(), "int"), [b"-2147483648", b"2147483647", b"0", None]),
    "tiny": (ColumnType(pa.int8(), "tinyint"), [b"-128", b"127", b"0", None]),
    "long": (ColumnType(pa.int64(), "bigint"), [b"-9223372036854775808", b"9223372036854775807", b"0", None]),
    "unsigned": (ColumnType(pa.uint64(), "bigint unsigned"), [b"18446744073709551615", b"0", b"1", None]),
    "wide": (ColumnType(pa.decimal128(38, 0), "numeric(38,0)"), [b"9" * 38, b"-" + b"9" * 38, b"0", None]),
    "deep": (ColumnType(pa.decimal128(38, 38), "numeric(38,38)"), [b"0." + b"9" * 38, b"0." + b"0" * 38, None, None]),
    "single": (ColumnType(pa.float32(), "real"), [b"3.4028235e+38", b"1e-45", b"0.1", b"NaN"]),
    "double": (ColumnType(pa.float64(), "double"), [b"1.7976931348623157e+308", b"5e-324", b"-0", b"Infinity"]),
    "text": (ColumnType(pa.string(), "text"), ["'\\\"\n\té\U0001d11e".encode(), b"", b" blank ", None]),
    "raw": (ColumnType(pa.binary(), "bytea"), [b"\x00\xff\\x41'", b"", bytes(range(256)), None]),
    "day": (ColumnType(pa.date32(), "date"), [b"0001-01-01", b"9999-12-31", b"1582-10-10", None]),
    "moment": (
        ColumnType(pa.timestamp("us"), "timestamp"),
        [b"0001-01-01 00:00:00.000000", b"9999-12-31 23:59:59.999999", b"1500-02-28 12:00:00.000001", None],
    ),
    "instant": (
        ColumnType(UTC_MICROS, "timestamptz"),
        [b"0001-01-01 00:00:00.000000+00", b"9999-12-31 23:59:59.999999+00", b"1970-01-01 00:00:00.000000+00", None],
    ),
    "flag": (ColumnType(pa.bool_(), "boolean"), [b"t", b"f", b"t", None]),
}
AS_TOLD = {b"3.4028235e+38": b"3.4028235e+38", b"NaN": b"nan", b"-0": b"-0.0", b"Infinity": b"inf"}


def test_edges_of_every_type_come_and_are_read_as_they_were(stand: Firebolt, tmp_path: Path) -> None:
    id = Column("id", ColumnType(pa.int64(), "bigint"), nullable=False)
    source = Table(TableName("contract", "edges"), (id, *(Column(n, type) for n, (type, _) in EDGES.items())), ("id",))
    bench = Bench(side_of(stand, "firebolt", DATABASE, "public"), [source], tmp_path, f"edges{next(_numbers)}")
    try:
        builder = SegmentBuilder(position(1))
        builder.begin()
        for number in range(4):
            buffer = builder.buffer(source.name, tuple(c.name for c in source.columns))
            buffer.columns[0].put(str(number).encode())
            for column, (_, values) in zip(buffer.columns[1:], EDGES.values(), strict=True):
                value = values[number]
                column.null() if value is None else column.put(value)
            buffer.row(INSERT)
        builder.commit(position(2), 1)
        bench.apply(bench.applier(), builder.cut())
        scope = Scope(bench.targets[0].name, tuple((c.name, "text") for c in source.columns), (("id", "integer"),))
        keys = pa.record_batch({"k0": ["0", "1", "2", "3"]})
        with closing(engine("firebolt").open_comparison(bench.job.target, "read", "target")) as comparison:
            images = comparison.images(scope, bench.targets[0].columns, keys)
        for name, (_, values) in EDGES.items():
            found = [image[name] for image in sorted(images.to_pylist(), key=lambda row: int(row["k0"]))]
            assert found == [AS_TOLD.get(v, v) if v is not None else None for v in values], name
        told = stand.query("SELECT text, raw, day, deep FROM public.edges WHERE id = 0", DATABASE)
        assert told == [("'\\\"\n\té\U0001d11e", b"\x00\xff\\x41'", date(1, 1, 1), Decimal("0." + "9" * 38))]
    finally:
        bench.drop_tables()
        bench.close()


@pytest.mark.parametrize(("column", "value"), [("text", b"nul\0"), ("day", b"10000-01-01"), ("day", b"0001-01-01 BC")])
def test_a_value_that_firebolt_cannot_hold_is_refused(
    stand: Firebolt, tmp_path: Path, column: str, value: bytes
) -> None:
    id = Column("id", ColumnType(pa.int64(), "bigint"), nullable=False)
    source = Table(TableName("contract", "beyond"), (id, Column(column, EDGES[column][0])), ("id",))
    bench = Bench(side_of(stand, "firebolt", DATABASE, "public"), [source], tmp_path, f"beyond{next(_numbers)}")
    try:
        builder = SegmentBuilder(position(1))
        builder.begin()
        buffer = builder.buffer(source.name, ("id", column))
        buffer.columns[0].put(b"1")
        buffer.columns[1].put(value)
        buffer.row(INSERT)
        builder.commit(position(2), 1)
        with pytest.raises(ValueRefused) as refused:
            bench.apply(bench.applier(), builder.cut())
        assert value.decode().rstrip("\0") not in str(refused.value.to_json())
        assert stand.query("SELECT COUNT(*) FROM public.beyond", DATABASE) == [(0,)]
    finally:
        bench.drop_tables()
        bench.close()
