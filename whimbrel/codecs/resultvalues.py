# cython: annotation_typing=False, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Columns of values in MySQL's binary protocol: numbers, days, times and bits. Compiled, no object is made for a value.

Value ``row * columns + column`` has ``lengths`` bytes from ``starts`` on, all of them within the data; null below 0.
Nulls become 0, or nothing where a text is made.
"""

from __future__ import annotations

import cython

FINE = -1
DAMAGED = -2  # for bytes that are no such value
_DAY: int = cython.declare(cython.longlong, 86_400_000_000)  # microseconds; declared, as long literals are objects
_NO_DAY: int = cython.declare(cython.longlong, -(1 << 62))


@cython.locals(
    data="const unsigned char[::1]",
    starts="const int[::1]",
    lengths="const int[::1]",
    columns="Py_ssize_t",
    column="Py_ssize_t",
    width="Py_ssize_t",
    signed="bint",
    out="long long[::1]",
    row="Py_ssize_t",
    at="Py_ssize_t",
    i="Py_ssize_t",
    value="unsigned long long",
    shift="int",
)
def numbers(
    data: bytes,
    starts: memoryview,
    lengths: memoryview,
    columns: int,
    column: int,
    width: int,
    signed: bool,
    out: memoryview,
) -> int:
    """Whole numbers of ``width`` bytes, the lowest first; those of 8 bytes in two's complement, ``signed`` or not."""
    shift = 64 - 8 * width
    for row in range(len(out)):
        out[row] = 0
        at = row * columns + column
        if lengths[at] < 0:
            continue
        if lengths[at] != width:
            return DAMAGED
        at, value = starts[at], 0
        for i in range(width - 1, -1, -1):
            value = value << 8 | data[at + i]
        if cython.compiled:
            out[row] = cython.cast(cython.longlong, value << shift) >> shift if signed else value
        else:
            out[row] = value - (value >> (8 * width - 1) << 8 * width) if signed or width == 8 else value
    return FINE


