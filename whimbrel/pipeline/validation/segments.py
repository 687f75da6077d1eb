"""Finding the rows that differ: checksums by segment, descending only where they differ, rows only at the leaves.

Nothing here knows a database: a ``Side`` answers for one table at one end. Memory is bounded by ``Limits.fetch`` or
``Limits.scan`` rows a side, whatever the table's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.model.normal import hash_cuts

Point = Sequence[str] | None
Checksum = tuple[int, int]  # (rows, sum of row hashes)
T = TypeVar("T")

UNLIMITED = 1 << 62


class Side(Protocol):
    """One table at one end; see ``connectors.protocols.Comparison`` for what the answers hold."""

    def checksums(self, low: Point, high: Point, cuts: Sequence[Sequence[str]]) -> list[Checksum]: ...

    def cuts(self, low: Point, high: Point, rows: int, parts: int) -> list[tuple[str, ...]]: ...

    def hashes(self, low: Point, high: Point, limit: int) -> pa.RecordBatch: ...


class Ends(Protocol):
    """Both sides of a table."""

    def both(self, ask: Callable[[Side], T], /) -> tuple[T, T]:
        """Ask them the same at the same time: (the source's answer, the target's)."""

    def one(self, target: bool, ask: Callable[[Side], T], /) -> T:
        """Ask only one of them."""


@dataclass(frozen=True)
class Limits:
    """``leaf``: a range this small is fetched, not cut again. ``fetch``: most rows fetched at once from a side.

    ``parts`` ranges are made of one; the hash order, where every pass reads the whole table, is cut into as many
    buckets as bring it down to ``scan`` rows at once, up to ``buckets``.
    """

    leaf: int = 4096
    fetch: int = 65_536
    scan: int = 262_144
    parts: int = 32
    buckets: int = 4096


@dataclass(frozen=True)
class Segment:
    """A part of the table and what both sides said of it."""

    low: Point
    high: Point
    source: Checksum
    target: Checksum

    @property
    def equal(self) -> bool:
        return self.source == self.target

    @property
    def rows(self) -> int:
        """Those of the fuller side."""
        return max(self.source[0], self.target[0])


@dataclass(frozen=True)
class Descent:
    """The search below one table's differing checksum. ``by_range`` says that segments are ranges of the key."""

    ends: Ends
    by_range: bool
    limits: Limits = Limits()

    def differences(self, whole: Segment) -> Iterator[pa.Table]:
        """What ``diff`` says of each fetched leaf that holds a difference, in any order."""
        pending = [whole]
        while pending:
            segment = pending.pop()
            if segment.equal:
                continue
            if segment.rows > self._fetchable and (children := self._split(segment)):
                pending += [c for c in children if not c.equal and c.rows > self._fetchable]
                for low, high in self._fetches(children):
                    yield from self._fetch(low, high)
            else:
                yield from self._fetch(segment.low, segment.high)

    @property
    def _fetchable(self) -> int:
        return self.limits.leaf if self.by_range else self.limits.scan

    @property
    def _at_once(self) -> int:
        return self.limits.fetch if self.by_range else self.limits.scan

    def _split(self, segment: Segment) -> list[Segment]:
        """The segment's parts with their checksums, in order; none when it cannot be cut."""
        cuts = self._cuts(segment)
        if not cuts:
            return []
        sums = self.ends.both(lambda side: side.checksums(segment.low, segment.high, cuts))
        points: list[Point] = [segment.low, *cuts, segment.high]
        return [Segment(*bounds) for bounds in zip(points, points[1:], *sums, strict=False)]

    def _cuts(self, segment: Segment) -> list[tuple[str, ...]]:
        if not self.by_range:
            parts = min(self.limits.buckets, max(2, -(-segment.rows // self.limits.leaf)))
            return hash_cuts(segment.low, segment.high, parts)
        parts = min(self.limits.parts, max(2, -(-segment.rows // self.limits.leaf)))
        target_is_fuller = segment.target[0] > segment.source[0]
        return self.ends.one(target_is_fuller, lambda s: s.cuts(segment.low, segment.high, segment.rows, parts))

    def _fetches(self, children: Sequence[Segment]) -> Iterator[tuple[Point, Point]]:
        """Bounds that cover every small differing part, neighbours together as far as that may be fetched at once.

        Equal parts between two differing ones are fetched along: one pass over them is cheaper than two questions.
        """
        start: Segment | None = None
        end, held, between = None, 0, 0
        for child in children:
            small = not child.equal and child.rows <= self._fetchable
            if start is not None and (held + between + child.rows > self._at_once or not (small or child.equal)):
                yield start.low, end
                start = None
            if small:
                held = child.rows if start is None else held + between + child.rows
                start, end, between = start or child, child.high, 0
            else:
                between += child.rows
        if start is not None:
            yield start.low, end

    def _fetch(self, low: Point, high: Point) -> Iterator[pa.Table]:
        """Compare row by row; a part that has grown past its bound meanwhile is cut again."""
        limit = 4 * self._at_once
        source, target = self.ends.both(lambda side: side.hashes(low, high, limit))
        if max(len(source), len(target)) >= limit:
            grown = Segment(low, high, (len(source), 0), (len(target), 1))
            children = self._split(grown)
            if children:
                for child in children:
                    if not child.equal:
                        yield from self._fetch(child.low, child.high)
                return
            source, target = self.ends.both(lambda side: side.hashes(low, high, UNLIMITED))
        found = diff(source, target)
        if len(found):
            yield found


def diff(source: pa.RecordBatch, target: pa.RecordBatch) -> pa.Table:
    """Both sides' rows (``k0`` …, ``hash``, ``rows``) as multisets, subtracted, one line a key that differs.

    The result has the key's columns (``hash`` if there is no key) and the int64 columns ``missing``, ``extra`` and
    ``different``: how many rows of that key only the source has, only the target has, or both have with other values.
    Without a key a changed row is one missing and one extra.
    """
    keys = [name for name in source.schema.names if name not in ("hash", "rows")]
    signed = [_signed(source, -1), _signed(target, 1)]
    surplus = pa.concat_tables(signed).group_by([*keys, "hash"]).aggregate([("rows", "sum")])
    surplus = surplus.filter(pc.not_equal(surplus["rows_sum"], 0))
    at_source = pc.max_element_wise(pc.negate(surplus["rows_sum"]), 0)
    at_target = pc.max_element_wise(surplus["rows_sum"], 0)
    halves = surplus.append_column("source", at_source).append_column("target", at_target)
    by_key = halves.group_by(keys or ["hash"]).aggregate([("source", "sum"), ("target", "sum")])
    different = pc.min_element_wise(by_key["source_sum"], by_key["target_sum"])
    counts = {
        "missing": pc.subtract(by_key["source_sum"], different),
        "extra": pc.subtract(by_key["target_sum"], different),
        "different": different,
    }
    return pa.table({**{name: by_key[name] for name in keys or ["hash"]}, **counts})


def _signed(batch: pa.RecordBatch, sign: int) -> pa.Table:
    table = pa.Table.from_batches([batch])
    return table.set_column(table.schema.get_field_index("rows"), "rows", pc.multiply(table["rows"], pa.scalar(sign)))
