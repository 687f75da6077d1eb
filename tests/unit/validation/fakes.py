"""A table in memory that answers as a ``segments.Side``, and two of them as ``Ends``."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa

from whimbrel.pipeline.validation.segments import Point, Side

T = TypeVar("T")
Row = tuple[Any, ...]


def hashed(values: Sequence[Any]) -> int:
    return int(hashlib.sha256(repr(tuple(values)).encode()).hexdigest()[:15], 16)


@dataclass
class FakeSide:
    """Rows of (key, values …) with integer keys; ``by_range`` cuts by them, else by their hash; or keyless.

    ``fetched`` counts rows given out, so that a test can tell a search from reading everything.
    """

    rows: list[Row]
    keyed: bool = True
    by_range: bool = True
    fetched: int = 0
    largest: int = field(default=0)

    def place(self, row: Row) -> int:
        """Where a row stands in the order that segments are cut along."""
        if not self.keyed:
            return hashed(row)
        return int(row[0]) if self.by_range else hashed(row[:1])

    def within(self, low: Point, high: Point) -> list[Row]:
        start = int(low[0]) if low is not None else None
        end = int(high[0]) if high is not None else None
        return [
            row
            for row in self.rows
            if (start is None or self.place(row) >= start) and (end is None or self.place(row) < end)
        ]

    def checksums(self, low: Point, high: Point, cuts: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
        points = [int(c[0]) for c in cuts]
        sums = [(0, 0)] * (len(cuts) + 1)
        for row in self.within(low, high):
            at = sum(self.place(row) >= p for p in points)
            sums[at] = (sums[at][0] + 1, sums[at][1] + hashed(row))
        return sums

    def cuts(self, low: Point, high: Point, rows: int, parts: int) -> list[tuple[str, ...]]:
        keys = sorted({row[0] for row in self.within(low, high)})
        step = max(1, len(keys) // parts)
        return [(str(k),) for k in keys[step::step] if low is None or k > int(low[0])]

    def hashes(self, low: Point, high: Point, limit: int) -> pa.RecordBatch:
        rows = self.within(low, high)
        if not self.keyed:
            counted = Counter(hashed(r) for r in rows)
            data: dict[str, list[Any]] = {"hash": list(counted), "rows": list(counted.values())}
        else:
            data = {"k0": [str(r[0]) for r in rows], "hash": [hashed(r) for r in rows], "rows": [1] * len(rows)}
        types = {"k0": pa.string(), "hash": pa.int64(), "rows": pa.int64()}
        batch = pa.record_batch({n: pa.array(v, types[n]) for n, v in data.items()}).slice(0, limit)
        self.fetched += len(batch)
        self.largest = max(self.largest, len(batch))
        return batch


@dataclass
class FakeEnds:
    source: FakeSide
    target: FakeSide

    def both(self, ask: Callable[[Side], T], /) -> tuple[T, T]:
        return ask(self.source), ask(self.target)

    def one(self, target: bool, ask: Callable[[Side], T], /) -> T:
        return ask(self.target if target else self.source)
