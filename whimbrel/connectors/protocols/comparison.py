"""Comparing rows inside the databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from whimbrel.model.names import TableName
from whimbrel.model.normal import CLIENT_FORMS, Columns
from whimbrel.model.table import Column

Point = Sequence[str] | None


@dataclass(frozen=True)
class Scope:
    """Which rows of which table are compared, and what of them is hashed.

    ``columns`` pairs every column's name with the normal form both sides agreed on (``model/normal.py``), ``key`` the
    same for the key's columns; a table without a key has an empty one, and its rows are compared as multisets.

    A table's rows are cut into segments along one order: the key, where ``normal.ordered`` says that both engines
    order it alike, else the 60-bit hash of the key, or of the whole row if there is no key. ``low``/``high`` are
    points in that order (inclusive, exclusive; None is open): a tuple of the key's values as text, or a tuple of one
    hash. ``sample`` keeps rows whose key hash modulo 100 is below that percent.
    """

    table: TableName
    columns: Columns
    key: Columns
    low: Point = None
    high: Point = None
    sample: int = 100

    @property
    def in_database(self) -> Columns:
        return tuple(c for c in self.columns if c[1] not in CLIENT_FORMS)

    @property
    def by_us(self) -> Columns:
        """Columns whose normal form only we can write, from the engine's own text."""
        return tuple(c for c in self.columns if c[1] in CLIENT_FORMS)

    @property
    def whole(self) -> Scope:
        """The same of all rows of the table."""
        return replace(self, low=None, high=None, sample=100)

    def between(self, low: Point, high: Point) -> Scope:
        return replace(self, low=low, high=high)


class Comparison(Protocol):
    """One connection for comparing, ``compare.py`` of sources and targets alike. Both sides of a pair normalise to the
    same text; see docs/validation.md. Raises ValidateFailed for a table or column that is not there."""

    def checksums(self, scope: Scope, cuts: Sequence[Sequence[str]] = ()) -> list[tuple[int, int]]:
        """(rows, order-independent sum of row hashes) of each segment between the scope's ``low``, the ascending
        ``cuts`` and its ``high``, in one pass. Without columns rows are only counted.

        Cuts of the hash order must lie equally far apart, ``low`` included.
        """

    def cuts(self, scope: Scope, rows: int, parts: int) -> list[tuple[str, ...]]:
        """Ascending keys that cut the scope's range of about ``rows`` rows into about equal ``parts``; maybe none."""

    def hashes(self, scope: Scope, limit: int) -> pa.RecordBatch:
        """Per row, in no order, at most ``limit``: the key as text in ``k0``, ``k1`` … and ``hash`` (int64).

        Without a key: each ``hash`` once, and in ``rows`` (int64) how many rows have it. With a key ``rows`` is 1.
        """

    def lookup(self, scope: Scope, keys: pa.RecordBatch) -> pa.RecordBatch:
        """The table's rows with these keys (columns ``k0``, ``k1`` …; or ``hash`` without a key), as ``hashes`` gives
        them; range and sample of the scope do not count.

        Rows whose key merely equals one of ``keys`` in the column's collation may be among them. Rows without a key,
        with columns that we hash ourselves, have a ``part`` (int64) too: the hash of the others.
        """

    def images(self, scope: Scope, loaded: Sequence[Column], keys: pa.RecordBatch) -> pa.RecordBatch:
        """The whole rows with these keys, as they are now: ``lookup``'s columns, one line a row, and behind them the
        ``loaded`` columns in the canonical text of ``TableChanges.data``.

        Where ``lookup`` gives a ``part``, ``keys`` must have it, and rows of other hashes may be among the result.
        """

    def holds_else(self, table: TableName, column: tuple[str, str], value: str | None) -> bool:
        """Whether any row has something else than this value, text in the column's normal form, in the column of this
        name and form. Looks at all rows."""

    def cancel(self) -> None:
        """End the statement in hand; callable from another thread. The call that waits for it raises."""

    def close(self) -> None: ...
