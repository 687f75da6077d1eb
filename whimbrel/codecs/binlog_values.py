"""Values of binlog row images to canonical text (docs/formats.md), one small function per type.

A value's extent in the image follows from its type code and metadata alone: it has a fixed size, or a length in front.
``extent`` says which; ``reader`` gives the function that turns exactly those bytes into text.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whimbrel.codecs import binlog_json
from whimbrel.errors import LogDamaged, LogFormatRefused

Read = Callable[[bytes], bytes]

DECIMAL, TINY, SHORT, LONG, FLOAT, DOUBLE, NULL, TIMESTAMP, LONGLONG, INT24 = range(10)
DATE, TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = range(10, 20)
BLOB_COMPRESSED, VARCHAR_COMPRESSED, VECTOR = 140, 141, 242
JSON, NEWDECIMAL, ENUM, SET, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING, STRING, GEOMETRY = range(245, 256)

INTEGERS = {TINY: 1, SHORT: 2, INT24: 3, LONG: 4, LONGLONG: 8}
BLOBS = (BLOB, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, JSON, GEOMETRY, VECTOR)
CHARACTERS = (
    *(VARCHAR, VAR_STRING, STRING, BLOB, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB),
    *(BLOB_COMPRESSED, VARCHAR_COMPRESSED),
)
_FIXED = {**INTEGERS, FLOAT: 4, DOUBLE: 8, TIMESTAMP: 4, DATE: 3, NEWDATE: 3, TIME: 3, DATETIME: 8, YEAR: 1}
_FRACTIONAL = {TIMESTAMP2: 4, DATETIME2: 5, TIME2: 3}
_DEFLATED = 8  # how MariaDB marks a COMPRESSED value that zlib made
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # bytes for so many decimal digits
_MICROS = (0, 1, 1, 2, 2, 3, 3)  # bytes for so many fractional digits of a time


@dataclass(frozen=True)
class Extent:
    """``fixed`` bytes, or, when that is negative, a little-endian length of ``prefix`` bytes in front."""

    fixed: int
    prefix: int = 0


@dataclass(frozen=True)
class ValueType:
    """One column of a table map: type code and metadata as logged, and what the log may leave out.

    ``charset`` is MySQL's name ('binary' for bytes), ``labels`` those of enum and set as UTF-8. ``native`` is the data
    type by name for the few that look alike in the log ('uuid', 'inet6', 'inet4'). ``instant`` and ``boolean`` choose
    the canonical text of TIMESTAMP and of TINYINT(1) where that is read as a boolean.
    """

    code: int
    meta: int
    unsigned: bool = False
    charset: str = "utf8mb4"
    labels: tuple[bytes, ...] = ()
    native: str = ""
    boolean: bool = False


def extent(code: int, meta: int) -> Extent:
    """Where a value of this type ends. Raises LogFormatRefused for types that no row image can have."""
    if code in _FIXED:
        return Extent(_FIXED[code])
    if code in _FRACTIONAL and meta <= 6:
        return Extent(_FRACTIONAL[code] + _MICROS[meta])
    if code in BLOBS and 1 <= meta <= 4:
        return Extent(-1, meta)
    if code in (VARCHAR, VAR_STRING):
        return Extent(-1, 1 if meta < 256 else 2)
    if code == STRING:
        return Extent(-1, 1 if meta < 256 else 2)
    if code == ENUM and meta in (1, 2):
        return Extent(meta)
    if code == SET and 1 <= meta <= 8:
        return Extent(meta)
    if code == BIT:
        return Extent((meta >> 8) + (1 if meta & 0xFF else 0))
    if code == NEWDECIMAL and (meta >> 8) <= (meta & 0xFF) <= 65:
        return Extent(decimal_size(meta & 0xFF, meta >> 8))
    if code == BLOB_COMPRESSED and 1 <= meta <= 4:
        return Extent(-1, meta)
    if code == VARCHAR_COMPRESSED:
        return Extent(-1, 1 if meta < 256 else 2)
    raise LogFormatRefused(f"the binlog has a column of the unknown type {code} ({meta})")


def reader(kind: ValueType, charset: Callable[[str], Read | None]) -> Read | None:
    """The function for this type's values; None when the bytes are the text already.

    ``charset`` gives the function that makes UTF-8 of a character set, None where it is UTF-8. A reader may assume that
    its argument has exactly the bytes of ``extent``.
    """
    code, meta = kind.code, kind.meta
    if code in INTEGERS:
        return _boolean if kind.boolean else (_unsigned if kind.unsigned else _signed)
    if code in _PLAIN:
        return _PLAIN[code]
    if code in _FRACTIONAL:
        return _fractional(code, meta)
    if code == NEWDECIMAL:
        return decimal(meta & 0xFF, meta >> 8)
    if code == BIT:
        return _bits((meta >> 8) * 8 + (meta & 0xFF))
    if code == ENUM:
        return _enum(kind.labels)
    if code == SET:
        return _set(kind.labels)
    if code == JSON:
        return json_text
    if code in (BLOB_COMPRESSED, VARCHAR_COMPRESSED):
        return _compressed(charset(kind.charset))
    if code in (GEOMETRY, VECTOR):
        return None
    if kind.native in _BY_NAME:
        return _BY_NAME[kind.native]
    if code == STRING and kind.charset == "binary":
        return _padded(meta)
    return charset(kind.charset)


def _compressed(read: Read | None) -> Read:
    """MariaDB's COMPRESSED: nothing, or a byte that says how, the length (big-endian) and the deflated bytes."""

    def expand(value: bytes) -> bytes:
        how = value[0] if value else 0
        if how == 0:
            plain = value[1:]
        elif how >> 4 == _DEFLATED:
            start = 1 + (how & 7)
            try:
                plain = zlib.decompress(value[start:], -zlib.MAX_WBITS if how & 8 else zlib.MAX_WBITS)
            except zlib.error as e:
                raise LogDamaged(f"a compressed value in the binlog does not expand: {e}") from e
            if len(plain) != int.from_bytes(value[1:start], "big"):
                raise LogDamaged("a compressed value in the binlog expands to another length")
        else:
            raise LogFormatRefused(f"a value in the binlog is compressed in the unknown way {how >> 4}")
        return plain if read is None else read(plain)

    return expand


