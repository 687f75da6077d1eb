"""Reduces a run of changes to what a target must do: one final image per key, or one net count per row.

All of it is vector arithmetic on Arrow and numpy; no object is made per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.errors import ReplicationFailed
from whimbrel.model.change import DELETE, UPDATE, UPDATE_BEFORE, TableChanges

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Compacted:
    """The net effect on a table with a key. No key stands in both batches, and none twice.

    ``deletes`` has the key columns of rows to remove, ``upserts`` whole rows to put, each in order of last change.
    ``unchanged`` marks cells of ``upserts`` whose value only the target knows; ``origins`` then has, for every row of
    ``upserts``, the key under which the target holds it now (its own, unless the key changed). Fill from there first,
    then delete, then upsert.
    """

    deletes: pa.RecordBatch
    upserts: pa.RecordBatch
    unchanged: dict[str, pa.BooleanArray] = field(default_factory=dict)
    origins: pa.RecordBatch | None = None


@dataclass(frozen=True)
class Net:
    """The net effect on a table without a key, as a multiset of whole rows.

    ``inserts`` holds each row as often as it must be added. ``deletes`` holds each row once, with the number of equal
    rows to remove in the int64 column ``#count``.
    """

    inserts: pa.RecordBatch
    deletes: pa.RecordBatch


def compact(changes: TableChanges, key: Sequence[str]) -> Compacted:
    """The last image per key, in the order of those last changes. ``key`` must not be empty."""
    ops = np.asarray(changes.ops)
    codes = _group(changes.data, key)
    last = np.zeros(int(codes.max()) + 1 if len(codes) else 0, dtype=np.int64)
    last[codes] = np.arange(len(codes))  # where an index repeats, numpy keeps the last value
    last.sort()
    gone = (ops[last] == DELETE) | (ops[last] == UPDATE_BEFORE)
    deletes = changes.data.select(list(key)).take(pa.array(last[gone]))
    kept = last[~gone]
    if not changes.unchanged:
        return Compacted(deletes, changes.data.take(pa.array(kept)))
    return _filled(changes, key, ops, codes, deletes, kept)


def net(changes: TableChanges) -> Net:
    """Inserted minus deleted copies of each distinct row. Raises ReplicationFailed if the log left a value out."""
    if any(pc.any(mask).as_py() for mask in changes.unchanged.values()):
        raise ReplicationFailed(
            f"{changes.table}: the log left out values of a table without a key",
            remedy=f"Run ALTER TABLE {changes.table} REPLICA IDENTITY FULL on the source, or add a primary key.",
        )
    ops = np.asarray(changes.ops)
    codes = _group(changes.data, changes.data.schema.names)
    sign = np.where((ops == DELETE) | (ops == UPDATE_BEFORE), -1, 1)
    _, first = np.unique(codes, return_index=True)
    count = np.bincount(codes, weights=sign).astype(np.int64)
    more, less = count > 0, count < 0
    inserts = changes.data.take(pa.array(np.repeat(first[more], count[more])))
    deletes = changes.data.take(pa.array(first[less])).append_column("#count", pa.array(-count[less]))
    return Net(inserts, deletes)


def _group(data: pa.RecordBatch, columns: Sequence[str]) -> Integers:
    """A dense group number for each row; rows are in one group when all these columns are equal (null equals null)."""
    codes: Integers = np.zeros(data.num_rows, dtype=np.int64)
    for name in columns:
        column = data.column(name)
        encoded = column.dictionary_encode(null_encoding="encode")
        codes = codes * len(encoded.dictionary) + np.asarray(encoded.indices, dtype=np.int64)
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)  # dense again, so that it cannot overflow
    return codes


def _filled(
    changes: TableChanges, key: Sequence[str], ops: Integers, codes: Integers, deletes: pa.RecordBatch, kept: Integers
) -> Compacted:
    """Fill cells the source left out from earlier images in the run; what remains is the target's to fill."""
    before = _previous_images(ops, codes)
    columns: list[pa.Array] = []
    open_cells: dict[str, pa.BooleanArray] = {}
    roots = kept
    for name in changes.data.schema.names:
        mask = changes.unchanged.get(name)
        column = changes.data.column(name)
        if mask is None:
            columns.append(column.take(pa.array(kept)))
            continue
        missing = np.asarray(mask).astype(np.bool_) | (ops == UPDATE_BEFORE)
        found = _follow(before, missing)[kept]
        columns.append(column.take(pa.array(found)))
        still: Flags = missing[found]
        if still.any():
            open_cells[name] = pa.array(still)
            roots = np.where(still, found, roots)
    upserts = pa.RecordBatch.from_arrays(columns, names=changes.data.schema.names)
    if not open_cells:
        return Compacted(deletes, upserts)
    return Compacted(deletes, upserts, open_cells, changes.data.select(list(key)).take(pa.array(roots)))


def _previous_images(ops: Integers, codes: Integers) -> Integers:
    """For each row the row that held its image before: the last of the same key, or of the old key; -1 if none."""
    n = len(codes)
    order = np.argsort(codes, kind="stable")
    before: Integers = np.full(n, -1, dtype=np.int64)
    same = codes[order][1:] == codes[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    rekeyed = np.flatnonzero((ops[1:] == UPDATE) & (ops[:-1] == UPDATE_BEFORE)) + 1
    before[rekeyed] = rekeyed - 1
    return before


def _follow(before: Integers, missing: Flags) -> Integers:
    """For each row the nearest earlier image whose cell is present, or the oldest one if none is. Pointer doubling."""
    here = np.arange(len(before))
    jump = np.where(missing & (before >= 0), before, here)
    while True:
        further = jump[jump]
        if np.array_equal(further, jump):
            return jump
        jump = further
