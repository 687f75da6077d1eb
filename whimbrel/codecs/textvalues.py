# cython: annotation_typing=False, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Columns of text read into columns of numbers: integers, dates, times, booleans.

Each function takes a column as Arrow lays it out (bytes end to end, offsets, validity bits) and writes fixed-width
values into a buffer; it returns the first row that it cannot read exactly, or -1. Nulls are written as 0. Compiled, no
object is made for a value. The offsets are trusted: they must lie within the data.
"""

from __future__ import annotations

import cython

_ONES: int = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)
_DAY: int = cython.declare(cython.longlong, 86_400_000_000)  # microseconds; declared, as long literals are objects
_NONE: int = cython.declare(cython.longlong, -(1 << 62))  # no date, no time


@cython.locals(
    data="const unsigned char[::1]",
    offsets="const int[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    out="unsigned long long[::1]",
    highest="unsigned long long",
    lowest="unsigned long long",
    row="Py_ssize_t",
    at="Py_ssize_t",
    end="Py_ssize_t",
    first="Py_ssize_t",
    negative="bint",
    value="unsigned long long",
    most="unsigned long long",
    last="unsigned int",
    digit="unsigned int",
)
def integers(
    data: memoryview, offsets: memoryview, valid: memoryview, nulls: bool, out: memoryview, highest: int, lowest: int
) -> int:
    """Decimal digits behind an optional minus, in two's complement; a fraction must be zeros.

    ``highest`` is the greatest value, ``lowest`` the greatest magnitude of a negative one.
    """
    for row in range(len(out)):
        out[row] = 0
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            continue
        at, end = offsets[row], offsets[row + 1]
        negative = at < end and data[at] == 45
        if negative:
            at += 1
            most, last = lowest // 10, lowest % 10
        else:
            most, last = highest // 10, highest % 10
        first, value = at, 0
        while at < end and data[at] != 46:
            if data[at] < 48 or data[at] > 57:
                return row
            digit = data[at] - 48
            if value > most or (value == most and digit > last):
                return row
            value = value * 10 + digit
            at += 1
        if at == first:
            return row
        if at < end:
            at += 1
            if at == end:
                return row
            while at < end:
                if data[at] != 48:
                    return row
                at += 1
        out[row] = _ONES - value + 1 if negative and value else value
    return -1


@cython.locals(
    data="const unsigned char[::1]",
    offsets="const int[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    out="long long[::1]",
    dated="bint",
    timed="bint",
    zoned="bint",
    row="Py_ssize_t",
    at="Py_ssize_t",
    end="Py_ssize_t",
    days="long long",
    micros="long long",
)
def moments(
    data: memoryview,
    offsets: memoryview,
    valid: memoryview,
    nulls: bool,
    out: memoryview,
    dated: bool,
    timed: bool,
    zoned: bool,
) -> int:
    """Dates as days since 1970, times as microseconds since midnight, both together as microseconds since 1970.

    Years 1 to 9999, hours 0 to 23, up to six digits of a fraction; ``zoned`` ones end in ``+00``.
    """
    for row in range(len(out)):
        out[row] = 0
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            continue
        at, end = offsets[row], offsets[row + 1]
        if zoned:
            end -= 3
            if end < at or data[end] != 43 or data[end + 1] != 48 or data[end + 2] != 48:
                return row
        days, micros = 0, 0
        if dated:
            if end - at < 10:
                return row
            days = _date(data, at)
            if days == _NONE:
                return row
            at += 10
            if timed:
                if at == end or data[at] != 32:
                    return row
                at += 1
            elif at != end:
                return row
        if timed:
            micros = _time(data, at, end)
            if micros == _NONE:
                return row
        out[row] = days * _DAY + micros if timed else days
    return -1


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
@cython.returns(cython.longlong)
@cython.locals(
    data="const unsigned char[::1]",
    at="Py_ssize_t",
    year="long long",
    month="long long",
    day="long long",
    era="long long",
    days="long long",
)
def _date(data: memoryview, at: int) -> int:
    """Days since 1970 of ten characters; _NONE for what the calendar does not have."""
    year, month, day = _two(data, at) * 100 + _two(data, at + 2), _two(data, at + 5), _two(data, at + 8)
    if data[at + 4] != 45 or data[at + 7] != 45 or year < 1 or month < 1 or month > 12 or day < 1 or day > 31:
        return _NONE
    if _two(data, at) < 0 or _two(data, at + 2) < 0:
        return _NONE
    if day > 30 and (month == 4 or month == 6 or month == 9 or month == 11):
        return _NONE
    if month == 2 and day > (29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28):
        return _NONE
    if month < 3:  # years that begin in March end with the day that some have not
        year, month = year - 1, month + 12
    era = year // 100
    days = (153 * (month - 3) + 2) // 5 + day - 1
    return year * 365 + year // 4 - era + era // 4 + days - 719468


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
@cython.returns(cython.longlong)
@cython.locals(
    data="const unsigned char[::1]",
    at="Py_ssize_t",
    end="Py_ssize_t",
    hours="long long",
    minutes="long long",
    seconds="long long",
    micros="long long",
    unit="long long",
)
def _time(data: memoryview, at: int, end: int) -> int:
    """Microseconds of ``HH:MM:SS[.ffffff]``; _NONE for what no clock shows."""
    if end - at < 8 or data[at + 2] != 58 or data[at + 5] != 58:
        return _NONE
    hours, minutes, seconds = _two(data, at), _two(data, at + 3), _two(data, at + 6)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59 or seconds < 0 or seconds > 59:
        return _NONE
    at += 8
    micros, unit = 0, 100_000
    if at < end:
        if data[at] != 46 or end - at < 2 or end - at > 7:
            return _NONE
        at += 1
        while at < end:
            if data[at] < 48 or data[at] > 57:
                return _NONE
            micros += (data[at] - 48) * unit
            unit //= 10
            at += 1
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
@cython.returns(cython.longlong)
@cython.locals(data="const unsigned char[::1]", at="Py_ssize_t")
def _two(data: memoryview, at: int) -> int:
    """Two digits; far below zero if they are none."""
    if data[at] < 48 or data[at] > 57 or data[at + 1] < 48 or data[at + 1] > 57:
        return -1_000_000
    return (data[at] - 48) * 10 + data[at + 1] - 48


@cython.locals(
    data="const unsigned char[::1]",
    offsets="const int[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    out="unsigned char[::1]",
    yes="unsigned char",
    no="unsigned char",
    row="Py_ssize_t",
    at="Py_ssize_t",
)
def booleans(
    data: memoryview, offsets: memoryview, valid: memoryview, nulls: bool, out: memoryview, yes: int, no: int
) -> int:
    """Single characters, ``yes`` as 1 and ``no`` as 0."""
    for row in range(len(out)):
        out[row] = 0
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            continue
        at = offsets[row]
        if offsets[row + 1] - at != 1 or (data[at] != yes and data[at] != no):
            return row
        out[row] = data[at] == yes
    return -1


@cython.locals(
    data="const unsigned char[::1]",
    offsets="const int[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    rows="Py_ssize_t",
    most="Py_ssize_t",
    row="Py_ssize_t",
    at="Py_ssize_t",
    first="Py_ssize_t",
    last="Py_ssize_t",
    count="Py_ssize_t",
)
def significant(data: memoryview, offsets: memoryview, valid: memoryview, nulls: bool, rows: int, most: int) -> int:
    """The first row with a number of more than ``most`` digits that say something, or -1."""
    for row in range(rows):
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            continue
        first, last, count = -1, -1, 0
        for at in range(offsets[row], offsets[row + 1]):
            if data[at] >= 48 and data[at] <= 57:
                if data[at] != 48:
                    first = count if first < 0 else first
                    last = count
                count += 1
        if first >= 0 and last - first + 1 > most:
            return row
    return -1