def json_text(value: bytes) -> bytes:
    return binlog_json.to_text(value, _json_scalar)


# --- numbers --------------------------------------------------------------------------------------------------------


def _signed(value: bytes) -> bytes:
    return b"%d" % int.from_bytes(value, "little", signed=True)


def _unsigned(value: bytes) -> bytes:
    return b"%d" % int.from_bytes(value, "little")


def _boolean(value: bytes) -> bytes:
    return b"t" if any(value) else b"f"


def _float(value: bytes) -> bytes:
    if value[:3] == b"\xff\xff\x7f" and value[3] & 0x7F == 0x7F:  # the shortest text is beyond what servers take
        return b"-3.4028234663852886e38" if value[3] & 0x80 else b"3.4028234663852886e38"
    return str(np.frombuffer(value, "<f4")[0]).replace("e+", "e").encode()


def _double(value: bytes) -> bytes:
    return repr(struct.unpack("<d", value)[0]).replace("e+", "e").encode()


def _bits(width: int) -> Read:
    return lambda value: format(int.from_bytes(value, "big"), f"0{width}b").encode()


def decimal_size(precision: int, scale: int) -> int:
    """Bytes of DECIMAL(precision, scale): four for each nine digits on either side of the point, fewer for the rest."""
    whole = precision - scale
    return whole // 9 * 4 + _DIGIT_BYTES[whole % 9] + scale // 9 * 4 + _DIGIT_BYTES[scale % 9]


