"""Changes of a table as batches that a file takes: typed as the target has its columns, with our own behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.codecs.compaction import Compacted
from whimbrel.codecs.typed import Text
from whimbrel.codecs.typed import typed as typed_columns
from whimbrel.connectors.sql.merge import GONE, PUT, Pair, own_columns
from whimbrel.errors import LayoutChanged
from whimbrel.model.change import TableChanges
from whimbrel.model.table import Column


def staged(pair: Pair, compacted: Compacted) -> pa.RecordBatch:
    """Upserts, then deletes, with our own columns behind the table's."""
    upserts, deletes = compacted.upserts, compacted.deletes
    puts, gone = upserts.num_rows, deletes.num_rows
    source, key = pair.source.loaded_columns, pair.source.key
    loaded = [c.name for c in source]
    columns = typed(pair, upserts, loaded)
    if gone:
        removed = typed(pair, deletes, list(key))
        nothing = [pa.nulls(gone, c.type) for c in columns.columns]
        there = dict(zip(pair.key, removed.columns, strict=True))
        filled = [there.get(c.name, n) for c, n in zip(pair.columns, nothing, strict=True)]
        columns = stacked(columns, filled)
    own: list[pa.Array] = [
        pa.array([PUT, GONE]).take(pa.array(np.repeat([0, 1], [puts, gone]))),
        pa.array(np.arange(puts + gone, dtype=np.int64)),
        _padded(_mask(pair, compacted.unchanged, puts), gone),
    ]
    origins = compacted.origins
    found = typed(pair, origins, list(key)).columns if origins is not None else [None] * len(key)
    for name, values in zip(pair.key, found, strict=True):
        type = pair.target.column(name).type.arrow
        own.append(pa.nulls(puts + gone, type) if values is None else _padded(values, gone))
    names = [*columns.schema.names, *(name for name, _ in own_columns(pair))]
    return pa.RecordBatch.from_arrays([*columns.columns, *own], names=names)


def in_order(pair: Pair, changes: TableChanges) -> TableChanges:
    """The columns that are written, in the table's order. Raises LayoutChanged when one is missing."""
    names = [c.name for c in pair.source.loaded_columns]
    missing = [name for name in names if name not in changes.data.schema.names]
    if missing:
        raise LayoutChanged(f"{changes.table}: changes came without {', '.join(missing)}", table=str(changes.table))
    unchanged = {name: mask for name, mask in changes.unchanged.items() if name in names}
    return TableChanges(changes.table, changes.ops, changes.data.select(names), unchanged)


def typed(pair: Pair, batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """These source columns of a batch of canonical text, named and typed as the target's."""
    both: dict[str, tuple[Column, Column]] = {
        s.name: (s, t) for s, t in zip(pair.source.columns, pair.target.columns, strict=True)
    }
    chosen = [both[name] for name in names]
    return typed_columns(
        batch.select(list(names)),
        [s for s, _ in chosen],
        [t for _, t in chosen],
        str(pair.target.name),
        Text.CANONICAL,
    )


def stacked(batch: pa.RecordBatch, more: Sequence[pa.Array]) -> pa.RecordBatch:
    arrays = [pa.concat_arrays([a, b]) for a, b in zip(batch.columns, more, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _padded(values: pa.Array, rows: int) -> pa.Array:
    return pa.concat_arrays([values, pa.nulls(rows, values.type)]) if rows else values


def _mask(pair: Pair, unchanged: Mapping[str, pa.BooleanArray], rows: int) -> pa.Array:
    """For each row a digit a column, 1 where the target is to fill it; '' for rows that are whole."""
    if not unchanged:
        return pa.array([""], pa.string()).take(pa.array(np.zeros(rows, dtype=np.int64)))
    none = np.zeros(rows, dtype=np.bool_)
    names = [c.name for c in pair.source.loaded_columns]
    masks = [np.asarray(unchanged[name]).astype(np.bool_) if name in unchanged else none for name in names]
    digits = [pc.if_else(pa.array(m), "1", "0") for m in masks]
    text = pc.binary_join_element_wise(*digits, "")
    return pc.if_else(pa.array(np.logical_or.reduce(masks)), text, "")
