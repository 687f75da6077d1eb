"""The binary formats of rows that are read straight into Arrow, and which columns can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from whimbrel.codecs import copybinary, resultset
from whimbrel.model.chunk import Format
from whimbrel.model.table import Column


class Rows(Protocol):
    """Takes blocks that may be cut anywhere, and hands out whole rows. ``waiting`` says how many bytes are worth it."""

    waiting: int

    def feed(self, block: bytes | bytearray | memoryview) -> None: ...
    def take(self) -> pa.RecordBatch: ...
    def end(self) -> None: ...


@dataclass(frozen=True)
class Binary:
    """``decodable`` says whether columns can be read from a binary format into others, and ``reader`` does it."""

    decodable: Callable[[Sequence[Column], Sequence[Column]], bool]
    reader: Callable[[Sequence[Column], Sequence[Column], str], Rows]


BINARY = {
    Format.COPY_BINARY: Binary(copybinary.decodable, copybinary.CopyReader),
    Format.RESULT_SET: Binary(resultset.decodable, resultset.ResultReader),
}
