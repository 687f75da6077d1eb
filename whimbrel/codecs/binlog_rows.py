"""Row images of the binlog into column buffers: only the columns that are wanted are turned into text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whimbrel.codecs import binlog
from whimbrel.codecs.binlog_values import Extent, Read
from whimbrel.codecs.changes import ColumnBuffer, TableBuffer
from whimbrel.errors import LogDamaged, LogFormatRefused
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE


@dataclass(frozen=True)
class RowLayout:
    """How the rows of one table map are read.

    ``extents`` has every logged column. ``columns`` has, for every column of the buffer, its place in the log and what
    turns its bytes into text (None: they are the text). ``keyed`` tells for each of those whether it is in the key;
    nothing is in the key when the table has none, and then old rows are written whole.
    """

    name: str
    extents: tuple[Extent, ...]
    columns: tuple[tuple[int, Read | None], ...]
    keyed: tuple[bool, ...]

    @property
    def has_key(self) -> bool:
        return any(self.keyed)


_Spans = list[tuple[int, int] | None]


def decode_rows(kind: int, body: bytes, at: int, layout: RowLayout, out: TableBuffer) -> None:
    """Append every row of a rows event to ``out``. ``at`` is where the event's column count stands.

    Raises LogFormatRefused when an image leaves out a wanted column, LogDamaged when the bytes do not fit the layout.
    """
    cursor = binlog.Cursor(body, at)
    count = cursor.packed()
    if count != len(layout.extents):
        raise LogDamaged(f"{layout.name}: rows in the binlog have {count} columns, their table {len(layout.extents)}")
    updates = kind in binlog.UPDATE_ROWS
    bitmaps = [_present(cursor.take((count + 7) // 8), count) for _ in range(2 if updates else 1)]
    for present in bitmaps:
        _require_whole(present, layout)
    data, at = body, cursor.at
    if kind in binlog.COMPRESSED_ROWS:
        data, at = binlog.uncompressed_rows(body, at), 0
    before, after = bitmaps[0], bitmaps[-1]
    while at < len(data):
        old, at = _spans(data, at, before, layout)
        if kind in binlog.WRITE_ROWS:
            _put(data, old, layout, out, INSERT)
        elif not updates:
            _put(data, old, layout, out, DELETE)
        else:
            new, at = _spans(data, at, after, layout)
            if not layout.has_key or _key_changed(data, old, new, layout):
                _put(data, old, layout, out, UPDATE_BEFORE)
            _put(data, new, layout, out, UPDATE)


def _present(bitmap: bytes, count: int) -> tuple[int, ...]:
    """The columns whose bit is set."""
    return tuple(i for i in range(count) if bitmap[i >> 3] >> (i & 7) & 1)


def _require_whole(present: Sequence[int], layout: RowLayout) -> None:
    if len(present) == len(layout.extents):
        return
    there = set(present)
    if any(place not in there for place, _ in layout.columns):
        raise LogFormatRefused(f"{layout.name}: the binlog has rows without all their columns (binlog_row_image)")


def _spans(data: bytes, at: int, present: Sequence[int], layout: RowLayout) -> tuple[_Spans, int]:
    """Where each column's bytes begin and end (None for NULL or not there), and where the next image begins."""
    spans: _Spans = [None] * len(layout.extents)
    limit = len(data)
    nulls = at
    at += (len(present) + 7) >> 3
    if at > limit:
        raise LogDamaged(f"{layout.name}: a row in the binlog is cut off")
    for n, i in enumerate(present):
        if data[nulls + (n >> 3)] >> (n & 7) & 1:
            continue
        size = layout.extents[i].fixed
        if size < 0:
            start = at + layout.extents[i].prefix
            size = int.from_bytes(data[at:start], "little")
            at = start
        if at + size > limit:
            raise LogDamaged(f"{layout.name}: a row in the binlog is cut off")
        spans[i] = (at, at + size)
        at += size
    return spans, at


def _key_changed(data: bytes, old: _Spans, new: _Spans, layout: RowLayout) -> bool:
    for (place, _), keyed in zip(layout.columns, layout.keyed, strict=True):
        if keyed and _bytes(data, old[place]) != _bytes(data, new[place]):
            return True
    return False


def _bytes(data: bytes, span: tuple[int, int] | None) -> bytes | None:
    return None if span is None else data[span[0] : span[1]]


def _put(data: bytes, spans: _Spans, layout: RowLayout, out: TableBuffer, op: int) -> None:
    key_only = op in (DELETE, UPDATE_BEFORE) and layout.has_key
    columns: list[ColumnBuffer] = out.columns
    for n, (place, read) in enumerate(layout.columns):
        span = spans[place]
        if span is None or (key_only and not layout.keyed[n]):
            columns[n].null()
            continue
        value = data[span[0] : span[1]]
        columns[n].put(value if read is None else read(value))
    out.row(op)
