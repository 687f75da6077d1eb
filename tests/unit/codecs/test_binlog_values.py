"""Values of row images, by the encodings that MySQL documents."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.codecs import binlog_values as values
from whimbrel.codecs.binlog_json import to_text
from whimbrel.codecs.binlog_values import ValueType, decimal, decimal_size, extent, json_text, reader
from whimbrel.errors import LogDamaged, LogFormatRefused, ReplicationFailed


def _read(kind: ValueType, raw: bytes) -> bytes:
    read = reader(kind, lambda charset: None)
    return raw if read is None else read(raw)


def _encoded(number: Decimal, precision: int, scale: int) -> bytes:
    """DECIMAL as the server keeps it, written from its description: groups of nine digits, big-endian."""
    digits = str(int(abs(number).scaleb(scale))).zfill(precision)
    whole, fraction = digits[: precision - scale], digits[precision - scale :]
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    raw = b""
    head = len(whole) % 9
    for part in [whole[:head], *(whole[i : i + 9] for i in range(head, len(whole), 9))]:
        raw += int(part or 0).to_bytes(sizes[len(part)], "big")
    for i in range(0, len(fraction), 9):
        part = fraction[i : i + 9]
        raw += int(part).to_bytes(sizes[len(part)], "big")
    raw = bytes([raw[0] ^ 0x80]) + raw[1:]
    return bytes(b ^ 0xFF for b in raw) if number < 0 else raw


@given(st.data())
def test_decimals(data: st.DataObject) -> None:
    precision = data.draw(st.integers(1, 65))
    scale = data.draw(st.integers(0, min(30, precision)))
    unscaled = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    sign, digits = "-" * (unscaled < 0), str(abs(unscaled)).zfill(scale + 1)
    expected = sign + digits[: len(digits) - scale] + ("." + digits[len(digits) - scale :] if scale else "")
    from decimal import localcontext

    with localcontext() as context:
        context.prec = 80
        raw = _encoded(Decimal(unscaled).scaleb(-scale), precision, scale)
    assert len(raw) == decimal_size(precision, scale)
    assert decimal(precision, scale)(raw).decode() == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_read_back_to_the_same(number: float) -> None:
    text = _read(ValueType(values.DOUBLE, 8), struct.pack("<d", number))
    assert math.copysign(1, float(text)) == math.copysign(1, number)
    assert float(text) == number


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_read_back_to_the_same(number: float) -> None:
    raw = struct.pack("<f", number)
    text = _read(ValueType(values.FLOAT, 4), raw)
    assert struct.pack("<f", float(text)) == raw
    assert len(text) <= 15 or abs(float(text)) == float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("kind", "raw", "text"),
    [
        (ValueType(values.TINY, 0), b"\xff", b"-1"),
        (ValueType(values.TINY, 0, unsigned=True), b"\xff", b"255"),
        (ValueType(values.TINY, 0, boolean=True), b"\x02", b"t"),
        (ValueType(values.INT24, 0), b"\x00\x00\x80", b"-8388608"),
        (ValueType(values.LONGLONG, 0, unsigned=True), b"\xff" * 8, b"18446744073709551615"),
        (ValueType(values.YEAR, 0), b"\x00", b"0000"),
        (ValueType(values.YEAR, 0), b"\xff", b"2155"),
        (ValueType(values.BIT, 0x0105), b"\x0a\x95", b"0101010010101"),
        (ValueType(values.DATE, 0), b"\x00\x00\x00", b"0000-00-00"),
        (ValueType(values.DATE, 0), ((2026 << 9) | (11 << 5) | 23).to_bytes(3, "little"), b"2026-11-23"),
        (ValueType(values.TIME, 0), (-8385959).to_bytes(3, "little", signed=True), b"-838:59:59"),
        (ValueType(values.DATETIME, 0), (20261123130501).to_bytes(8, "little"), b"2026-11-23 13:05:01"),
        (ValueType(values.TIMESTAMP, 0), (0).to_bytes(4, "little"), b"0000-00-00 00:00:00+00"),
        (ValueType(values.TIMESTAMP2, 0), (0xFFFFFFFF).to_bytes(4, "big"), b"2106-02-07 06:28:15+00"),
        (ValueType(values.TIME2, 0), b"\x80\x00\x00", b"00:00:00"),
        (ValueType(values.TIME2, 1), bytes.fromhex("7ffffff6"), b"-00:00:00.1"),
        (ValueType(values.STRING, 4, charset="binary"), b"\x01", b"\x01\0\0\0"),
        (ValueType(values.VARCHAR, 4, charset="binary"), b"\x01\0", b"\x01\0"),
        (ValueType(values.ENUM, 1, labels=(b"a", b"b")), b"\x02", b"b"),
        (ValueType(values.ENUM, 1, labels=(b"a",)), b"\x00", b""),
        (ValueType(values.SET, 1, labels=(b"a", b"b", b"c")), b"\x05", b"a,c"),
        (
            ValueType(values.STRING, 16, native="inet6"),
            bytes.fromhex("20010db8") + b"\0" * 11 + b"\x01",
            b"2001:db8::1",
        ),
        (ValueType(values.STRING, 16, native="inet6"), b"", b"::"),
        (ValueType(values.STRING, 4, native="inet4"), b"\x7f\0\0\x01", b"127.0.0.1"),
        # a DECIMAL of 65 digits inside JSON is written with room for 72
        (ValueType(values.JSON, 4), b"\x0f\xf6\x22\x48\x00\x80" + bytes(30) + b"\x01", b"1"),
        (ValueType(values.JSON, 4), b"\x0b" + struct.pack("<d", -1845979149704581.8), b"-1845979149704581.8"),
        (ValueType(values.JSON, 4), b"\x0b" + struct.pack("<d", 1845979149704580.0), b"1.84597914970458e15"),
    ],
)
def test_one_value(kind: ValueType, raw: bytes, text: bytes) -> None:
    assert _read(kind, raw) == text


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (ValueType(values.ENUM, 1, labels=(b"a",)), b"\x02"),
        (ValueType(values.SET, 1, labels=(b"a",)), b"\x02"),
        (ValueType(values.DATETIME2, 0), b"\x00" * 5),
        (ValueType(values.JSON, 4), b"\x63"),
        (ValueType(values.JSON, 4), b"\x0f\xf6\x03\x48\x00\x80"),
        (ValueType(values.JSON, 4), b"\x00\xff\xff\xff\xff"),
        (ValueType(values.JSON, 4), b"\x0c\xff\xff\xff\xff\xff\xff"),
    ],
)
def test_damage_is_named(kind: ValueType, raw: bytes) -> None:
    with pytest.raises(LogDamaged):
        _read(kind, raw)


def test_types_that_cannot_be_read_are_refused() -> None:
    for code, meta in ((values.BLOB_COMPRESSED, 5), (200, 1), (20, 1)):
        with pytest.raises(LogFormatRefused):
            extent(code, meta)


@given(st.binary(max_size=120))
def test_random_json_never_raises_anything_else(raw: bytes) -> None:
    try:
        text = json_text(raw)
    except ReplicationFailed:
        return
    assert isinstance(text, bytes)


@given(st.integers(0, 255), st.integers(0, 0xFFFF), st.binary(max_size=40))
def test_random_values_never_raise_anything_else(code: int, meta: int, raw: bytes) -> None:
    try:
        size = extent(code, meta).fixed
        raw = raw.ljust(max(size, 0), b"\x55")[: size if size >= 0 else None]
        _read(ValueType(code, meta, labels=(b"x",)), raw)
    except ReplicationFailed:
        pass


def test_nesting_in_json_is_bounded() -> None:
    raw = b"\x04\x00"
    for _ in range(200):
        body = b"\x01\x00" + (len(raw) + 6).to_bytes(2, "little") + raw[:1] + b"\x07\x00" + raw[1:]
        raw = b"\x02" + body
    with pytest.raises(LogDamaged):
        to_text(raw, lambda code, value: None)
