"""Parquet files as others read them."""

from __future__ import annotations

import gc
import io
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from whimbrel.codecs import parquet
from whimbrel.codecs.parquet import Block, ParquetFile, RowsToParquet
from whimbrel.errors import InternalError, StagingFull, ValueRefused
from whimbrel.model.chunk import Format
from whimbrel.model.table import Column, ColumnType


def columns(**types: pa.DataType) -> list[Column]:
    return [Column(name, ColumnType(arrow, "")) for name, arrow in types.items()]


def test_types_are_written_as_warehouses_read_them() -> None:
    wanted = columns(
        money=pa.decimal128(12, 2),
        huge=pa.decimal256(50, 2),
        natural=pa.uint64(),
        clock=pa.time64("us"),
        moment=pa.timestamp("us"),
        instant=pa.timestamp("us", "UTC"),
        text=pa.string(),
        raw=pa.binary(),
    )
    out = bytearray()
    with ParquetFile(wanted, out.extend) as file:
        made = RowsToParquet(file, wanted, "t", Format.TAB_TEXT)
        made.feed(b"1.50\t-2.25\t18446744073709551615\t01:02:03\t2026-01-02 03:04:05.6\t2026-01-02 03:04:05\tx\tFF\n")
        made.end()
    read = pq.ParquetFile(io.BytesIO(out))
    logical = {read.schema.column(n).name: str(read.schema.column(n).logical_type) for n in range(len(wanted))}
    assert logical["money"] == "Decimal(precision=12, scale=2)"
    assert logical["huge"] == "Decimal(precision=50, scale=2)"
    assert logical["natural"] == "Decimal(precision=20, scale=0)"
    assert logical["clock"].startswith("Time(isAdjustedToUTC=false, timeUnit=microseconds")
    assert logical["moment"].startswith("Timestamp(isAdjustedToUTC=false, timeUnit=microseconds")
    assert logical["instant"].startswith("Timestamp(isAdjustedToUTC=true, timeUnit=microseconds")
    assert (logical["text"], logical["raw"]) == ("String", "None")
    assert read.read().to_pylist()[0]["natural"] == Decimal(2**64 - 1)


def test_row_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1000)
    monkeypatch.setattr(parquet, "_AT_ONCE", 100)
    wanted = columns(n=pa.int64())
    text = b"".join(b"%d\n" % n for n in range(1000))
    out = bytearray()
    with ParquetFile(wanted, out.extend) as file:
        made = RowsToParquet(file, wanted, "t", Format.TAB_TEXT)
        for at in range(0, len(text), 33):
            made.feed(text[at : at + 33])
        made.end()
    assert file.rows == 1000
    read = pq.ParquetFile(io.BytesIO(out))
    assert read.read().column("n").to_pylist() == list(range(1000))
    sizes = [read.metadata.row_group(g).num_rows for g in range(read.num_row_groups)]
    assert len(sizes) > 4
    assert max(sizes) * 8 < 2000


def test_no_rows_are_a_whole_file_too() -> None:
    out = bytearray()
    with ParquetFile(columns(n=pa.int64()), out.extend) as file:
        RowsToParquet(file, file.columns, "t", Format.TAB_TEXT).end()
    assert pq.read_table(io.BytesIO(out)).schema == pa.schema([("n", pa.int64())])


def test_nothing_is_written_once_writing_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1)
    written: list[Block] = []

    def write(block: Block) -> None:
        written.append(block)
        if len(written) > 1:
            raise StagingFull("the disk is full")

    with pytest.raises(StagingFull), ParquetFile(columns(n=pa.int64()), write) as file:  # noqa: PT012 - the end is meant
        made = RowsToParquet(file, file.columns, "t", Format.TAB_TEXT)
        made.feed(b"1\n")
        made.end()
    tried = len(written)
    del file, made
    gc.collect()
    assert len(written) == tried


@pytest.mark.parametrize(("text", "error"), [(b"x\n", ValueRefused), (b"1", InternalError), (b"1\t2\n", InternalError)])
def test_a_refusal_leaves_no_whole_file(text: bytes, error: type[Exception]) -> None:
    out = bytearray()
    with pytest.raises(error), ParquetFile(columns(n=pa.int64()), out.extend) as file:  # noqa: PT012 - the end is meant
        made = RowsToParquet(file, file.columns, "t", Format.TAB_TEXT)
        made.feed(text)
        made.end()
    with pytest.raises(pa.ArrowInvalid):
        pq.read_table(io.BytesIO(out))
