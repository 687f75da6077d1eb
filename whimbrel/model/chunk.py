"""A slice of a table that is read, staged and loaded as one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from whimbrel.model.names import TableName


class Format(StrEnum):
    """The bytes that travel between a reader and a loader.

    COPY_BINARY and COPY_TEXT are PostgreSQL's (native values). TAB_TEXT is the LOAD DATA family's: tab between
    columns, newline behind each row, ``\\N`` for NULL, backslash escapes only ``\\\\ \\t \\n \\r \\0``; booleans 1/0,
    bytes as upper-case hex without prefix, bit strings as '0' and '1', timestamps with zone as UTC without zone,
    arrays as JSON, all else as canonical text. RESULT_SET is a whole answer of MySQL's binary protocol, which is never
    staged, as no loader takes it. PARQUET is made by the lane of what a reader writes, with the
    names and the Arrow types of the target's columns.
    """

    COPY_BINARY = "copy-binary"
    COPY_TEXT = "copy-text"
    TAB_TEXT = "tab-text"
    RESULT_SET = "result-set"
    PARQUET = "parquet"


@dataclass(frozen=True)
class Chunk:
    """``bounds`` is the reader's own JSON: block ranges for CTID, key tuples for key ranges, null for a whole table.

    ``rows`` is an estimate; what was really copied is recorded once loaded. ``number`` counts from 0 within the table
    and is stable across retries.
    """

    table: TableName
    number: int
    bounds: Any
    rows: int
    bytes: int = 0
