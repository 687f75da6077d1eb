"""Final images of a table's changed rows as mutations.

Rows are whole, or ``masked``: the source left values out. Of a masked row that keeps its key only the other columns are
written, and the target keeps its own values. One whose key has ``moved`` takes them from the row that the target holds
under the old key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from google.cloud.spanner_v1 import types as api
from google.protobuf.struct_pb2 import ListValue

from whimbrel.codecs.compaction import Compacted
from whimbrel.codecs.mutations import KEYS_TAG, Rows, rows
from whimbrel.connectors.spanner.connection import Transaction
from whimbrel.connectors.spanner.mutations import Shape, Write, delete, put
from whimbrel.connectors.spanner.wire import varint
from whimbrel.connectors.sql.images import typed
from whimbrel.connectors.sql.merge import Pair
from whimbrel.errors import ValueRefused

Places = npt.NDArray[np.int64]


def _nowhere() -> Places:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Images:
    """``masked`` and ``moved`` are places among the upserts of ``compacted``; ``fixed`` writes all but the moved ones,
    ``more`` those of them that were asked of the source."""

    compacted: Compacted
    fixed: tuple[Write, ...]
    masked: Places = field(default_factory=_nowhere)
    moved: Places = field(default_factory=_nowhere)
    moved_rows: Write | None = None  # with NULL for what was left out
    more: tuple[Write, ...] = ()

    def and_more(self, writes: Sequence[Write]) -> Images:
        return replace(self, fixed=self.fixed + tuple(writes), more=tuple(writes))

    @property
    def measured(self) -> tuple[Write, ...]:
        """What tells how large a commit of all of it is, as far as that is known before."""
        return (*self.fixed, self.moved_rows) if self.moved_rows is not None else self.fixed

    def keys(self, pair: Pair, places: Places) -> pa.RecordBatch:
        return typed(pair, self.compacted.upserts.take(pa.array(places)), list(pair.source.key))

    def moved_from(self, transaction: Transaction, pair: Pair, shape: Shape) -> Iterator[Write]:
        """The moved rows, completed from the rows under their old keys. Raises ValueRefused (``row_missing``) where
        these are not there."""
        if self.moved_rows is None:
            return
        origins, rows_of = self.compacted.origins, self.moved_rows.rows
        assert origins is not None
        keys = typed(pair, origins.take(pa.array(self.moved)), list(pair.source.key))
        there = found_rows(transaction, shape, keys, self.moved_rows.columns)
        if any(row is None for row in there):
            raise ValueRefused(f"{shape.name}: a row is not there under its old key", row_missing=True)
        masks = _masks(pair, self.compacted)[self.moved]
        encoded = []
        for place, found in enumerate(there):
            assert found is not None
            row = ListValue.FromString(_body(rows_of.between(place, place + 1)))
            for column in np.flatnonzero(masks[place]).tolist():
                row.values[column].CopyFrom(found[column])
            body = row.SerializeToString()
            encoded.append(b"\x1a" + varint(len(body)) + body)
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        yield replace(self.moved_rows, rows=Rows(memoryview(b"".join(encoded)), ends))


def images_of(pair: Pair, shape: Shape, compacted: Compacted) -> Images:
    """Raises ValueRefused for what Spanner does not hold."""
    upserts, deletes = compacted.upserts, compacted.deletes
    names = [c.name for c in pair.source.loaded_columns]
    gone = [delete(shape, typed(pair, deletes, list(pair.source.key)))] if deletes.num_rows else []
    whole = typed(pair, upserts, names)
    if not compacted.unchanged:
        return Images(compacted, (*gone, *([put(shape, whole)] if upserts.num_rows else ())))
    masks = _masks(pair, compacted)
    has_mask = masks.any(axis=1)
    came = _moved(pair, compacted)
    moved, kept = np.flatnonzero(has_mask & came), np.flatnonzero(has_mask & ~came)
    puts = list(_updates(pair, shape, whole, masks, kept))
    rest = whole.filter(pa.array(~has_mask))
    if rest.num_rows:
        puts.append(put(shape, rest))
    moved_rows = put(shape, whole.take(pa.array(moved))) if len(moved) else None
    return Images(compacted, (*gone, *puts), kept, moved, moved_rows)


def _updates(
    pair: Pair, shape: Shape, whole: pa.RecordBatch, masks: npt.NDArray[np.bool_], places: Places
) -> Iterator[Write]:
    """Rows of which the same columns were left out, together."""
    if not len(places):
        return
    patterns, which = np.unique(masks[places], axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        columns = [n for n, left_out in zip(whole.schema.names, pattern, strict=True) if not left_out]
        yield put(shape, whole.select(columns).take(pa.array(places[which.reshape(-1) == number])), "update")


def _masks(pair: Pair, compacted: Compacted) -> npt.NDArray[np.bool_]:
    """For each upsert and loaded column whether the value was left out."""
    none = np.zeros(compacted.upserts.num_rows, dtype=np.bool_)
    names = [c.name for c in pair.source.loaded_columns]
    columns = [np.asarray(compacted.unchanged[n]).astype(np.bool_) if n in compacted.unchanged else none for n in names]
    return np.column_stack(columns)


def _moved(pair: Pair, compacted: Compacted) -> npt.NDArray[np.bool_]:
    moved = np.zeros(compacted.upserts.num_rows, dtype=np.bool_)
    if compacted.origins is not None:
        for name in pair.source.key:
            same = pc.fill_null(pc.equal(compacted.upserts.column(name), compacted.origins.column(name)), False)
            moved |= ~np.asarray(same).astype(np.bool_)
    return moved


# --- rows that are there ----------------------------------------------------------------------------------------------


def found_rows(
    transaction: Transaction, shape: Shape, keys: pa.RecordBatch, columns: Iterable[str]
) -> list[list[Any] | None]:
    """For each key the values of the row that has it, or None."""
    wanted, ordered = [*columns], keys.select(list(shape.key))
    plain = [_PLAIN.get(column.type.id, _as_it_is) for column in ordered.columns]
    encoded = rows(ordered, KEYS_TAG)
    request = api.ReadRequest(table=shape.name, columns=[*wanted, *shape.key])
    width = len(wanted)

    def known(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(how(value) for how, value in zip(plain, values, strict=True))

    read = transaction.read(request, bytes(encoded.between(0, len(encoded))))
    there = {known(row[width:]): row[:width] for row in read}
    asked = (ListValue.FromString(_body(encoded.between(n, n + 1))) for n in range(len(encoded)))
    return [there.get(known(key.values)) for key in asked]


def _as_it_is(value: Any) -> Any:
    return getattr(value, value.WhichOneof("kind"))


def _number(value: Any) -> Any:
    """However many zeros stand behind it."""
    return Decimal(value.string_value) if value.WhichOneof("kind") == "string_value" else None


def _moment(value: Any) -> Any:
    """However many digits of its second are written."""
    text = value.string_value.removesuffix("Z")
    return text.rstrip("0").rstrip(".") if "." in text else text


_PLAIN = {pa.decimal128(1, 0).id: _number, pa.timestamp("us").id: _moment}


def _body(row: memoryview) -> bytes:
    """A row's ListValue, behind the field's tag and length."""
    at = 1
    while row[at] > 127:
        at += 1
    return bytes(row[at + 1 :])
