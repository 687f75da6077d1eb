"""MySQL's binary result sets, built here byte by byte after its documentation, and cut anywhere."""

from __future__ import annotations

import datetime
import struct
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.codecs.both import interpreted
from whimbrel.codecs import cells, resultset
from whimbrel.codecs.resultset import ResultReader, decodable
from whimbrel.errors import InternalError, ValueRefused
from whimbrel.model.table import Annotation, Column, ColumnType

INSTANT = pa.timestamp("us", tz="UTC")
EOF_ = b"\xfe\x00\x00\x02\x00"
CONTINUED = 0xFFFFFF
TINY, SHORT, LONG, FLOAT, DOUBLE, STAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR = (*range(1, 6), *range(7, 14))
BIT, JSON, NEWDECIMAL, BLOB, STRING = 16, 245, 246, 252, 254
FIXED = {TINY: "b", SHORT: "h", YEAR: "h", LONG: "i", INT24: "i", LONGLONG: "q", FLOAT: "f", DOUBLE: "d"}


@pytest.fixture(params=["installed", "interpreted"], scope="module", autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "interpreted":
            for name in ("resultrows", "resultvalues"):
                patch.setattr(resultset, name, interpreted(name))
            patch.setattr(cells, "copyfields", interpreted("copyfields"))
        yield


def column(
    arrow: pa.DataType, annotation: Annotation = Annotation.NONE, native: str = "", length: int | None = None
) -> Column:
    return Column("c", ColumnType(arrow, native, annotation, length))


def packets(payloads: Sequence[bytes]) -> bytes:
    out, number = b"", 1
    for payload in payloads:
        for at in range(0, len(payload) + 1, CONTINUED):
            part = payload[at : at + CONTINUED]
            out += len(part).to_bytes(3, "little") + bytes([number & 255]) + part
            number += 1
    return out


def sized(value: bytes) -> bytes:
    n = len(value)
    if n < 251:
        return bytes([n]) + value
    if n < 1 << 16:
        return b"\xfc" + n.to_bytes(2, "little") + value
    return (b"\xfd" + n.to_bytes(3, "little") if n < 1 << 24 else b"\xfe" + n.to_bytes(8, "little")) + value


def definition(code: int, *, unsigned: bool = False) -> bytes:
    names = b"".join(map(sized, (b"def", b"shop", b"orders", b"orders", b"c", b"c")))
    return names + b"\x0c" + struct.pack("<HIBHBH", 45, 0, code, 0x20 * unsigned, 0, 0)


def row(values: Sequence[bytes | None]) -> bytes:
    bits = sum(1 << n + 2 for n, v in enumerate(values) if v is None)
    bitmap = bits.to_bytes((len(values) + 9) // 8, "little")
    return b"\0" + bitmap + b"".join(v for v in values if v is not None)


def answer(rows: Sequence[Sequence[bytes | None]], definitions: Sequence[bytes]) -> bytes:
    return packets([bytes([len(definitions)]), *definitions, EOF_, *map(row, rows), EOF_])


def read(blocks: Sequence[bytes], source: Sequence[Column], target: Sequence[Column] | None = None) -> list[list[Any]]:
    """All rows, taken behind every other block."""
    assert decodable(source, target or source)
    reader = ResultReader(source, target or source, "shop.orders")
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


def made(
    values: Sequence[bytes | None], code: int, source: Column, target: Column | None = None, *, unsigned: bool = False
) -> list[Any]:
    stream = answer([[v] for v in values], [definition(code, unsigned=unsigned)])
    return [v for (v,) in read([stream], [source], [target] if target else None)]


def refused(value: bytes, code: int, source: Column, target: Column | None = None, *, unsigned: bool = False) -> None:
    with pytest.raises(ValueRefused, match=r"^shop\.orders, column c: "):
        made([None, value], code, source, target, unsigned=unsigned)


@pytest.mark.parametrize("code", [TINY, SHORT, INT24, LONG, LONGLONG])
@pytest.mark.parametrize("unsigned", [False, True])
def test_whole_numbers(code: int, unsigned: bool) -> None:
    form = FIXED[code].upper() if unsigned else FIXED[code]
    bits = 8 * struct.calcsize(f"<{form}")
    low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << bits - 1), (1 << bits - 1) - 1)
    values = [low, None, 0, 1, high, high - 1]
    sent = [None if v is None else struct.pack(f"<{form}", v) for v in values]
    ours = column(getattr(pa, f"{'u' * unsigned}int{bits}")())
    assert made(sent, code, ours, unsigned=unsigned) == values
    assert made(sent, code, ours, column(pa.decimal128(20, 0)), unsigned=unsigned) == values
    wide = struct.pack(f"<{form}", high)
    refused(wide, code, ours, column(pa.decimal128(2, 0)), unsigned=unsigned)
    if high > 127:
        refused(wide, code, ours, column(pa.int8()), unsigned=unsigned)
    with pytest.raises(InternalError):
        made([b"\1" * (bits // 8 + 1)], code, ours)


def test_years_and_numbers_whose_column_was_widened_meanwhile() -> None:
    year = column(pa.int16(), Annotation.YEAR)
    assert made([struct.pack("<H", 2155), b"\0\0"], YEAR, year, unsigned=True) == [2155, 0]
    assert made([struct.pack("<q", 5)], LONGLONG, column(pa.int8())) == [5]
    refused(struct.pack("<q", 500), LONGLONG, column(pa.int8()))
    refused(b"\x01a", STRING, column(pa.int8()))


@settings(max_examples=30)
@given(st.lists(st.floats(allow_nan=False)), st.lists(st.floats(width=32, allow_nan=False)))
def test_floats_keep_every_bit(wide: list[float], narrow: list[float]) -> None:
    sent = [struct.pack("<d", v) for v in wide]
    assert [struct.pack("<d", v) for v in made(sent, DOUBLE, column(pa.float64()))] == sent
    sent = [struct.pack("<f", v) for v in narrow]
    assert [struct.pack("<f", v) for v in made(sent, FLOAT, column(pa.float32()))] == sent
    assert made(sent, FLOAT, column(pa.float32()), column(pa.float64())) == narrow
    exact = [struct.pack("<d", v) for v in narrow]
    assert made(exact, DOUBLE, column(pa.float64()), column(pa.float32())) == narrow


def test_a_double_is_not_rounded_to_a_single() -> None:
    refused(struct.pack("<d", 0.1), DOUBLE, column(pa.float64()), column(pa.float32()))


def test_decimals_come_as_text() -> None:
    wide = column(pa.decimal256(65, 30))
    text = "9" * 35 + "." + "8" * 30
    assert made([sized(text.encode()), None, b"\x04-1.5"], NEWDECIMAL, wide) == [Decimal(text), None, Decimal("-1.5")]
    assert made([sized(b"00000.50")], NEWDECIMAL, column(pa.decimal128(7, 2))) == [Decimal("0.50")]  # ZEROFILL
    assert made([sized(b"12.00")], NEWDECIMAL, column(pa.decimal128(9, 2)), column(pa.int32())) == [12]
    refused(sized(b"12.34"), NEWDECIMAL, column(pa.decimal128(9, 2)), column(pa.decimal128(9, 1)))


def day(value: datetime.datetime, size: int) -> bytes:
    parts = struct.pack(
        "<HBBBBBI", value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond
    )
    return bytes([size]) + parts[:size]


def shortest(value: datetime.datetime) -> bytes:
    return day(value, 11 if value.microsecond else 7 if value.time() != datetime.time() else 4)


@settings(max_examples=30)
@given(st.lists(st.none() | st.datetimes()))
def test_moments_of_the_whole_calendar(values: list[datetime.datetime | None]) -> None:
    sent = [None if v is None else shortest(v) for v in values]
    assert made(sent, DATETIME, column(pa.timestamp("us"))) == values
    instants = [None if v is None else v.replace(tzinfo=datetime.UTC) for v in values]
    assert made(sent, STAMP, column(INSTANT)) == instants
    sent = [None if v is None else day(v, 4) for v in values]
    assert made(sent, DATE, column(pa.date32())) == [None if v is None else v.date() for v in values]
    midnights = [None if v is None else datetime.datetime.combine(v, datetime.time()) for v in values]
    assert made(sent, DATE, column(pa.date32()), column(pa.timestamp("us"))) == midnights


@pytest.mark.parametrize(
    "zero", [b"\0", b"\4\0\0\0\0", b"\4\xe4\7\0\0", b"\4\xe4\7\2\0", b"\4\0\0\1\1", b"\4\xe4\7\2\x1e"]
)
def test_days_that_no_calendar_has_are_refused(zero: bytes) -> None:
    refused(zero, DATE, column(pa.date32()))
    refused(zero, DATETIME, column(pa.timestamp("us")))
    refused(zero, STAMP, column(INSTANT))
    refused(b"\7\xe4\7\0\1\1\2\3", DATETIME, column(pa.timestamp("us")))


def time_(text: str) -> bytes:
    """As the server sends it."""
    negative, whole = text.startswith("-"), text.lstrip("-")
    clock, _, fraction = whole.partition(".")
    hours, minutes, seconds = map(int, clock.split(":"))
    micros = int(fraction.ljust(6, "0")) if fraction else 0
    if not (hours or minutes or seconds or micros):
        return b"\0"
    packed = struct.pack("<BIBBBI", negative, hours // 24, hours % 24, minutes, seconds, micros)
    return b"\x0c" + packed if micros else b"\x08" + packed[:8]


def test_times_beyond_a_day() -> None:
    texts = ["00:00:00.000", "838:59:59.000", "-838:59:58.999", "23:59:59.001", "24:00:00.000", "-00:00:00.001"]
    duration = column(pa.string(), Annotation.DURATION, length=3)
    assert made([*map(time_, texts), None], TIME, duration) == [*texts, None]
    whole = column(pa.string(), Annotation.DURATION, length=0)
    assert made(list(map(time_, ["00:00:00", "-100:00:01"])), TIME, whole) == ["00:00:00", "-100:00:01"]
    clock = column(pa.time64("us"))
    assert made([time_("23:59:59.001")], TIME, duration, clock) == [datetime.time(23, 59, 59, 1000)]
    for beyond in ("24:00:00", "-00:00:01"):
        refused(time_(beyond), TIME, duration, clock)
    for damaged in (b"\1\0", time_("01:02:03.0005"), b"\x08\2" + bytes(7), b"\x08\0\x23" + bytes(6), time_("1:60:00")):
        with pytest.raises(InternalError):
            made([damaged], TIME, duration)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 13, 64])
def test_bits(width: int) -> None:
    values = [0, 1, (1 << width) - 1, 1 << width - 1, 0x5555555555555555 & (1 << width) - 1]
    sent = [sized(v.to_bytes((width + 7) // 8, "big")) for v in values]
    bits = column(pa.string(), Annotation.BIT, length=width)
    assert made([*sent, None], BIT, bits) == [*(f"{v:0{width}b}" for v in values), None]
    with pytest.raises(InternalError):
        made([sized(b"\0" * (width // 8 + 2))], BIT, bits)
    if width % 8:
        with pytest.raises(InternalError):
            made([sized((1 << width).to_bytes((width + 7) // 8, "big"))], BIT, bits)


@pytest.mark.parametrize("size", [0, 1, 250, 251, 65535, 65536, CONTINUED, CONTINUED - 14, 2 * CONTINUED + 1])
def test_texts_and_bytes_of_any_length(size: int) -> None:
    text = b"x" * size
    found = made([b"\1a", sized(text), b"\1b", None], BLOB, column(pa.string()))
    assert [None if f is None else len(f) for f in found] == [1, size, 1, None]
    if size < CONTINUED:
        assert made([sized(text), None], BLOB, column(pa.binary())) == [text, None]


def test_texts_of_no_meaning_are_refused() -> None:
    for annotation in (Annotation.NONE, Annotation.CHAR, Annotation.ENUM, Annotation.SET, Annotation.JSON):
        assert made([sized("grüße".encode())], STRING, column(pa.string(), annotation)) == ["grüße"]
        refused(b"\1\xff", STRING, column(pa.string(), annotation))
    with pytest.raises(ValueRefused, match="no meaning in its character set"):
        made([b"\1\xff"], STRING, column(pa.string()))


def test_what_is_not_decoded_travels_as_text() -> None:
    for source, target in [
        (column(pa.int64()), column(pa.string())),
        (column(pa.float64()), column(pa.decimal128(9, 2))),
        (column(pa.timestamp("us")), column(pa.date32())),
        (column(pa.string(), Annotation.NATIVE), column(pa.string())),
        (column(pa.binary()), column(pa.string())),
    ]:
        assert not decodable([source], [target])


MANY = [column(pa.int64()), *[column(pa.string())] * 7, column(pa.timestamp("us")), column(pa.float32())]
CODES = [LONGLONG, *[STRING] * 7, DATETIME, FLOAT]
MOMENT = datetime.datetime(2026, 11, 27, 1, 2, 3, 4)
ROWS: list[list[bytes | None]] = [
    [struct.pack("<q", n), *[None if (n + k) % 3 else sized(b"text %d" % n) for k in range(7)], shortest(MOMENT), None]
    for n in range(12)
]
STREAM = answer(ROWS, [definition(code) for code in CODES])
EXPECTED = [[n, *[None if (n + k) % 3 else f"text {n}" for k in range(7)], MOMENT, None] for n in range(12)]


@settings(max_examples=40)
@given(st.lists(st.integers(0, len(STREAM))))
def test_rows_come_back_wherever_blocks_are_cut(places: list[int]) -> None:
    assert read([STREAM[a:b] for a, b in pairwise([0, *sorted(places), len(STREAM)])], MANY) == EXPECTED


@settings(max_examples=100)
@given(st.integers(0, len(STREAM) - 1), st.integers(1, 255), st.booleans())
def test_damaged_streams_are_noticed_or_read_in_bounds(place: int, flip: int, cut: bool) -> None:
    stream = bytearray(STREAM)
    if cut:
        with pytest.raises(InternalError):
            read([bytes(stream[:place])], MANY)
        return
    stream[place] ^= flip
    try:
        read([bytes(stream)], MANY)
    except (InternalError, ValueRefused):
        return


@pytest.mark.parametrize("wrong", [STREAM + b"\0", STREAM[:-1], STREAM[:-9], b"", packets([b"\2"]), packets([b"\xff"])])
def test_what_is_no_answer_is_an_error(wrong: bytes) -> None:
    with pytest.raises(InternalError):
        read([wrong], MANY)
    with pytest.raises(InternalError):
        read([wrong[n : n + 1] for n in range(len(wrong))], MANY)


def test_no_rows() -> None:
    assert read([answer([], [definition(code) for code in CODES])], MANY) == []
