"""What a target that is ahead of another one still needs of a segment: the transactions that it does not have yet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from whimbrel.model.change import DELETE, INSERT, UPDATE, Counts, Segment, Step, TableChanges, Truncate
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
    steps = tuple(s for s in (_from(step, first) for step in segment.steps) if s is not None)
    left = len([m for m in marks if m.commit is not None])
    return replace(segment, steps=steps, marks=marks, transactions=left, counts=_counts(steps))


def _from(step: Step, first: int) -> Step | None:
    if isinstance(step, Truncate):
        return step if step.number >= first else None
    numbers = np.asarray(step.numbers)
    skipped = int(np.searchsorted(numbers, first))
    if skipped == 0:
        return step
    if skipped == len(numbers):
        return None
    masks = {name: mask.slice(skipped) for name, mask in step.unchanged.items()}
    # Whole arrays, because offsets of slices do not begin at 0 and codecs look into the buffers.
    data = pa.RecordBatch.from_arrays(
        [pa.concat_arrays([c]) for c in step.data.slice(skipped).columns], names=step.data.schema.names
    )
    return TableChanges(
        step.table, pa.concat_arrays([step.ops.slice(skipped)]), data, masks, pa.array(numbers[skipped:])
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
