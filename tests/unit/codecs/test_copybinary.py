"""COPY binary, built here byte by byte after PostgreSQL's documentation, and cut anywhere."""

from __future__ import annotations

import datetime
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from decimal import Context, Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.codecs.both import interpreted
from whimbrel.codecs import cells, copybinary
from whimbrel.codecs.copybinary import CopyReader, decodable
from whimbrel.errors import InternalError, ValueRefused
from whimbrel.model.table import Annotation, Column, ColumnType

UTC = datetime.UTC
INSTANT = pa.timestamp("us", tz="UTC")
EPOCH = datetime.datetime(2000, 1, 1)
BIG = Context(prec=200)
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"


@pytest.fixture(params=["installed", "interpreted"], scope="module", autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "interpreted":
            for name in ("copyfields", "decimals"):
                patch.setattr(copybinary, name, interpreted(name))
            patch.setattr(cells, "copyfields", interpreted("copyfields"))
        yield


def column(arrow: pa.DataType, annotation: Annotation = Annotation.NONE, native: str = "") -> Column:
    return Column("c", ColumnType(arrow, native, annotation))


def copied(rows: Sequence[Sequence[bytes | None]]) -> bytes:
    cell = lambda v: b"\xff" * 4 if v is None else struct.pack(">i", len(v)) + v  # noqa: E731
    return HEADER + b"".join(struct.pack(">h", len(r)) + b"".join(map(cell, r)) for r in rows) + TRAILER


def read(blocks: Sequence[bytes], source: Sequence[Column], target: Sequence[Column] | None = None) -> list[list[Any]]:
    """All rows, taken behind every other block."""
    assert decodable(source, target or source)
    reader = CopyReader(source, target or source, "shop.orders")
    batches = []
    for number, block in enumerate(blocks):
        reader.feed(block)
        if number % 2:
            batches.append(reader.take())
    batches.append(reader.take())
    reader.end()
    for batch in batches:
        batch.validate(full=True)
        assert batch.schema.types == [c.type.arrow for c in target or source]
    table = pa.Table.from_batches(batches)
    return [list(row) for row in zip(*(c.to_pylist() for c in table.columns), strict=True)]


def made(values: Sequence[bytes | None], source: Column, target: Column | None = None) -> list[Any]:
    return [v for (v,) in read([copied([[v] for v in values])], [source], [target] if target else None)]


def refused(value: bytes, source: Column, target: Column | None = None) -> None:
    with pytest.raises(ValueRefused, match=r"^shop\.orders, column c: "):
        made([None, value], source, target)


def numeric(value: Decimal | str, *, zeros: int = 0) -> bytes:
    """As numeric_send writes it; with ``zeros`` needless digits before it."""
    if isinstance(value, str):
        return struct.pack(">hhHh", 0, 0, {"NaN": 0xC000, "Infinity": 0xD000, "-Infinity": 0xF000}[value], 0)
    shown = f"{value.copy_abs():f}"
    whole, _, fraction = shown.partition(".")
    whole = "0" * (-len(whole) % 4) + whole
    padded = fraction + "0" * (-len(fraction) % 4)
    digits = [int(whole[n : n + 4]) for n in range(0, len(whole), 4)]
    weight = len(digits) - 1
    digits += [int(padded[n : n + 4]) for n in range(0, len(padded), 4)]
    while digits and digits[0] == 0:
        digits, weight = digits[1:], weight - 1
    while digits and digits[-1] == 0:
        digits = digits[:-1]
    digits, weight = [0] * zeros + digits, weight + zeros
    sign = 0x4000 if value.is_signed() else 0
    return struct.pack(f">hhHh{len(digits)}h", len(digits), weight, sign, len(fraction), *digits)


@st.composite
def decimals(draw: st.DrawFn) -> tuple[pa.DataType, list[Decimal | None]]:
    precision = draw(st.integers(1, 76))
    scale = draw(st.integers(0, precision))
    top = 10**precision - 1
    units = st.integers(-top, top) | st.sampled_from([top, -top, 0, 1, -1]) | st.integers(-9, 9)
    arrow = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return arrow, [None if u is None else Decimal(u).scaleb(-scale, BIG) for u in draw(st.lists(st.none() | units))]


@settings(max_examples=50)
@given(decimals(), st.integers(0, 2))
def test_numbers_of_any_size(case: tuple[pa.DataType, list[Decimal | None]], zeros: int) -> None:
    arrow, values = case
    assert made([None if v is None else numeric(v, zeros=zeros) for v in values], column(arrow)) == values


@pytest.mark.parametrize("arrow", [pa.decimal128(5, 2), pa.decimal128(38, 10), pa.decimal256(76, 2)], ids=str)
def test_numbers_are_never_rounded_or_cut(arrow: pa.DataType) -> None:
    whole = arrow.precision - arrow.scale
    for wrong in ("9" * (whole + 1), "0." + "0" * arrow.scale + "1", "1" + "0" * 80, "1" + "0" * whole):
        refused(numeric(Decimal(wrong)), column(arrow))
        refused(numeric(Decimal(wrong).copy_negate()), column(arrow))
    for beyond in ("NaN", "Infinity", "-Infinity"):
        refused(numeric(beyond), column(arrow))
    refused(numeric(Decimal("1.001")), column(pa.decimal128(20, 3)), column(pa.decimal128(20, 2)))


@pytest.mark.parametrize("bytes_", [1, 2, 4, 8])
def test_numbers_of_fixed_width(bytes_: int) -> None:
    code, arrow = {1: ("b", pa.int8()), 2: ("h", pa.int16()), 4: ("i", pa.int32()), 8: ("q", pa.int64())}[bytes_]
    low, high = -(1 << 8 * bytes_ - 1), (1 << 8 * bytes_ - 1) - 1
    values = [low, None, -1, 0, 1, high]
    sent = [None if v is None else struct.pack(f">{code}", v) for v in values]
    assert made(sent, column(arrow)) == values
    assert made(sent, column(arrow), column(pa.decimal128(38, 0))) == values
    with pytest.raises(InternalError):
        made([bytes(bytes_ + 1)], column(arrow))


def test_other_widths_of_whole_numbers() -> None:
    assert made([b"\xff\xff\xff\xff"], column(pa.uint32())) == [2**32 - 1]
    assert made([b"\0\0\0\x05"], column(pa.int32()), column(pa.uint8())) == [5]
    refused(b"\0\0\1\0", column(pa.int32()), column(pa.uint8()))
    refused(b"\xff\xff\xff\xff", column(pa.int32()), column(pa.uint64()))
    assert not decodable([column(pa.int64())], [column(pa.decimal128(18, 0))])
    assert not decodable([column(pa.int64())], [column(pa.string())])


@settings(max_examples=30)
@given(st.lists(st.floats(allow_nan=False)), st.lists(st.floats(width=32, allow_nan=False)))
def test_floats_keep_every_bit(wide: list[float], narrow: list[float]) -> None:
    sent = [struct.pack(">d", v) for v in wide]
    assert [struct.pack(">d", v) for v in made(sent, column(pa.float64()))] == sent
    sent = [struct.pack(">f", v) for v in narrow]
    assert [struct.pack(">f", v) for v in made(sent, column(pa.float32()))] == sent


def test_booleans() -> None:
    assert made([b"\1", None, b"\0"] * 4, column(pa.bool_())) == [True, None, False] * 4
    with pytest.raises(InternalError):
        made([b"\2"], column(pa.bool_()))


@settings(max_examples=30)
@given(st.lists(st.none() | st.datetimes()))
def test_moments_of_the_whole_calendar(values: list[datetime.datetime | None]) -> None:
    def each(of: Callable[[datetime.datetime], Any]) -> list[Any]:
        return [None if v is None else of(v) for v in values]

    def micros(span: datetime.timedelta) -> bytes:
        return struct.pack(">q", (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds)

    stamps = each(lambda v: micros(v - EPOCH))
    assert made(stamps, column(pa.timestamp("us"))) == values
    assert made(stamps, column(INSTANT)) == each(lambda v: v.replace(tzinfo=UTC))
    days = each(lambda v: struct.pack(">i", (v - EPOCH).days))
    assert made(days, column(pa.date32())) == each(lambda v: v.date())
    clocks = each(lambda v: micros(v - datetime.datetime.combine(v, datetime.time())))
    assert made(clocks, column(pa.time64("us"))) == each(lambda v: v.time())


def test_what_no_calendar_has_is_refused() -> None:
    for days in (-730_120, 2_921_940, -(1 << 31), (1 << 31) - 1):  # the days before and behind, and the infinities
        refused(struct.pack(">i", days), column(pa.date32()))
    for micros in (-730_119 * 86_400_000_000 - 1, 2_921_940 * 86_400_000_000, -(1 << 63), (1 << 63) - 1):
        refused(struct.pack(">q", micros), column(pa.timestamp("us")))
        refused(struct.pack(">q", micros), column(INSTANT))
    for micros in (86_400_000_000, -1):
        refused(struct.pack(">q", micros), column(pa.time64("us")))


def test_text_bytes_and_documents() -> None:
    texts = ["", "grüße", None, "\t\n\\"]
    sent = [None if t is None else t.encode() for t in texts]
    for annotation in (Annotation.NONE, Annotation.CHAR, Annotation.ENUM):
        assert made(sent, column(pa.string(), annotation)) == texts
    assert made(sent, column(pa.string()), column(pa.large_string())) == texts
    assert made(sent, column(pa.binary())) == sent
    json = column(pa.string(), Annotation.JSON, "json")
    jsonb = column(pa.string(), Annotation.JSON, "jsonb")
    assert made([b"{}", None], json) == ["{}", None]
    assert made([b"\1{}", None, b"\1[1]"], jsonb) == ["{}", None, "[1]"]
    refused(b"\xff", column(pa.string()))
    refused(b"\1\xff", jsonb)
    for damaged in (b"", b"\2{}"):
        with pytest.raises(InternalError):
            made([damaged], jsonb)


def test_uuids() -> None:
    values = [uuid.UUID(int=0), uuid.UUID("11111111-2222-4333-8444-5555555555ff"), None, uuid.UUID(int=2**128 - 1)]
    sent = [None if v is None else v.bytes for v in values]
    assert made(sent, column(pa.string(), Annotation.UUID)) == [None if v is None else str(v) for v in values]
    with pytest.raises(InternalError):
        made([b"short"], column(pa.string(), Annotation.UUID))


def test_what_is_not_decoded_travels_as_text() -> None:
    for annotation in set(Annotation) - {Annotation.NONE, Annotation.CHAR, Annotation.ENUM, Annotation.UUID}:
        odd = [column(pa.string(), annotation, "domain")]
        assert not decodable(odd, odd)
    for source, target in [
        (column(pa.list_(pa.int32()), Annotation.ARRAY), column(pa.string(), Annotation.JSON)),
        (column(pa.binary(), Annotation.SPATIAL), column(pa.binary())),
        (column(pa.date32()), column(pa.timestamp("us"))),
        (column(pa.bool_()), column(pa.string())),
        (column(pa.float64()), column(pa.float32())),
    ]:
        assert not decodable([source], [target])


ROWS = [[struct.pack(">q", n), None if n % 3 else b"text %d" % n, numeric(Decimal(n))] for n in range(20)]
THREE = [column(pa.int64()), column(pa.string()), column(pa.decimal128(9, 2))]
EXPECTED = [[n, None if n % 3 else f"text {n}", n] for n in range(20)]


@settings(max_examples=40)
@given(st.lists(st.integers(0, len(copied(ROWS)))))
def test_rows_come_back_wherever_blocks_are_cut(places: list[int]) -> None:
    stream = copied(ROWS)
    blocks = [stream[a:b] for a, b in pairwise([0, *sorted(places), len(stream)])]
    assert read(blocks, THREE) == EXPECTED


@settings(max_examples=60)
@given(st.integers(0, len(copied(ROWS)) - 1), st.integers(1, 255), st.booleans())
def test_damaged_streams_are_noticed_or_read_in_bounds(place: int, flip: int, cut: bool) -> None:
    stream = bytearray(copied(ROWS))
    if cut:
        with pytest.raises(InternalError):
            read([bytes(stream[:place])], THREE)
        return
    stream[place] ^= flip
    try:
        assert len(read([bytes(stream)], THREE)) == len(ROWS)
    except (InternalError, ValueRefused):
        return


NO_STREAMS = [copied(ROWS) + b"\0", copied(ROWS)[:-1], HEADER, b"", HEADER[:-1] + b"\1x" + TRAILER, copied([[b"1"]])]
NO_STREAMS += [b"PGCOPX" + copied(ROWS)[6:], HEADER + b"\0\3" + b"\xff\xff\xff\xfe" * 3 + TRAILER]
NO_STREAMS += [HEADER[:13] + b"\1" + HEADER[14:] + TRAILER]


@pytest.mark.parametrize("wrong", NO_STREAMS)
def test_what_is_no_stream_is_an_error(wrong: bytes) -> None:
    with pytest.raises(InternalError):
        read([wrong], THREE)
    with pytest.raises(InternalError):
        read([wrong[n : n + 1] for n in range(len(wrong))], THREE)


def test_no_rows() -> None:
    assert read([copied([])], THREE) == []
    assert read([HEADER, TRAILER], THREE) == []


def test_a_long_row_is_not_joined_at_every_block() -> None:
    reader = CopyReader([column(pa.string())], [column(pa.string())], "t")
    stream = copied([[b"x" * 10_000]])
    reader.feed(stream[:5000])
    assert reader.waiting == 5000
    assert reader.take().num_rows == 0
    reader.feed(stream[5000:9000])
    assert reader.waiting < 0
    reader.feed(stream[9000:])
    assert reader.take().column(0).to_pylist() == ["x" * 10_000]
    reader.end()
