# cython: annotation_typing=False, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Where values lie in PostgreSQL's COPY (FORMAT binary), and what the simple ones are. Compiled, no object is made for
a row or a value.

Value ``row * columns + column`` has ``lengths`` bytes from ``starts`` on, all of them within the data; null below 0.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy


@cython.locals(
    data="const unsigned char[::1]",
    at="Py_ssize_t",
    columns="Py_ssize_t",
    starts="int[::1]",
    lengths="int[::1]",
    found="long long[::1]",
    end="Py_ssize_t",
    rows="Py_ssize_t",
    field="Py_ssize_t",
    row="Py_ssize_t",
    i="Py_ssize_t",
    size="Py_ssize_t",
)
def rows_of(data: bytes, at: int, columns: int, starts: memoryview, lengths: memoryview, found: memoryview) -> None:
    """Find where the values of all whole rows from ``at`` on lie, nulls with a length of -1.

    ``found`` gets the rows, where the first one that is not whole begins, and 0; 1 behind the trailer; -1 for bytes
    that are no rows of so many columns. ``starts`` and ``lengths`` have room for as many rows of nulls as there are.
    """
    end, rows, field = len(data), 0, 0
    found[2] = 0
    while end - at >= 2:
        if data[at] == 255 and data[at + 1] == 255:
            at += 2
            found[2] = 1
            break
        if (data[at] << 8 | data[at + 1]) != columns:
            found[2] = -1
            break
        row = at
        at += 2
        i = 0
        while i < columns and end - at >= 4:
            if data[at] == 255 and data[at + 1] == 255 and data[at + 2] == 255 and data[at + 3] == 255:
                size = -1
            elif data[at] > 127:
                found[2] = -1
                break
            else:
                size = data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
            at += 4
            if size > end - at:
                break
            starts[field + i] = at
            lengths[field + i] = size
            at += size if size > 0 else 0
            i += 1
        if i < columns:
            at = row
            break
        rows, field = rows + 1, field + columns
    found[0] = rows
    found[1] = at


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
    field="Py_ssize_t",
    at="Py_ssize_t",
    i="Py_ssize_t",
    value="unsigned long long",
    shift="int",
)
def fixed(
    data: bytes,
    starts: memoryview,
    lengths: memoryview,
    columns: int,
    column: int,
    width: int,
    signed: bool,
    out: memoryview,
) -> bool:
    """Whole numbers of ``width`` bytes, the highest first; nulls are 0. False if a value has another width."""
    shift = 64 - 8 * width
    for row in range(len(out)):
        field = row * columns + column
        if lengths[field] != width:
            if lengths[field] >= 0:
                return False
            out[row] = 0
            continue
        at, value = starts[field], 0
        for i in range(width):
            value = value << 8 | data[at + i]
        if cython.compiled:
            out[row] = cython.cast(cython.longlong, value << shift) >> shift if signed else value
        else:
            out[row] = value - (value >> (8 * width - 1) << 8 * width) if signed else value
    return True


@cython.locals(
    data="const unsigned char[::1]",
    starts="const int[::1]",
    lengths="const int[::1]",
    columns="Py_ssize_t",
    column="Py_ssize_t",
    version="int",
    values="unsigned char[::1]",
    offsets="int[::1]",
    row="Py_ssize_t",
    field="Py_ssize_t",
    at="Py_ssize_t",
    end="Py_ssize_t",
    filled="Py_ssize_t",
)
def gather(
    data: bytes,
    starts: memoryview,
    lengths: memoryview,
    columns: int,
    column: int,
    version: int,
    values: memoryview,
    offsets: memoryview,
) -> bool:
    """Put values end to end; with a ``version`` each begins with a byte of that, which is left out. False if not."""
    filled = 0
    offsets[0] = 0
    for row in range(len(offsets) - 1):
        field = row * columns + column
        if lengths[field] >= 0:
            at = starts[field]
            end = at + lengths[field]
            if version >= 0:
                if at == end or data[at] != version:
                    return False
                at += 1
            if at < end:
                if cython.compiled:
                    memcpy(cython.address(values[filled]), cython.address(data[at]), end - at)
                else:
                    values[filled : filled + end - at] = data[at:end]
                filled += end - at
        offsets[row + 1] = filled
    return True


@cython.locals(
    data="const unsigned char[::1]",
    starts="const int[::1]",
    lengths="const int[::1]",
    columns="Py_ssize_t",
    column="Py_ssize_t",
    digits="unsigned char[::1]",
    offsets="int[::1]",
    row="Py_ssize_t",
    field="Py_ssize_t",
    at="Py_ssize_t",
    i="Py_ssize_t",
    filled="Py_ssize_t",
    half="unsigned char",
)
def uuids(
    data: bytes,
    starts: memoryview,
    lengths: memoryview,
    columns: int,
    column: int,
    digits: memoryview,
    offsets: memoryview,
) -> bool:
    """Sixteen bytes as 8-4-4-4-12 lower-case digits. False if a value has another width."""
    filled = 0
    offsets[0] = 0
    for row in range(len(offsets) - 1):
        field = row * columns + column
        if lengths[field] >= 0:
            if lengths[field] != 16:
                return False
            at = starts[field]
            for i in range(16):
                if i == 4 or i == 6 or i == 8 or i == 10:
                    digits[filled] = 45
                    filled += 1
                half = data[at + i] >> 4
                digits[filled] = half + 48 if half < 10 else half + 87
                half = data[at + i] & 15
                digits[filled + 1] = half + 48 if half < 10 else half + 87
                filled += 2
        offsets[row + 1] = filled
    return True