def decimal(precision: int, scale: int) -> Read:
    """Groups of nine digits, big-endian; the top bit is set for positive numbers, all bits are flipped for negative."""
    whole = precision - scale
    groups = [whole % 9] * (whole % 9 > 0) + [9] * (whole // 9)
    fraction = [9] * (scale // 9) + [scale % 9] * (scale % 9 > 0)
    layout = [(digits, _DIGIT_BYTES[digits]) for digits in groups + fraction]
    size = decimal_size(precision, scale)

    def read(value: bytes) -> bytes:
        negative = not value[0] & 0x80
        number = int.from_bytes(value, "big") ^ (1 << (8 * size - 1))
        if negative:
            number ^= (1 << (8 * size)) - 1
        raw = number.to_bytes(size, "big")
        parts, at = [], 0
        for digits, width in layout:
            part = str(int.from_bytes(raw[at : at + width], "big"))
            if len(part) > digits:
                raise LogDamaged("a decimal in the binlog has too many digits")
            parts.append(part.zfill(digits))
            at += width
        text = "".join(parts)
        head = text[:whole].lstrip("0") or "0"
        tail = "." + text[whole:] if scale else ""
        sign = "-" if negative and text.strip("0") else ""
        return f"{sign}{head}{tail}".encode()

    return read


# --- dates and times --------------------------------------------------------------------------------------------------


def _year(value: bytes) -> bytes:
    return b"%04d" % (1900 + value[0] if value[0] else 0)


def _date(value: bytes) -> bytes:
    packed = int.from_bytes(value, "little")
    return b"%04d-%02d-%02d" % (packed >> 9, packed >> 5 & 15, packed & 31)


def _old_time(value: bytes) -> bytes:
    packed = int.from_bytes(value, "little", signed=True)
    rest, seconds = divmod(abs(packed), 100)
    hours, minutes = divmod(rest, 100)
    return b"%s%02d:%02d:%02d" % (b"-" if packed < 0 else b"", hours, minutes, seconds)


def _old_datetime(value: bytes) -> bytes:
    text = b"%014d" % int.from_bytes(value, "little")
    if len(text) != 14:
        raise LogDamaged("a datetime in the binlog has too many digits")
    day = b"%s-%s-%s" % (text[:4], text[4:6], text[6:8])
    return b"%s %s:%s:%s" % (day, text[8:10], text[10:12], text[12:])


def instant(seconds: int, fraction: bytes = b"") -> bytes:
    """Seconds since 1970 as UTC text; 0 is the zero date, which is how the server keeps it."""
    if seconds == 0 and not fraction.strip(b".0"):
        return b"0000-00-00 00:00:00%s+00" % fraction
    moment = np.datetime64(seconds, "s").item()
    return b"%s%s+00" % (moment.isoformat(" ").encode(), fraction)


def _old_timestamp(value: bytes) -> bytes:
    return instant(int.from_bytes(value, "little"))


def _fraction(units: int, digits: int) -> bytes:
    """Fractional seconds, kept in 1 to 3 bytes as hundredths, ten-thousandths or millionths."""
    if digits == 0:
        return b""
    width = _MICROS[digits] * 2
    return b"." + (b"%0*d" % (width, units))[:digits]


def _fractional(code: int, digits: int) -> Read:
    size = _FRACTIONAL[code]

    def timestamp(value: bytes) -> bytes:
        return instant(int.from_bytes(value[:4], "big"), _fraction(int.from_bytes(value[4:], "big"), digits))

    def datetime(value: bytes) -> bytes:
        packed = int.from_bytes(value[:5], "big") - (1 << 39)
        if packed < 0:
            raise LogDamaged("a datetime in the binlog is negative")
        months, day, clock = packed >> 22, packed >> 17 & 31, packed & 0x1FFFF
        text = b"%04d-%02d-%02d %02d:%02d:%02d" % (
            *(months // 13, months % 13, day),
            *(clock >> 12, clock >> 6 & 63, clock & 63),
        )
        return text + _fraction(int.from_bytes(value[5:], "big"), digits)

    def time(value: bytes) -> bytes:
        # one number over both parts: a negative time is its complement, the fraction's included
        whole = int.from_bytes(value, "big") - (1 << (8 * len(value) - 1))
        sign, whole = (b"-", -whole) if whole < 0 else (b"", whole)
        seconds, units = whole >> (8 * (len(value) - size)), whole & ((1 << (8 * (len(value) - size))) - 1)
        text = b"%s%02d:%02d:%02d" % (sign, seconds >> 12 & 0x3FF, seconds >> 6 & 63, seconds & 63)
        return text + _fraction(units, digits)

    return {TIMESTAMP2: timestamp, DATETIME2: datetime, TIME2: time}[code]


# --- labels, bytes and names ------------------------------------------------------------------------------------------


def _enum(labels: Sequence[bytes]) -> Read:
    def read(value: bytes) -> bytes:
        number = int.from_bytes(value, "little")
        if number > len(labels):
            raise LogDamaged(f"an enum in the binlog has label {number} of {len(labels)}")
        return labels[number - 1] if number else b""

    return read


def _set(labels: Sequence[bytes]) -> Read:
    def read(value: bytes) -> bytes:
        bits = int.from_bytes(value, "little")
        if bits >> len(labels):
            raise LogDamaged(f"a set in the binlog has more labels than its {len(labels)}")
        return b",".join(label for i, label in enumerate(labels) if bits >> i & 1)

    return read


def _padded(width: int) -> Read:
    """BINARY(n) is logged without its trailing zeros."""
    return lambda value: value.ljust(width, b"\0")


def _uuid(value: bytes) -> bytes:
    """The bytes in the order of the text; trailing zeros are not logged."""
    h = value.ljust(16, b"\0").hex().encode()
    return b"-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))


def _inet4(value: bytes) -> bytes:
    return b"%d.%d.%d.%d" % tuple(value.ljust(4, b"\0"))


def _inet6(value: bytes) -> bytes:
    """As MariaDB prints it: the first of the longest runs of zero groups is left out, be it a single group, and the
    last 32 bits are dotted behind six zero groups or the prefix of mapped IPv4."""
    value = value.ljust(16, b"\0")
    groups = struct.unpack(">8H", value)
    at, length = _longest_zeros(groups)
    if at == 0 and (length == 6 or (length == 5 and groups[5] == 0xFFFF)):
        return b"::" + b"ffff:" * (length == 5) + _inet4(value[12:])
    if length == 0:
        return b":".join(b"%x" % group for group in groups)
    return b"::".join(b":".join(b"%x" % group for group in part) for part in (groups[:at], groups[at + length :]))


def _longest_zeros(groups: Sequence[int]) -> tuple[int, int]:
    """Where the first of the longest runs of zeros begins, and its length, 0 if there is none."""
    best, at = (0, 0), 0
    for place, group in enumerate((*groups, 1)):
        if group:
            best = max(best, (at, place - at), key=lambda run: run[1])
            at = place + 1
    return best


_PLAIN: Mapping[int, Read] = {
    FLOAT: _float,
    DOUBLE: _double,
    YEAR: _year,
    DATE: _date,
    NEWDATE: _date,
    TIME: _old_time,
    DATETIME: _old_datetime,
    TIMESTAMP: _old_timestamp,
}
_BY_NAME: Mapping[str, Read] = {"uuid": _uuid, "inet6": _inet6, "inet4": _inet4}


def _json_scalar(code: int, value: bytes) -> str | None:
    """A value inside JSON that JSON has no type for: decimals become numbers, dates and times strings."""
    if code == NEWDECIMAL:  # of more than 65 digits too, as the server rounds them up to whole groups
        if len(value) < 3 or value[1] > value[0] or len(value) - 2 != decimal_size(value[0], value[1]):
            raise LogDamaged("a decimal inside JSON in the binlog has a wrong length")
        return decimal(value[0], value[1])(value[2:]).decode()
    if code in (DATE, DATETIME, TIMESTAMP, TIME) and len(value) == 8:
        return binlog_json.quoted(_json_time(code, int.from_bytes(value, "little", signed=True)))
    return None


def _json_time(code: int, packed: int) -> str:
    sign, packed = ("-", -packed) if packed < 0 else ("", packed)
    micros, whole = packed & 0xFFFFFF, packed >> 24
    if code == TIME:
        return f"{sign}{whole >> 12 & 0x3FF:02}:{whole >> 6 & 63:02}:{whole & 63:02}.{micros:06}"
    months, day, clock = whole >> 22, whole >> 17 & 31, whole & 0x1FFFF
    date = f"{months // 13:04}-{months % 13:02}-{day:02}"
    if code == DATE:
        return date
    return f"{date} {clock >> 12:02}:{clock >> 6 & 63:02}:{clock & 63:02}.{micros:06}"
