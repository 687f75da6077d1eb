"""Parts of a segment that was captured in order: the transactions that a target lacks, and pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from whimbrel.model.change import (
    DELETE,
    INSERT,
    UPDATE,
    UPDATE_BEFORE,
    Counts,
    Mark,
    Segment,
    Step,
    TableChanges,
    Truncate,
)
from whimbrel.model.names import TableName
from whimbrel.model.position import Position


def after(segment: Segment, position: Position) -> Segment:
    """The segment without the transactions that whoever stands at ``position`` has.

    Needs a segment that was captured in order. Usually that is the segment itself.
    """
    marks = tuple(m for m in segment.marks if not m.transaction.start < position)
    if len(marks) == len(segment.marks):
        return segment
    if not marks:
        return replace(segment, steps=(), marks=(), transactions=0, counts={}, bytes=0)
    first = marks[0].first
    steps = _between(segment, first, _end(segment))
    left = len([m for m in marks if m.commit is not None])
    return replace(segment, steps=steps, marks=marks, transactions=left, counts=_counts(steps))


def pieces(segment: Segment, most: int) -> Iterator[Segment]:
    """The segment in pieces of about ``most`` changes, for whoever only needs steps and marks, in bounded memory.

    A piece that ends inside a transaction has no commit in its last mark, as in a transaction that was sliced. An old
    image stays with the new one behind it. Usually there is one piece, the segment itself.
    """
    end = _end(segment)
    at = segment.marks[0].first if segment.marks else end
    if end - at <= most:
        yield segment
        return
    while at < end:
        to = end if end - at <= most else _no_pair_split(segment, at + most)
        yield replace(segment, steps=_between(segment, at, to), marks=_marks(segment, at, to, last=to >= end))
        at = to


def _end(segment: Segment) -> int:
    """The place behind the segment's last change."""
    last = [s.number if isinstance(s, Truncate) else s.numbers[-1].as_py() for s in segment.steps]  # type: ignore[index]
    return 1 + max(last, default=-1)


def _no_pair_split(segment: Segment, at: int) -> int:
    """``at``, or the place behind it if that is an update whose old image stands before ``at``."""
    for step in segment.steps:
        if isinstance(step, TableChanges):
            numbers = np.asarray(step.numbers)
            row = int(np.searchsorted(numbers, at))
            if 0 < row < len(numbers) and numbers[row] == at and step.ops[row - 1].as_py() == UPDATE_BEFORE:
                return at + 1
    return at


def _marks(segment: Segment, start: int, end: int, *, last: bool) -> tuple[Mark, ...]:
    found = []
    behind = [m.first for m in segment.marks[1:]]
    for mark, follows in zip(segment.marks, [*behind, None], strict=True):
        ends = last if follows is None else follows <= end
        begins = start <= mark.first < end or (last and mark.first >= end)
        goes_on = mark.first < start and (follows is None or follows > start)
        if begins or goes_on:
            found.append(replace(mark, first=max(mark.first, start), commit=mark.commit if ends else None))
    return tuple(found)


def _between(segment: Segment, start: int, end: int) -> tuple[Step, ...]:
    found = (_part(step, start, end) for step in segment.steps)
    return tuple(step for step in found if step is not None)


def _part(step: Step, start: int, end: int) -> Step | None:
    if isinstance(step, Truncate):
        return step if start <= step.number < end else None
    numbers = np.asarray(step.numbers)
    first, last = (int(n) for n in np.searchsorted(numbers, (start, end)))
    if first == last:
        return None
    if last - first == len(numbers):
        return step
    size = last - first
    masks = {name: mask.slice(first, size) for name, mask in step.unchanged.items()}
    # Whole arrays, because offsets of slices do not begin at 0 and codecs look into the buffers.
    data = pa.RecordBatch.from_arrays(
        [pa.concat_arrays([c]) for c in step.data.slice(first, size).columns], names=step.data.schema.names
    )
    return TableChanges(
        step.table, pa.concat_arrays([step.ops.slice(first, size)]), data, masks, pa.array(numbers[first:last])
    )


def _counts(steps: tuple[Step, ...]) -> dict[TableName, Counts]:
    found: dict[TableName, Counts] = {}
    for step in steps:
        if isinstance(step, Truncate):
            for name in step.tables:
                old = found.get(name, Counts())
                found[name] = replace(old, truncates=old.truncates + 1)
            continue
        old, seen = found.get(step.table, Counts()), np.bincount(np.asarray(step.ops), minlength=5)
        found[step.table] = Counts(
            old.inserts + int(seen[INSERT]),
            old.updates + int(seen[UPDATE]),
            old.deletes + int(seen[DELETE]),
            old.truncates,
        )
    return found
