"""Text to typed columns, against Python's own numbers, dates and clocks."""

from __future__ import annotations

import datetime
import json
import math
import struct
from collections.abc import Iterator, Sequence
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.codecs.both import interpreted
from whimbrel.codecs import typed
from whimbrel.codecs.typed import Text
from whimbrel.errors import ValueRefused
from whimbrel.model.table import Annotation, Column, ColumnType

UTC = datetime.UTC
INSTANT = pa.timestamp("us", tz="UTC")
BIG = Context(prec=200)
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]


@pytest.fixture(params=["installed", "interpreted"], scope="module", autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "interpreted":
            for name in ("textvalues", "decimals"):
                patch.setattr(typed, name, interpreted(name))
        yield


def column(arrow: pa.DataType, annotation: Annotation = Annotation.NONE) -> Column:
    return Column("c", ColumnType(arrow, "", annotation))


def made(
    values: Sequence[bytes | None],
    source: Column,
    target: Column | None = None,
    text: Text = Text.CANONICAL,
    **options: bool,
) -> list[Any]:
    """The values through ``typed``, as the middle of a longer column: what stands around them must not matter."""
    target = target or source
    around = pa.array([b"junk", *values, b"\xff", None], pa.binary()).slice(1, len(values))
    batch = pa.RecordBatch.from_arrays([around], names=["any"])
    found = typed.typed(batch, [source], [target], "shop.orders", text, **options)
    found.validate(full=True)
    assert found.schema.names == ["c"]
    assert found.column(0).type == target.type.arrow
    result: list[Any] = found.column(0).to_pylist()
    return result


def refused(value: bytes, source: Column, target: Column | None = None, text: Text = Text.CANONICAL) -> str:
    with pytest.raises(ValueRefused) as e:
        made([value], source, target, text)
    told = str(e.value.message) + str(e.value.details)
    assert "shop.orders" in told
    assert "column c" in told
    assert "4711" not in told
    assert e.value.remedy
    assert e.value.__cause__ is None
    return str(e.value.message)


def texts(values: Sequence[object | None]) -> list[bytes | None]:
    return [None if v is None else str(v).encode() for v in values]


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrow", INTEGERS, ids=str)
def test_integers_to_their_limits(arrow: pa.DataType) -> None:
    bits = arrow.bit_width
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if pa.types.is_signed_integer(arrow) else (0, (1 << bits) - 1)
    values = [low, None, high, 0, 7, high // 10]
    assert made(texts(values), column(arrow)) == values
    assert made([b"007", b"-0", b"5.00"], column(arrow)) == [7, 0, 5]
    for wrong in (low - 1, high + 1, low * 10 - 1, high * 10, 1 << 64, 1 << 70):
        refused(str(wrong).encode(), column(arrow))
    for wrong in ("", "-", "+1", "1.5", "1.", ".0", "1e3", "0x1", " 1", "NaN", "1_0", "--1", "4711x"):
        refused(wrong.encode(), column(arrow))


@st.composite
def decimals(draw: st.DrawFn) -> tuple[pa.DataType, list[Decimal | None]]:
    precision = draw(st.integers(1, 76))
    scale = draw(st.integers(0, precision))
    top = 10**precision - 1
    units = st.integers(-top, top) | st.sampled_from([top, -top, 0, 1, -1]) | st.integers(-9, 9)
    arrow = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return arrow, [None if u is None else Decimal(u).scaleb(-scale, BIG) for u in draw(st.lists(st.none() | units))]


@settings(max_examples=50)
@given(decimals(), st.integers(0, 3))
def test_decimals_of_any_size(case: tuple[pa.DataType, list[Decimal | None]], zeros: int) -> None:
    arrow, values = case
    shown = [None if v is None else f"{v:f}" for v in values]
    assert made(texts(shown), column(arrow)) == values
    padded = [None if s is None else s + ("" if "." in s else ".0") + "0" * zeros for s in shown]
    assert made(texts(padded), column(arrow)) == values


@pytest.mark.parametrize("arrow", [pa.decimal128(5, 2), pa.decimal128(38, 10), pa.decimal256(76, 2)], ids=str)
def test_decimals_are_never_rounded_or_cut(arrow: pa.DataType) -> None:
    whole = arrow.precision - arrow.scale
    assert made([b"0", b"00001.50", b"-0.0"], column(arrow)) == [0, Decimal("1.5"), 0]
    for wrong in ("9" * (whole + 1), "0." + "0" * arrow.scale + "1", "1" + "0" * 80, "NaN", "Infinity", "-Infinity"):
        refused(wrong.encode(), column(arrow))
    for wrong in ("", "-", ".", "1.", ".5", "1.2.3", "1e2", "1,5", "+1", "1 ", "0x1", "4711x"):
        refused(wrong.encode(), column(arrow))


@settings(max_examples=50)
@given(st.lists(st.none() | st.floats()), st.lists(st.floats(width=32)))
def test_floats_keep_every_bit(wide: list[float | None], narrow: list[float]) -> None:
    def text(value: float | None) -> bytes | None:
        if value is None or math.isfinite(value):
            return None if value is None else repr(value).encode()
        return b"NaN" if math.isnan(value) else (b"Infinity" if value > 0 else b"-Infinity")

    def bits(values: Sequence[float | None]) -> list[bytes | None]:
        return [None if v is None else b"nan" if math.isnan(v) else struct.pack("d", v) for v in values]

    assert bits(made([text(v) for v in wide], column(pa.float64()))) == bits(wide)
    assert bits(made([text(v) for v in narrow], column(pa.float32()), text=Text.TAB)) == bits(narrow)


def test_floats_that_do_not_fit_are_refused() -> None:
    single, double = column(pa.float32()), column(pa.float64())
    assert made([b"0.5", b"NaN", b"-Infinity"], double, single)[:1] == [0.5]
    assert made([b"0.1"], single) == [struct.unpack("f", struct.pack("f", 0.1))[0]]
    assert made([b"123456789012345", b"-0.001"], column(pa.decimal128(18, 3)), double) == [123456789012345, -0.001]
    refused(b"0.1", double, single)
    refused(b"1e300", double, single)
    refused(b"1e39", single)
    refused(b"1e999", double)
    refused(b"1234567890123456", column(pa.decimal128(18, 3)), double)
    refused(b"12345678901234567", column(pa.int64()), double)
    for wrong in (b"", b"one", b"1 ", b"1,5", b"4711x"):
        refused(wrong, double)


def test_booleans() -> None:
    assert made([b"t", None, b"f"], column(pa.bool_())) == [True, None, False]
    assert made([b"1", None, b"0"], column(pa.bool_()), text=Text.TAB) == [True, None, False]
    assert made([b"1", b"0"], column(pa.int8()), column(pa.bool_())) == [True, False]
    assert made([b"t", None, b"f"], column(pa.bool_()), column(pa.int16())) == [1, None, 0]
    assert made([b"t", None, b"f"] * 5, column(pa.bool_()), column(pa.string())) == ["true", None, "false"] * 5
    assert made([b"1", b"0"], column(pa.bool_()), column(pa.string()), Text.TAB) == ["true", "false"]
    for wrong in (b"", b"1", b"true", b"tf", b"4711"):
        refused(wrong, column(pa.bool_()))
    refused(b"2", column(pa.int8()), column(pa.bool_()))


# --- dates and times ------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.lists(st.none() | st.datetimes()))
def test_moments_of_the_whole_calendar(values: list[datetime.datetime | None]) -> None:
    def days(value: datetime.datetime) -> str:
        return value.date().isoformat()

    def clock(value: datetime.datetime) -> str:
        return value.time().isoformat()

    def each(of: Any) -> list[Any]:
        return [None if v is None else of(v) for v in values]

    zoned = each(lambda v: v.replace(tzinfo=UTC))
    stamps = texts(each(lambda v: f"{days(v)} {clock(v)}"))
    assert made(texts(each(days)), column(pa.date32())) == each(lambda v: v.date())
    assert made(texts(each(clock)), column(pa.time64("us"))) == each(lambda v: v.time())
    assert made(stamps, column(pa.timestamp("us"))) == values
    assert made([None if s is None else s + b"+00" for s in stamps], column(INSTANT)) == zoned
    assert made(stamps, column(INSTANT), text=Text.TAB) == zoned
    midnights = each(lambda v: datetime.datetime.combine(v, datetime.time()))
    assert made(texts(each(days)), column(pa.date32()), column(pa.timestamp("us"))) == midnights


def test_days_of_four_centuries() -> None:
    first = datetime.date(1999, 1, 1)
    days = [first + datetime.timedelta(n) for n in range(0, 146_500, 7)]  # every day of every month, in the end
    assert made(texts(days), column(pa.date32())) == days
    ends = [datetime.date(y, m, 1) - datetime.timedelta(1) for y in range(1899, 2002) for m in (1, 2, 3)]
    assert made(texts(ends), column(pa.date32())) == ends


NO_DAYS = [
    "0000-00-00",
    "0000-01-01",
    "2026-00-10",
    "2026-02-00",
    "2026-02-29",
    "1900-02-29",
    "2026-04-31",
    "2026-13-01",
]
NO_DAYS += ["infinity", "-infinity", "12026-01-01", "-026-01-01", "2026-1-01", "2026/01/01", "2026-01-0a", "20x6-01-01"]
NO_DAYS += ["0044-03-15 BC", "4711-0a-01", "4711-01-011", ""]
NO_TIMES = ["24:00:00", "-01:00:00", "838:59:59", "12:60:00", "12:00:60", "12:00", "12:00:00.", "12:00:00.1234567"]
NO_TIMES += ["1:00:00", "12:00:00+00", "12-00-00", "12:00:00,5", "12:00:0x", "12:00:00.1x", "4711:00:00", ""]


@pytest.mark.parametrize("wrong", NO_DAYS)
def test_days_that_no_calendar_has_are_refused(wrong: str) -> None:
    refused(wrong.encode(), column(pa.date32()))
    refused(f"{wrong} 00:00:00".encode(), column(pa.timestamp("us")))
    refused(f"{wrong} 00:00:00+00".encode(), column(INSTANT))
    refused(wrong.encode(), column(INSTANT))


@pytest.mark.parametrize("wrong", NO_TIMES)
def test_times_that_no_clock_shows_are_refused(wrong: str) -> None:
    refused(wrong.encode(), column(pa.time64("us")))
    refused(wrong.encode(), column(pa.string(), Annotation.DURATION), column(pa.time64("us")))
    refused(f"2026-01-01 {wrong}".encode(), column(pa.timestamp("us")))


def test_an_instant_says_its_zone() -> None:
    refused(b"2026-01-01 12:00:00", column(INSTANT))
    refused(b"2026-01-01 12:00:00+02", column(INSTANT))
    refused(b"2026-01-01 12:00:00+00", column(pa.timestamp("us")))
    refused(b"2026-01-01T12:00:00", column(pa.timestamp("us")))
    assert made([b"2026-01-01 12:00:00.5"], column(pa.timestamp("us"))) == [
        datetime.datetime(2026, 1, 1, 12, 0, 0, 500_000)
    ]


# --- text and bytes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrow", [pa.string(), pa.large_string()], ids=str)
def test_text_stays_as_it_is(arrow: pa.DataType) -> None:
    values = ["", "grüße", "\0 \t\n", None, "NaN", "{1,2}"]
    assert made([None if v is None else v.encode() for v in values], column(pa.string()), column(arrow)) == values
    for source in (pa.int64(), pa.decimal128(9, 2), pa.date32(), pa.timestamp("us"), pa.float64()):
        assert made([b"-1.50", None], column(source), column(arrow)) == ["-1.50", None]
    refused(b"4711\xff", column(pa.string()), column(arrow))
    refused(b"\xed\xa0\x80", column(pa.string()), column(arrow))


def test_instants_as_text_are_canonical() -> None:
    text = column(pa.string())
    assert made([b"2026-01-01 12:00:00+00"], column(INSTANT), text) == ["2026-01-01 12:00:00+00"]
    assert made([b"2026-01-01 12:00:00", None], column(INSTANT), text, Text.TAB) == ["2026-01-01 12:00:00+00", None]


def test_nul_is_refused_where_that_is_asked() -> None:
    assert made([b"a", b"b"], column(pa.string()), refuse_nul=True) == ["a", "b"]
    with pytest.raises(ValueRefused, match=r"shop\.orders, column c: .*U\+0000"):
        made([b"a", b"b\0c"], column(pa.string()), refuse_nul=True)


@pytest.mark.parametrize("arrow", [pa.binary(), pa.large_binary()], ids=str)
@given(values=st.lists(st.none() | st.binary()))
@settings(max_examples=30)
def test_bytes(arrow: pa.DataType, values: list[bytes | None]) -> None:
    assert made(values, column(pa.binary()), column(arrow)) == values
    hexed = [None if v is None else v.hex().upper().encode() for v in values]
    assert made(hexed, column(pa.binary()), column(arrow), Text.TAB) == values


def test_bytes_are_no_text_and_half_a_byte_none() -> None:
    refused(b"abcd", column(pa.binary()), column(pa.string()))
    refused(b"ABC", column(pa.binary()), text=Text.TAB)
    refused(b"XYXY", column(pa.binary()), text=Text.TAB)
    with pytest.raises(ValueRefused):
        made([b"ABC", b"D"], column(pa.binary()), text=Text.TAB)


def test_arrays_become_json() -> None:
    def array(element: pa.DataType) -> Column:
        return column(pa.list_(element), Annotation.ARRAY)

    wanted = column(pa.string(), Annotation.JSON)
    for element, literal, value in [
        (pa.int32(), b"{1,NULL,-3}", [1, None, -3]),
        (pa.bool_(), b"{t,f}", [True, False]),
        (pa.decimal128(9, 2), b"{1.50}", [1.5]),
        (pa.string(), b'{"a b",NULL,"NULL",c}', ["a b", None, "NULL", "c"]),
    ]:
        assert [json.loads(v) for v in made([literal], array(element), wanted)] == [value]
    assert made([b"[1,null]", None], array(pa.int32()), wanted, Text.TAB) == ["[1,null]", None]
    assert made([b"{1,2}"], array(pa.int32()), column(pa.string())) == ["{1,2}"]
    refused(b"[1,2]", array(pa.int32()), column(pa.string()), Text.TAB)  # changes would come as {1,2}
    refused(b"{1,2", array(pa.int32()), wanted)
    refused(b"{\xff}", array(pa.string()), wanted)
    refused(b"{x}", array(pa.bool_()), wanted)
    refused(b"{" * 5000, array(pa.int32()), wanted)


def test_types_that_are_not_made_are_refused() -> None:
    for arrow in (pa.timestamp("ns"), pa.time32("s"), pa.list_(pa.int32()), pa.timestamp("us", "Europe/Berlin")):
        refused(b"1", column(pa.string()), column(arrow))


def test_no_rows_and_only_nulls() -> None:
    for arrow in [*INTEGERS, pa.decimal128(9, 2), pa.decimal256(50, 2), pa.float32(), pa.float64(), pa.bool_()]:
        assert made([], column(arrow)) == []
        assert made([None] * 9, column(arrow)) == [None] * 9
    for arrow in [pa.date32(), pa.time64("us"), pa.timestamp("us"), INSTANT, pa.string(), pa.binary()]:
        assert made([], column(arrow), text=Text.TAB) == []
        assert made([None] * 9, column(arrow), text=Text.TAB) == [None] * 9
        empty = pa.RecordBatch.from_arrays([pa.array([], pa.binary())], names=["c"])
        assert typed.typed(empty, [column(arrow)], [column(arrow)], "t", Text.TAB).num_rows == 0
