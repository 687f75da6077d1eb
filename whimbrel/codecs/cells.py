"""One column of rows in a binary stream, of which compiled code has said where each value lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from whimbrel.codecs import copyfields
from whimbrel.errors import InternalError


class Cells:
    """Column ``number`` of ``columns`` of the first ``rows`` rows: value ``row * columns + number`` has ``lengths``
    bytes of ``data`` from ``starts`` on; null below 0. ``damaged`` says what the stream is not."""

    def __init__(
        self,
        data: bytes,
        starts: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int32],
        columns: int,
        number: int,
        rows: int,
        damaged: str,
    ) -> None:
        self.data, self.rows, self._damaged = data, rows, damaged
        self.sizes = lengths[number : rows * columns : columns]
        self.places = (starts.data, lengths.data, columns, number)
        missing = self.sizes < 0
        self.nulls = int(missing.sum())
        self.valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if self.nulls else None

    def damaged(self) -> InternalError:
        """The error for bytes that are no value of the column."""
        return InternalError(self._damaged)

    def to(self, arrow: pa.DataType, values: npt.NDArray[Any]) -> pa.Array:
        """These values, null where the stream says so."""
        return pa.Array.from_buffers(arrow, self.rows, [self.valid, pa.py_buffer(values)], self.nulls)

    def spans(self, arrow: pa.DataType, offsets: npt.NDArray[np.int32], values: npt.NDArray[np.uint8]) -> pa.Array:
        """Values of several bytes, end to end in ``values``; null where the stream says so."""
        buffers = [self.valid, pa.py_buffer(offsets), pa.py_buffer(values)]
        return pa.Array.from_buffers(arrow, self.rows, buffers, self.nulls)

    def strings(self, version: int = -1) -> pa.BinaryArray:
        """The bytes as they are, behind a ``version`` byte if there is one."""
        size = int(np.maximum(self.sizes, 0).sum(dtype=np.int64))
        values, offsets = np.empty(size, dtype=np.uint8), np.empty(self.rows + 1, dtype=np.int32)
        if not copyfields.gather(self.data, *self.places, version, values.data, offsets.data):
            raise self.damaged()
        return self.spans(pa.binary(), offsets, values)
