# cython: annotation_typing=False, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Reads tab-text (docs/formats.md) into Arrow columns of bytes. Compiled, no object is made for a row or a value."""

from __future__ import annotations

import cython
import numpy as np
import pyarrow as pa

from whimbrel.errors import InternalError

_MOST = 0x7FFFFFFF  # bytes that are read at once: what offsets of 32 bits can say
_NULL: int = cython.declare(cython.uchar, 1)
_ESCAPED: int = cython.declare(cython.uchar, 2)


class TabReader:
    """Takes blocks that may be cut anywhere, and hands out whole rows as nullable ``binary`` columns ``0``, ``1``, …

    Values come without their escapes. Bytes that are no tab-text of that many columns raise InternalError, since only
    readers of ours write them; so does ``end`` when the last row is not whole. ``waiting`` counts the bytes that were
    fed since the last ``take``.
    """

    def __init__(self, columns: int) -> None:
        self.waiting = 0
        self._columns = columns
        self._names = [str(n) for n in range(columns)]
        self._blocks: list[bytes] = []
        self._whole = 0  # how many of the blocks end behind a row
        self._ends, self._marks = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.uint8)

    def feed(self, block: bytes | bytearray | memoryview) -> None:
        text = bytes(block)
        self.waiting += len(text)
        cut = text.rfind(b"\n") + 1
        if cut:
            self._blocks.append(text[:cut])
            self._whole = len(self._blocks)
        if cut < len(text):
            self._blocks.append(text[cut:])

    def take(self) -> pa.RecordBatch:
        """All rows that are whole by now; what follows them is kept for the next time."""
        whole, self._blocks = self._blocks[: self._whole], self._blocks[self._whole :]
        self._whole = self.waiting = 0
        text = b"".join(whole)
        if len(text) > _MOST:
            raise InternalError("a row from the source has more than 2 GiB")
        return self._read(text)

    def end(self) -> None:
        """Nothing follows. To be called behind the last ``take``."""
        if self._blocks:
            raise InternalError("rows from the source end in the middle of one")

    def _read(self, text: bytes) -> pa.RecordBatch:
        columns = self._columns
        if len(self._ends) < len(text):  # no row has fewer bytes than fields; pages that nobody writes cost nothing
            self._ends, self._marks = np.empty(len(text), dtype=np.int32), np.empty(len(text), dtype=np.uint8)
        sizes, nulls = np.zeros(columns, dtype=np.int64), np.zeros(columns, dtype=np.int64)
        rows = _fields(text, columns, self._ends.data, self._marks.data, sizes.data, nulls.data)
        if rows < 0:
            raise InternalError(f"rows from the source are no tab-text of {columns} columns")
        arrays = []
        for number in range(columns):
            values, offsets = np.empty(int(sizes[number]), dtype=np.uint8), np.empty(rows + 1, dtype=np.int32)
            bits = np.zeros((rows + 7) // 8, dtype=np.uint8)
            _gather(text, columns, number, self._ends.data, self._marks.data, values.data, offsets.data, bits.data)
            valid = pa.py_buffer(bits) if nulls[number] else None
            buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(values)]
            arrays.append(pa.BinaryArray.from_buffers(pa.binary(), rows, buffers, int(nulls[number])))
        return pa.RecordBatch.from_arrays(arrays, names=self._names)


@cython.locals(
    text="const unsigned char[::1]",
    columns="Py_ssize_t",
    ends="int[::1]",
    marks="unsigned char[::1]",
    sizes="long long[::1]",
    nulls="long long[::1]",
    length="Py_ssize_t",
    rows="Py_ssize_t",
    field="Py_ssize_t",
    column="Py_ssize_t",
    start="Py_ssize_t",
    at="Py_ssize_t",
    byte="unsigned char",
    escapes="Py_ssize_t",
    mark="unsigned char",
)
def _fields(
    text: bytes, columns: int, ends: memoryview, marks: memoryview, sizes: memoryview, nulls: memoryview
) -> int:
    """Find where each field ends; add up the sizes of values without escapes, and the nulls, for each column.

    ``text`` ends in a newline, ``ends`` and ``marks`` have room for a field a byte. Return the rows, or -1 unless all
    of them have ``columns`` fields and all escapes are known ones.
    """
    length, rows, field, column, start, at, escapes, mark = len(text), 0, 0, 0, 0, 0, 0, 0
    while at < length:
        byte = text[at]
        while byte > 13 and byte != 92:
            at += 1
            byte = text[at]
        if byte == 9 or byte == 10:
            if (column == columns - 1) != (byte == 10):
                return -1
            ends[field] = at
            marks[field] = mark
            if mark == _NULL:
                nulls[column] += 1
            else:
                sizes[column] += at - start - escapes
            at, field = at + 1, field + 1
            start, escapes, mark = at, 0, 0
            if byte == 10:
                rows, column = rows + 1, 0
            else:
                column += 1
        elif byte == 92:  # the newline at the end of the text is behind it
            byte = text[at + 1]
            if byte == 78:  # \N is no escape but a whole value
                if at != start or (text[at + 2] != 9 and text[at + 2] != 10):
                    return -1
                mark = _NULL
            elif byte == 92 or byte == 116 or byte == 110 or byte == 114 or byte == 48:
                mark = _ESCAPED
            else:
                return -1
            escapes += 1
            at += 2
        else:
            at += 1
    return rows


@cython.locals(
    text="const unsigned char[::1]",
    columns="Py_ssize_t",
    number="Py_ssize_t",
    ends="const int[::1]",
    marks="const unsigned char[::1]",
    values="unsigned char[::1]",
    offsets="int[::1]",
    bits="unsigned char[::1]",
    row="Py_ssize_t",
    field="Py_ssize_t",
    at="Py_ssize_t",
    end="Py_ssize_t",
    filled="Py_ssize_t",
    byte="unsigned char",
)
def _gather(
    text: bytes,
    columns: int,
    number: int,
    ends: memoryview,
    marks: memoryview,
    values: memoryview,
    offsets: memoryview,
    bits: memoryview,
) -> None:
    """Put the values of column ``number`` end to end, without escapes, and say where they end and which are no null."""
    filled = 0
    offsets[0] = 0
    for row in range(len(offsets) - 1):
        field = row * columns + number
        at, end = ends[field - 1] + 1 if field else 0, ends[field]
        if marks[field] != _NULL:
            bits[row >> 3] |= 1 << (row & 7)
            if marks[field] == _ESCAPED:
                while at < end:
                    byte = text[at]
                    if byte == 92:
                        at += 1
                        byte = text[at]
                        if byte == 116:
                            byte = 9
                        elif byte == 110:
                            byte = 10
                        elif byte == 114:
                            byte = 13
                        elif byte == 48:
                            byte = 0
                    values[filled] = byte
                    filled, at = filled + 1, at + 1
            else:
                while at < end:
                    values[filled] = text[at]
                    filled, at = filled + 1, at + 1
        offsets[row + 1] = filled
