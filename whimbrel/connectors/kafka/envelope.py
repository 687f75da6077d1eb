"""Segments of changes as messages: Debezium's envelope in JSON, one message a change, in commit order.

docs/queues.md describes the messages for those who read them. Everything here is done for a whole run of changes at a
time; only at the end are keys and values cut into the objects that the producer takes one by one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel import __version__
from whimbrel.codecs import jsontext
from whimbrel.codecs.jsontext import Form, joined
from whimbrel.errors import LayoutChanged, ValueRefused
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Mark, Segment, TableChanges, Truncate
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

Integers = npt.NDArray[np.int64]

_CONNECTORS = {"postgres": "postgresql"}  # where Debezium's name for a connector is another than ours
_DATABASES = {"postgres": "database", "sqlserver": "database", "oracle": "service_name"}
_NULL = pa.scalar(b"null", pa.binary())


@dataclass(frozen=True)
class Messages:
    """In the order to send. ``tables`` has for each message the number of its table.

    ``ends`` has for each transaction of the source the number of messages up to its end, and its mark.
    """

    tables: list[int]
    keys: list[bytes | None]
    values: list[bytes]
    ends: list[tuple[int, Mark]]


@dataclass(frozen=True)
class _Shape:
    """What is the same for all messages of a table."""

    number: int
    forms: dict[str, Form]
    key: tuple[str, ...]
    named: bytes  # the beginning of its key: {"table":"…"
    source: bytes  # the beginning of its source block


@dataclass(frozen=True)
class _Run:
    """The messages of one step: their places in the segment, and after ``render`` keys and values."""

    table: int
    step: TableChanges | None
    kept: Integers  # rows of the step that become messages
    numbers: Integers


class Envelopes:
    """Turns segments into messages. Keeps count inside a transaction that stretches over several segments."""

    def __init__(self, source: Endpoint, migration: str, tables: Sequence[Table]) -> None:
        self._names = [t.name for t in tables]
        self._shapes = {t.name: _shape(i, t, source, migration) for i, t in enumerate(tables)}
        self._carried = 0

    @property
    def tables(self) -> Sequence[TableName]:
        """Messages name tables by their place in here."""
        return self._names

    def messages(self, segment: Segment) -> Messages:
        """Raises ValueRefused for text that is not UTF-8, LayoutChanged for columns that the table did not have."""
        if not segment.marks:
            return Messages([], [], [], [])
        runs = [run for step in segment.steps for run in self._runs(step)]
        numbers = np.concatenate([r.numbers for r in runs] or [np.empty(0, np.int64)])
        order = np.argsort(numbers, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        firsts = np.array([m.first for m in segment.marks], np.int64)
        begins = np.searchsorted(numbers[order], firsts)
        which = np.searchsorted(firsts, numbers, side="right") - 1
        totals = rank - begins[which] + 1
        totals[which == 0] += self._carried
        about = _Transactions(segment.marks, str(time.time_ns() // 1_000_000).encode())
        keys, values, at = [], [], 0
        for run in runs:
            here = slice(at, at + len(run.numbers))
            k, v = self._render(run, about, which[here], totals[here])
            keys.append(k)
            values.append(v)
            at = here.stop
        ends = [*begins[1:].tolist(), len(order)]
        self._carry(segment, ends[-1] - int(begins[-1]))
        if not runs:
            return Messages([], [], [], list(zip(ends, segment.marks, strict=True)))
        places = pa.array(order)
        tables = np.concatenate([np.full(len(r.numbers), r.table) for r in runs])[order]
        return Messages(
            tables.tolist(),
            _cells(pa.concat_arrays(keys).take(places)),
            [v for v in _cells(pa.concat_arrays(values).take(places)) if v is not None],
            list(zip(ends, segment.marks, strict=True)),
        )

    def forget(self) -> None:
        """The open transaction will be sent again from its beginning."""
        self._carried = 0

    def _carry(self, segment: Segment, in_last: int) -> None:
        if segment.marks[-1].commit is not None:
            self._carried = 0
        else:
            self._carried = in_last + (self._carried if len(segment.marks) == 1 else 0)

    def _runs(self, step: TableChanges | Truncate) -> Iterable[_Run]:
        if isinstance(step, Truncate):
            for name in step.tables:
                yield _Run(self._shapes[name].number, None, np.zeros(1, np.int64), np.array([step.number], np.int64))
            return
        shape = self._shapes[step.table]
        ops = np.asarray(step.ops)
        # Without a key the old image is no message of its own: it becomes the 'before' of the one that follows.
        kept = np.arange(len(ops)) if shape.key else np.flatnonzero(ops != UPDATE_BEFORE)
        yield _Run(shape.number, step, kept, np.asarray(step.numbers, dtype=np.int64)[kept])

    def _render(
        self, run: _Run, about: _Transactions, which: Integers, totals: Integers
    ) -> tuple[pa.BinaryArray, pa.BinaryArray]:
        """Keys and values of a run's messages."""
        shape = self._shapes[self._names[run.table]]
        source = joined(shape.source, about.fields.take(pa.array(which)))
        tail = joined(about.tail, about.ids.take(pa.array(which)), b',"total_order":', _digits(totals), b"}}")
        if run.step is None:
            value = joined(b'{"before":null,"after":null,"source":', source, b',"op":"t"', tail)
            return pa.nulls(1, pa.binary()), value
        before, after, letters, keys = _images(shape, run.step)
        if len(run.kept) != run.step.rows:
            kept = pa.array(run.kept)
            before, after, letters, keys = (a.take(kept) for a in (before, after, letters, keys))
        value = joined(
            b'{"before":', before, b',"after":', after, b',"source":', source, b',"op":"', letters, b'"', tail
        )
        return keys, value


