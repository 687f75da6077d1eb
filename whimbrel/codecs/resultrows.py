# cython: annotation_typing=False, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Where rows lie in MySQL's answers, as blocks of them come from the socket. Compiled, no object is made for a row or a
value.

All functions walk packets of ``data`` from ``at`` up to ``end``, and stop in front of the first one that is not whole.
``found`` gets what they found: how many rows, where the first packet begins that was not taken, why they stopped
(``GOES_ON``, ``ENDED``, ``LONG`` or ``DAMAGED``), and the sequence number that is due there.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy

GOES_ON = 0  # the rest is not there yet
ENDED = 1  # an EOF or ERR packet is next
LONG = 2  # a packet is next whose payload goes on in the one behind it
DAMAGED = 3
_CONTINUED: int = cython.declare(cython.Py_ssize_t, 0xFFFFFF)
_LONGEST: int = cython.declare(cython.ulonglong, 0x7FFFFFFF)


@cython.locals(
    data="const unsigned char[::1]",
    at="Py_ssize_t",
    end="Py_ssize_t",
    sequence="int",
    found="long long[::1]",
    rows="Py_ssize_t",
    size="Py_ssize_t",
    state="int",
)
def packets(data: memoryview, at: int, end: int, sequence: int, found: memoryview) -> None:
    """Rows of any kind, as they are."""
    rows, state = 0, 0
    while end - at >= 4:
        size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        if size == _CONTINUED:
            state = 2
            break
        if size > end - at - 4:
            break
        if size == 0 or data[at + 3] != sequence:
            state = 3
            break
        if data[at + 4] == 255 or (data[at + 4] == 254 and size < 9):
            state = 1
            break
        sequence = (sequence + 1) & 255
        at += 4 + size
        rows += 1
    found[0], found[1], found[2], found[3] = rows, at, state, sequence


@cython.locals(
    data="const unsigned char[::1]",
    at="Py_ssize_t",
    end="Py_ssize_t",
    sequence="int",
    out="unsigned char[::1]",
    found="long long[::1]",
    rows="Py_ssize_t",
    nulls="Py_ssize_t",
    filled="Py_ssize_t",
    size="Py_ssize_t",
    start="Py_ssize_t",
    length="Py_ssize_t",
    state="int",
)
def lines(data: memoryview, at: int, end: int, sequence: int, out: memoryview, found: memoryview) -> None:
    """Rows of one text each, put end to end into ``out`` with a newline behind each of them.

    ``out`` has room for as many bytes as there are in ``data``. ``found`` gets further how many rows were NULL, which
    are not written and not counted as rows, and how many bytes were written.
    """
    rows, nulls, filled, state = 0, 0, 0, 0
    while end - at >= 4:
        size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        if size == _CONTINUED:
            state = 2
            break
        if size > end - at - 4:
            break
        if size == 0 or data[at + 3] != sequence:
            state = 3
            break
        start = at + 4
        if data[start] == 255 or (data[start] == 254 and size < 9):
            state = 1
            break
        if data[start] == 251:
            if size != 1:
                state = 3
                break
            nulls += 1
        else:
            start += 1 if data[start] < 251 else 3 if data[start] == 252 else 4 if data[start] == 253 else 9
            length = _length(data, at + 4, at + 4 + size)
            if length < 0 or start + length != at + 4 + size:
                state = 3
                break
            if length:
                if cython.compiled:
                    memcpy(cython.address(out[filled]), cython.address(data[start]), length)
                else:
                    out[filled : filled + length] = data[start : start + length]
            filled += length
            out[filled] = 10
            filled += 1
            rows += 1
        sequence = (sequence + 1) & 255
        at += 4 + size
    found[0], found[1], found[2], found[3] = rows, at, state, sequence
    found[4], found[5] = nulls, filled


