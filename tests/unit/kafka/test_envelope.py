"""Envelopes of segments made by hand; what they become is read with the json module."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.codecs.ordering import after, pieces
from whimbrel.connectors.kafka.envelope import Envelopes
from whimbrel.errors import LayoutChanged, ValueRefused
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Counts, Segment, Transaction
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Annotation, Column, ColumnType, Table

KEYED, BARE = TableName("s", "keyed"), TableName("s", "bare")
MISSING = object()


def at(lsn: int) -> Position:
    return Position("postgres", "server", f"0/{lsn:X}", (lsn,))


def column(name: str, arrow: pa.DataType, annotation: Annotation = Annotation.NONE) -> Column:
    return Column(name, ColumnType(arrow, "", annotation))


TABLES = (
    Table(
        KEYED,
        (column("id", pa.int64()), column("note", pa.string()), column("raw", pa.binary())),
        primary_key=("id",),
    ),
    Table(BARE, (column("n", pa.int32()),)),
)


class Log:
    """Writes transactions into a builder; each takes ten of log: it is announced at 5 and ends at 10."""

    def __init__(self, start: int = 0) -> None:
        self.builder = SegmentBuilder(at(start), ordered=True)
        self.here = start

    def begin(self) -> None:
        number = self.here + 5
        place = (("txId", number), ("lsn", number))
        self.builder.begin(Transaction(at(number), str(number), 1_700_000_000_123_456, place))

    def row(self, table: TableName, op: int, *values: object) -> None:
        names = tuple(c.name for t in TABLES if t.name == table for c in t.columns)
        buffer = self.builder.buffer(table, names)
        for cell, value in zip(buffer.columns, values, strict=True):
            if value is MISSING:
                cell.unchanged()
            elif value is None:
                cell.null()
            else:
                assert isinstance(value, bytes)
                cell.put(value)
        buffer.row(op)

    def commit(self) -> None:
        self.here += 10
        self.builder.commit(at(self.here), 1)


def envelopes(tables: Sequence[Table] = TABLES) -> Envelopes:
    source = Endpoint("s", "postgres", {"database": "shop"})
    return Envelopes(source, "move", tables)


def parsed(segment: Segment, made: Envelopes | None = None) -> list[dict[str, Any]]:
    found = (made or envelopes()).messages(segment)
    return [
        {**json.loads(value), "key": None if key is None else json.loads(key)}
        for key, value in zip(found.keys, found.values, strict=True)
    ]


def test_order_across_tables_is_the_logs() -> None:
    log = Log()
    log.begin()
    log.row(KEYED, INSERT, b"1", b"a", None)
    log.row(BARE, INSERT, b"7")
    log.builder.truncate((BARE, KEYED))
    log.row(BARE, INSERT, b"8")
    log.row(KEYED, INSERT, b"2", b"b", None)
    log.commit()
    log.begin()
    log.row(KEYED, DELETE, b"2", None, None)
    log.commit()
    segment = log.builder.cut()
    found = parsed(segment)
    assert [(m["op"], m["source"]["table"]) for m in found] == [
        ("c", "keyed"), ("c", "bare"), ("t", "bare"), ("t", "keyed"), ("c", "bare"), ("c", "keyed"), ("d", "keyed"),
    ]  # fmt: skip
    assert [m["transaction"]["total_order"] for m in found] == [1, 2, 3, 4, 5, 6, 1]
    assert [m["transaction"]["id"] for m in found] == ["5"] * 6 + ["15"]
    ends = envelopes().messages(segment).ends
    assert [(n, mark.commit) for n, mark in ends] == [(6, at(10)), (7, at(20))]


def test_source_block_and_key() -> None:
    log = Log()
    log.begin()
    log.row(KEYED, INSERT, b"1", b"a", b"\x00\xff")
    log.commit()
    (message,) = parsed(log.builder.cut())
    about = message["source"]
    assert about.pop("version")
    assert about == {
        "connector": "postgresql", "name": "move", "snapshot": "false", "db": "shop", "schema": "s", "table": "keyed",
        "ts_ms": 1_700_000_000_123, "txId": 5, "lsn": 5,
    }  # fmt: skip
    assert message["key"] == {"table": "s.keyed", "key": {"id": 1}}
    assert (message["before"], message["after"]) == (None, {"id": 1, "note": "a", "raw": "AP8="})


def test_a_key_that_changes_is_a_delete_and_an_insert() -> None:
    log = Log()
    log.begin()
    log.row(KEYED, UPDATE_BEFORE, b"1", None, None)
    log.row(KEYED, UPDATE, b"2", b"a", None)
    log.row(KEYED, UPDATE, b"2", b"b", None)
    log.commit()
    found = parsed(log.builder.cut())
    assert [(m["op"], m["key"]["key"]["id"], m["before"]) for m in found] == [
        ("d", 1, {"id": 1}), ("c", 2, None), ("u", 2, None),
    ]  # fmt: skip


def test_without_a_key_the_old_row_stands_in_before() -> None:
    log = Log()
    log.begin()
    log.row(BARE, UPDATE_BEFORE, b"1")
    log.row(BARE, UPDATE, b"2")
    log.row(BARE, DELETE, b"2")
    log.commit()
    found = parsed(log.builder.cut())
    assert [(m["op"], m["key"], m["before"], m["after"]) for m in found] == [
        ("u", None, {"n": 1}, {"n": 2}), ("d", None, {"n": 2}, None),
    ]  # fmt: skip
    assert [m["transaction"]["total_order"] for m in found] == [1, 2]


def test_what_the_source_left_out_is_left_out() -> None:
    log = Log()
    log.begin()
    log.row(KEYED, UPDATE, b"1", MISSING, b"x")
    log.row(KEYED, UPDATE, b"1", None, MISSING)
    log.commit()
    assert [m["after"] for m in parsed(log.builder.cut())] == [{"id": 1, "raw": "eA=="}, {"id": 1, "note": None}]


def test_slices_of_one_transaction_are_counted_on() -> None:
    log, made = Log(), envelopes()
    log.begin()
    numbers = []
    for n in range(3):
        log.row(KEYED, INSERT, str(n).encode(), None, None)
        log.row(BARE, INSERT, b"1")
        if n < 2:
            segment = log.builder.cut()
            assert (segment.ends_transaction, segment.marks[-1].commit) == (False, None)
            numbers += [m["transaction"]["total_order"] for m in parsed(segment, made)]
    log.commit()
    log.begin()
    log.row(BARE, INSERT, b"1")
    log.commit()
    segment = log.builder.cut()
    numbers += [m["transaction"]["total_order"] for m in parsed(segment, made)]
    assert numbers == [1, 2, 3, 4, 5, 6, 1]
    assert [m.commit for m in segment.marks] == [at(10), at(20)]


def test_a_target_that_is_ahead_gets_only_what_it_lacks() -> None:
    log = Log()
    for n in range(3):
        log.begin()
        log.row(KEYED, INSERT, str(n).encode(), None, None)
        if n == 1:
            log.builder.truncate((BARE,))
        log.row(BARE, INSERT, str(n).encode())
        log.commit()
    segment = log.builder.cut()
    assert after(segment, at(0)) is segment
    rest = after(segment, at(10))
    assert [m["op"] for m in parsed(rest)] == ["c", "t", "c", "c", "c"]
    assert [m["transaction"]["id"] for m in parsed(rest)] == ["15"] * 3 + ["25"] * 2
    assert rest.counts == {KEYED: Counts(2), BARE: Counts(2, 0, 0, 1)}
    assert (rest.transactions, rest.position) == (2, at(30))
    assert after(segment, at(30)).steps == ()


def test_pieces_say_what_the_whole_says() -> None:
    """However it is cut; a new image stays with its old one, and a transaction ends in the piece of its last change."""
    log = Log()
    for n in range(4):
        log.begin()
        log.row(KEYED, INSERT, str(n).encode(), b"a", None)
        log.row(BARE, UPDATE_BEFORE, b"1")
        log.row(BARE, UPDATE, b"2")
        log.row(KEYED, UPDATE_BEFORE, str(n).encode(), None, None)
        log.row(KEYED, UPDATE, str(n + 10).encode(), MISSING, None)
        if n == 2:
            log.builder.truncate((KEYED, BARE))
        log.commit()
    log.begin()
    log.row(BARE, INSERT, b"1")
    segment = log.builder.cut()
    whole = envelopes().messages(segment)
    ends = [(n, mark.transaction.id, mark.commit) for n, mark in whole.ends]
    for part in (after(segment, at(10)), segment):
        for most in range(1, 24):
            made, values, keys, seen, sent = envelopes(), [], [], [], 0
            for piece in pieces(part, most):
                found = made.messages(piece)
                assert len(found.values) <= most + 2  # an image that is kept together, a truncate of two tables
                seen += [(sent + n, m.transaction.id, m.commit) for n, m in found.ends]
                values += [re.sub(rb'"ts_ms":\d+,"transaction"', b"", v) for v in found.values]
                keys += found.keys
                sent += len(found.values)
            behind = len(whole.values) - sent
            expected = [re.sub(rb'"ts_ms":\d+,"transaction"', b"", v) for v in whole.values[behind:]]
            assert (values, keys) == (expected, whole.keys[behind:]), most
            closed = [(n + behind, id, commit) for n, id, commit in seen if commit is not None]
            assert closed == [e for e in ends if e[2] is not None and e[0] > behind], most
            assert seen[-1][2] is None


def test_a_value_that_is_no_text_is_refused_by_name() -> None:
    log = Log()
    log.begin()
    log.row(KEYED, INSERT, b"1", b"\xff", None)
    log.commit()
    with pytest.raises(ValueRefused, match=r"s\.keyed, column note"):
        envelopes().messages(log.builder.cut())


def test_a_column_that_nobody_knows_is_refused() -> None:
    log = Log()
    log.begin()
    log.row(KEYED, INSERT, b"1", b"a", None)
    log.commit()
    narrow = Table(KEYED, (column("id", pa.int64()),), primary_key=("id",))
    with pytest.raises(LayoutChanged, match="note"):
        envelopes([narrow]).messages(log.builder.cut())