class _Transactions:
    """What messages say about the transactions of a segment, one value a transaction."""

    def __init__(self, marks: Sequence[Mark], now: bytes) -> None:
        seen = [m.transaction for m in marks]
        self.ids = pa.array([json.dumps(t.id).encode() for t in seen], pa.binary())
        self.fields = pa.array(
            [_members({"ts_ms": t.time_us // 1000, **dict(t.place)}).encode() + b"}" for t in seen], pa.binary()
        )
        self.tail = b',"ts_ms":' + now + b',"transaction":{"id":'


def _shape(number: int, table: Table, source: Endpoint, migration: str) -> _Shape:
    parameter = _DATABASES.get(source.type)
    block = {
        "version": __version__,
        "connector": _CONNECTORS.get(source.type, source.type),
        "name": migration,
        "snapshot": "false",
        "db": str(source.parameters[parameter]) if parameter else table.name.schema,
        "schema": table.name.schema,
        "table": table.name.table,
    }
    return _Shape(
        number,
        {c.name: jsontext.form_of(c.type) for c in table.columns},
        table.key,
        f'{{"table":{jsontext.quoted(str(table.name))}'.encode(),
        f"{{{_members(block)},".encode(),
    )


def _members(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[1:-1]


def _images(shape: _Shape, step: TableChanges) -> tuple[pa.BinaryArray, pa.BinaryArray, pa.BinaryArray, pa.BinaryArray]:
    """For each row of the step: before, after, the letter of its operation, and the message's key."""
    ops = np.asarray(step.ops)
    names = step.data.schema.names
    texts = {name: _column(shape, step, name) for name in names}
    rows = jsontext.objects(names, list(texts.values()), [step.unchanged.get(n) for n in names])
    old = (ops == DELETE) | (ops == UPDATE_BEFORE)
    follows = np.concatenate(([False], ops[:-1] == UPDATE_BEFORE)) & (ops == UPDATE)
    after = pc.if_else(pa.array(old), _NULL, rows)
    if shape.key:
        keys = jsontext.objects(shape.key, [texts[k] for k in shape.key], [None] * len(shape.key))
        before = pc.if_else(pa.array(old), keys, _NULL)
        letter = np.select([old, (ops == INSERT) | follows], [1, 0], 2)
        return before, after, _LETTERS.take(pa.array(letter)), joined(shape.named, b',"key":', keys, b"}")
    previous = rows.take(pa.array(np.maximum(np.arange(len(ops)) - 1, 0)))
    before = pc.if_else(pa.array(old), rows, pc.if_else(pa.array(follows), previous, _NULL))
    letter = np.select([old, ops == INSERT], [1, 0], 2)
    return before, after, _LETTERS.take(pa.array(letter)), pa.nulls(len(ops), pa.binary())


_LETTERS = pa.array([b"c", b"d", b"u"], pa.binary())


def _column(shape: _Shape, step: TableChanges, name: str) -> pa.BinaryArray:
    form = shape.forms.get(name)
    if form is None:
        raise LayoutChanged(f"{step.table}: changes came for a column {name} that it did not have")
    try:
        return jsontext.values(step.data.column(name), form)
    except ValueRefused as e:
        raise ValueRefused(f"{step.table}, column {name}: {e.message}", table=str(step.table), column=name) from None


def _digits(numbers: Integers) -> pa.BinaryArray:
    return pa.array(numbers).cast(pa.string()).cast(pa.binary())


def _cells(column: pa.BinaryArray) -> list[bytes | None]:
    """The values as bytes; one object for each message is what the producer takes."""
    _, offsets, content = column.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1].tolist()
    data = b"" if content is None else content.to_pybytes()
    cut: list[bytes | None] = [data[a:b] for a, b in pairwise(bounds)]
    for i in np.flatnonzero(np.asarray(pc.is_null(column))).tolist() if column.null_count else ():
        cut[i] = None
    return cut
