"""Comparing rows inside the databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from whimbrel.model.job import Endpoint, Role
from whimbrel.model.names import TableName
from whimbrel.model.table import Table


class Comparable(Protocol):
    """In-database checksums over normalised values; implemented by sources and targets alike in ``compare.py``."""

    def open_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison: ...


class Comparison(Protocol):
    """One connection for comparing. Both sides of a pair normalise to the same text; see docs/validation.md.

    ``columns`` pairs every column's name with the normal form both sides agreed on (``model/normal.py``), ``key`` the
    same for the key's columns; a table without a key has an empty one, and its rows are compared as multisets.

    A table's rows are cut into segments along one order: the key, where ``normal.ordered`` says that both engines
    order it alike, else the 60-bit hash of the key, or of the whole row if there is no key. ``low``/``high`` are
    points in that order (inclusive, exclusive; None is open): a tuple of the key's values as text, or a tuple of one
    hash. ``sample`` keeps rows whose key hash modulo 100 is below that percent.
    """

    def checksum(
        self,
        table: TableName,
        columns: Sequence[tuple[str, str]],
        key: Sequence[tuple[str, str]],
        low: Sequence[str] | None,
        high: Sequence[str] | None,
        sample: int,
    ) -> tuple[int, int]:
        """(rows, order-independent sum of row hashes). Without ``columns`` rows are only counted."""

    def checksums(
        self,
        table: TableName,
        columns: Sequence[tuple[str, str]],
        key: Sequence[tuple[str, str]],
        low: Sequence[str] | None,
        high: Sequence[str] | None,
        sample: int,
        cuts: Sequence[Sequence[str]],
    ) -> list[tuple[int, int]]:
        """The same for each segment between ``low``, the ascending ``cuts`` and ``high``, in one pass.

        Cuts of the hash order must lie equally far apart, ``low`` included.
        """

    def cuts(
        self,
        table: TableName,
        key: Sequence[tuple[str, str]],
        low: Sequence[str] | None,
        high: Sequence[str] | None,
        rows: int,
        parts: int,
    ) -> list[tuple[str, ...]]:
        """Ascending keys that cut a range of about ``rows`` rows into about equal ``parts``; maybe none."""

    def hashes(
        self,
        table: TableName,
        columns: Sequence[tuple[str, str]],
        key: Sequence[tuple[str, str]],
        low: Sequence[str] | None,
        high: Sequence[str] | None,
        sample: int,
        limit: int,
    ) -> pa.RecordBatch:
        """Per row, in no order, at most ``limit``: the key as text in ``k0``, ``k1`` … and ``hash`` (int64).

        Without a key: each ``hash`` once, and in ``rows`` (int64) how many rows have it. With a key ``rows`` is 1.
        """

    def lookup(
        self,
        table: TableName,
        columns: Sequence[tuple[str, str]],
        key: Sequence[tuple[str, str]],
        keys: pa.RecordBatch,
    ) -> pa.RecordBatch:
        """The rows with these keys (columns ``k0``, ``k1`` …; or ``hash`` without a key), as ``hashes`` gives them.

        Rows whose key merely equals one of ``keys`` in the column's collation may be among them. Rows without a key,
        with columns that we hash ourselves, have a ``part`` (int64) too: the hash of the others.
        """

    def images(
        self, table: Table, columns: Sequence[tuple[str, str]], key: Sequence[tuple[str, str]], keys: pa.RecordBatch
    ) -> pa.RecordBatch:
        """The whole rows with these keys, as they are now: ``lookup``'s columns, one line a row, and behind them the
        table's loaded columns in the canonical text of ``TableChanges.data``.

        Where ``lookup`` gives a ``part``, ``keys`` must have it, and rows of other hashes may be among the result.
        """

    def holds_else(self, table: TableName, column: tuple[str, str], value: str | None) -> bool:
        """Whether any row has something else than this value, text in the column's normal form, in the column of this
        name and form. Looks at all rows."""

    def cancel(self) -> None:
        """End the statement in hand; callable from another thread. The call that waits for it raises."""

    def close(self) -> None: ...
