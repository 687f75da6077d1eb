"""Typed Arrow columns as rows of Spanner's mutations, whole columns at a time, in protobuf's wire format.

A row is a field of its message (``values`` of a write, ``keys`` of a key set) that holds a ``ListValue``. Whole
numbers, decimals, dates and moments are texts there, bytes are base64, NaN and the infinities are words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from whimbrel.codecs import mutationrows
from whimbrel.codecs.mutationrows import BASE64, MOMENT, PLAIN
from whimbrel.codecs.tablines import decimal_text

VALUES_TAG, KEYS_TAG = 0x1A, 0x0A  # field 3 of Mutation.Write, field 1 of KeySet
_NO_BITS = np.empty(0, dtype=np.uint8)
_SMALL = 4  # bytes of a null or a boolean in its row
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Rows end to end; ``ends`` begins with 0, so that row ``n`` lies from ``ends[n]`` to ``ends[n + 1]``."""

    data: memoryview
    ends: Places

    def __len__(self) -> int:
        return len(self.ends) - 1

    def between(self, first: int, last: int) -> memoryview:
        return self.data[int(self.ends[first]) : int(self.ends[last])]


def rows(batch: pa.RecordBatch, tag: int = VALUES_TAG) -> Rows:
    """All rows of a batch, its columns in order."""
    columns = [_Column.of(column) for column in batch.columns]
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for column in columns:
        column.measure(sizes)
    heads = 2 + sum((sizes >> bits > 0).astype(np.int64) for bits in (7, 14, 21, 28, 35))
    ends = np.zeros(batch.num_rows + 1, dtype=np.int64)
    np.cumsum(sizes + heads, out=ends[1:])
    out = np.empty(int(ends[-1]), dtype=np.uint8)
    places = ends[:-1].copy()
    mutationrows.frame(sizes.data, tag, out.data, places.data)
    for column in columns:
        column.write(out, places)
    return Rows(memoryview(out.data), ends)


@dataclass(frozen=True)
class _Column:
    kind: int | None  # of a text; None for numbers and flags
    data: Any
    offsets: Places
    bits: npt.NDArray[np.uint8]
    nulls: bool

    @staticmethod
    def of(column: pa.Array) -> _Column:
        arrow = column.type
        if pa.types.is_floating(arrow):
            return _fixed(column.cast(pa.float64()), np.float64)
        if pa.types.is_boolean(arrow):
            return _fixed(column.cast(pa.uint8()), np.uint8)
        for is_type, kind, write in _TEXTS:
            if is_type(arrow):
                return _texts(write(column), kind)
        raise TypeError(f"no mutation is written of {arrow}")

    def measure(self, sizes: Places) -> None:
        if self.kind is not None:
            mutationrows.measure_texts(self.offsets.data, self.bits.data, self.nulls, self.kind, sizes.data)
        elif self.data.dtype == np.float64:
            mutationrows.measure_numbers(self.data.data, self.bits.data, self.nulls, sizes.data)
        else:
            sizes += _SMALL

    def write(self, out: npt.NDArray[np.uint8], places: Places) -> None:
        where = (out.data, places.data)
        if self.kind is not None:
            texts = (self.data.data, self.offsets.data, self.bits.data, self.nulls, self.kind)
            mutationrows.write_texts(*texts, *where)
        elif self.data.dtype == np.float64:
            numbers = self.data
            mutationrows.write_numbers(numbers.data, numbers.view(np.uint8).data, self.bits.data, self.nulls, *where)
        else:
            mutationrows.write_flags(self.data.data, self.bits.data, self.nulls, *where)


def _bits(column: pa.Array) -> tuple[npt.NDArray[np.uint8], bool]:
    valid = column.buffers()[0]
    return (np.frombuffer(valid, dtype=np.uint8), True) if column.null_count else (_NO_BITS, False)


def _whole(column: pa.Array) -> pa.Array:
    """A slice becomes an array of its own."""
    return pa.concat_arrays([column]) if column.offset else column


def _fixed(column: pa.Array, dtype: Any) -> _Column:
    column = _whole(column)
    data = np.frombuffer(column.buffers()[1], dtype=dtype)[: len(column)] if len(column) else np.empty(0, dtype=dtype)
    return _Column(None, data, _NO_BITS.astype(np.int64), *_bits(column))


def _texts(column: pa.Array, kind: int) -> _Column:
    column = _whole(column.cast(pa.large_binary()))
    _, offsets, data = column.buffers()
    rows = len(column)
    places = np.frombuffer(offsets, dtype=np.int64)[: rows + 1] if rows else np.zeros(1, dtype=np.int64)
    filled = np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else _NO_BITS
    return _Column(kind, filled, places, *_bits(column))


def _as_text(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _as_moment(column: pa.Array) -> pa.Array:
    return column.cast(pa.timestamp("us")).cast(pa.string())


_TEXTS: tuple[tuple[Callable[[pa.DataType], bool], int, Callable[[pa.Array], pa.Array]], ...] = (
    (pa.types.is_integer, PLAIN, _as_text),
    (pa.types.is_decimal, PLAIN, decimal_text),
    (pa.types.is_string, PLAIN, lambda column: column),
    (pa.types.is_large_string, PLAIN, lambda column: column),
    (pa.types.is_binary, BASE64, lambda column: column),
    (pa.types.is_large_binary, BASE64, lambda column: column),
    (pa.types.is_date32, PLAIN, _as_text),
    (pa.types.is_timestamp, MOMENT, _as_moment),
)