@cython.locals(
    data="const unsigned char[::1]",
    starts="const int[::1]",
    lengths="const int[::1]",
    columns="Py_ssize_t",
    column="Py_ssize_t",
    timed="bint",
    out="long long[::1]",
    row="Py_ssize_t",
    at="Py_ssize_t",
    size="int",
    days="long long",
    micros="long long",
)
def moments(
    data: bytes, starts: memoryview, lengths: memoryview, columns: int, column: int, timed: bool, out: memoryview
) -> int:
    """Days since 1970, or microseconds since then if ``timed``. The first row with what no calendar has (zero dates
    among them), FINE or DAMAGED."""
    for row in range(len(out)):
        out[row] = 0
        at = row * columns + column
        size = lengths[at]
        if size < 0:
            continue
        if size == 0:
            return row
        if size != 4 and size != 7 and size != 11:
            return DAMAGED
        at = starts[at]
        days = _days(data[at] | data[at + 1] << 8, data[at + 2], data[at + 3])
        if days == _NO_DAY:
            return row
        micros = 0
        if size > 4:
            if data[at + 4] > 23 or data[at + 5] > 59 or data[at + 6] > 59:
                return DAMAGED
            micros = (data[at + 4] * 60 + data[at + 5]) * 60 + data[at + 6]
            micros *= 1_000_000
        if size > 7:
            if _four(data, at + 7) > 999_999:
                return DAMAGED
            micros += _four(data, at + 7)
        if timed:
            out[row] = days * _DAY + micros
        elif micros:
            return DAMAGED
        else:
            out[row] = days
    return FINE


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
@cython.returns(cython.longlong)
@cython.locals(year="long long", month="long long", day="long long", century="long long")
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970; _NO_DAY for what the calendar does not have in the years 1 to 9999."""
    if year < 1 or year > 9999 or month < 1 or month > 12 or day < 1 or day > 31:
        return _NO_DAY
    if day > 30 and (month == 4 or month == 6 or month == 9 or month == 11):
        return _NO_DAY
    if month == 2 and day > (29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28):
        return _NO_DAY
    if month < 3:  # years that begin in March end with the day that some have not
        year, month = year - 1, month + 12
    century = year // 100
    return year * 365 + year // 4 - century + century // 4 + (153 * (month - 3) + 2) // 5 + day - 1 - 719468


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
@cython.returns(cython.longlong)
@cython.locals(data="const unsigned char[::1]", at="Py_ssize_t", value="long long")
def _four(data: bytes, at: int) -> int:
    value = data[at + 3]
    return value << 24 | data[at + 2] << 16 | data[at + 1] << 8 | data[at]


@cython.locals(
    data="const unsigned char[::1]",
    starts="const int[::1]",
    lengths="const int[::1]",
    columns="Py_ssize_t",
    column="Py_ssize_t",
    digits="int",
    out="unsigned char[::1]",
    offsets="int[::1]",
    row="Py_ssize_t",
    at="Py_ssize_t",
    filled="Py_ssize_t",
    size="int",
    hours="long long",
    minutes="long long",
    seconds="long long",
    micros="long long",
    unit="long long",
)
def durations(
    data: bytes,
    starts: memoryview,
    lengths: memoryview,
    columns: int,
    column: int,
    digits: int,
    out: memoryview,
    offsets: memoryview,
) -> int:
    """``[-]HH:MM:SS`` with so many ``digits`` of a fraction, end to end in ``out``: room for 17 bytes each."""
    filled = 0
    offsets[0] = 0
    for row in range(len(offsets) - 1):
        at = row * columns + column
        size = lengths[at]
        at = starts[at]
        if size >= 0:
            hours, minutes, seconds, micros = 0, 0, 0, 0
            if size != 0 and size != 8 and size != 12:
                return DAMAGED
            if size:
                hours = _four(data, at + 1)
                if hours > 34 or data[at + 5] > 23 or data[at] > 1:  # 838 hours are the most
                    return DAMAGED
                hours = hours * 24 + data[at + 5]
                minutes, seconds = data[at + 6], data[at + 7]
                micros = _four(data, at + 8) if size == 12 else 0
                if minutes > 59 or seconds > 59 or micros > 999_999:
                    return DAMAGED
                if data[at]:
                    out[filled] = 45
                    filled += 1
            if hours > 99:
                out[filled] = 48 + hours // 100
                filled += 1
            out[filled], out[filled + 1] = 48 + hours // 10 % 10, 48 + hours % 10
            out[filled + 2], out[filled + 3], out[filled + 4] = 58, 48 + minutes // 10, 48 + minutes % 10
            out[filled + 5], out[filled + 6], out[filled + 7] = 58, 48 + seconds // 10, 48 + seconds % 10
            filled += 8
            if digits:
                out[filled] = 46
                filled += 1
                unit = 100_000
                for _ in range(digits):
                    out[filled] = 48 + micros // unit
                    micros %= unit
                    unit //= 10
                    filled += 1
            if micros:
                return DAMAGED
        offsets[row + 1] = filled
    return FINE


@cython.locals(
    data="const unsigned char[::1]",
    starts="const int[::1]",
    lengths="const int[::1]",
    columns="Py_ssize_t",
    column="Py_ssize_t",
    width="Py_ssize_t",
    out="unsigned char[::1]",
    offsets="int[::1]",
    row="Py_ssize_t",
    at="Py_ssize_t",
    filled="Py_ssize_t",
    i="Py_ssize_t",
    bytes_="Py_ssize_t",
)
def bits(
    data: bytes,
    starts: memoryview,
    lengths: memoryview,
    columns: int,
    column: int,
    width: int,
    out: memoryview,
    offsets: memoryview,
) -> int:
    """``width`` times ``0`` or ``1``, the highest bit first, end to end in ``out``."""
    filled, bytes_ = 0, (width + 7) // 8
    offsets[0] = 0
    for row in range(len(offsets) - 1):
        at = row * columns + column
        if lengths[at] >= 0:
            if lengths[at] != bytes_:
                return DAMAGED
            at = starts[at]
            for i in range(bytes_ * 8 - 1, -1, -1):
                if i < width:
                    out[filled] = 48 + (data[at + bytes_ - 1 - (i >> 3)] >> (i & 7) & 1)
                    filled += 1
                elif data[at] >> (i & 7) & 1:
                    return DAMAGED
        offsets[row + 1] = filled
    return FINE