@cython.locals(
    data="const unsigned char[::1]",
    at="Py_ssize_t",
    end="Py_ssize_t",
    widths="const int[::1]",
    starts="int[::1]",
    lengths="int[::1]",
    found="long long[::1]",
    columns="Py_ssize_t",
    rows="Py_ssize_t",
    field="Py_ssize_t",
    size="Py_ssize_t",
    state="int",
)
def fields(
    data: bytes, at: int, end: int, widths: memoryview, starts: memoryview, lengths: memoryview, found: memoryview
) -> None:
    """Rows of the binary protocol: where the value of each column lies, ``lengths`` below 0 for NULL.

    ``widths`` has for each column how many bytes its values have; 0 where a length-encoded number in front of each says
    so, and -1 where a single byte does. ``starts`` and ``lengths`` have room for as many rows of nulls as there are.
    """
    columns, rows, field, state = len(widths), 0, 0, 0
    while end - at >= 4:
        size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        if size == _CONTINUED:
            state = 2
            break
        if size > end - at - 4:
            break
        if size == 0:
            state = 3
            break
        if data[at + 4] == 255 or (data[at + 4] == 254 and size < 9):
            state = 1
            break
        if not _row(data, at + 4, at + 4 + size, widths, columns, starts, lengths, field):
            state = 3
            break
        at += 4 + size
        rows, field = rows + 1, field + columns
    found[0], found[1], found[2] = rows, at, state


def row(data: bytes, widths: memoryview, starts: memoryview, lengths: memoryview) -> bool:
    """``fields`` for the payload of one row; False if it is damaged."""
    return bool(_row(data, 0, len(data), widths, len(widths), starts, lengths, 0))


@cython.cfunc
@cython.exceptval(check=False)
@cython.returns(cython.bint)
@cython.locals(
    data="const unsigned char[::1]",
    at="Py_ssize_t",
    stop="Py_ssize_t",
    widths="const int[::1]",
    columns="Py_ssize_t",
    starts="int[::1]",
    lengths="int[::1]",
    field="Py_ssize_t",
    nulls="Py_ssize_t",
    i="Py_ssize_t",
    size="Py_ssize_t",
)
def _row(
    data: bytes,
    at: int,
    stop: int,
    widths: memoryview,
    columns: int,
    starts: memoryview,
    lengths: memoryview,
    field: int,
) -> bool:
    nulls = at + 1
    at = nulls + (columns + 9) // 8
    if at > stop or data[nulls - 1] != 0:
        return False
    for i in range(columns):
        if data[nulls + ((i + 2) >> 3)] >> ((i + 2) & 7) & 1:
            starts[field + i], lengths[field + i] = 0, -1
            continue
        size = widths[i]
        if size == 0:
            size = _length(data, at, stop)
            if size < 0:
                return False
            at += 1 if data[at] < 251 else 3 if data[at] == 252 else 4 if data[at] == 253 else 9
        elif size < 0:
            if at >= stop:
                return False
            size = data[at]
            at += 1
        if size > stop - at:
            return False
        starts[field + i], lengths[field + i] = at, size
        at += size
    return at == stop


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
@cython.returns(cython.Py_ssize_t)
@cython.locals(
    data="const unsigned char[::1]",
    at="Py_ssize_t",
    stop="Py_ssize_t",
    bytes_="Py_ssize_t",
    i="Py_ssize_t",
    value="unsigned long long",
)
def _length(data: memoryview, at: int, stop: int) -> int:
    """The length-encoded number at ``at``; below 0 for what is none, or is more than a block can hold."""
    if at >= stop:
        return -1
    if data[at] < 251:
        return data[at]
    bytes_ = 2 if data[at] == 252 else 3 if data[at] == 253 else 8 if data[at] == 254 else -1
    if bytes_ < 0 or at + 1 + bytes_ > stop:
        return -1
    value = 0
    for i in range(bytes_, 0, -1):
        value = value << 8 | data[at + i]
    return -1 if value > _LONGEST else value
