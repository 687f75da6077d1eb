"""pgoutput messages, built here byte by byte after PostgreSQL's documentation."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.codecs.pgoutput import POSTGRES_EPOCH_US, Decoder, Layout, Relation
from whimbrel.errors import LogDamaged, ReplicaIdentityMissing
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment, TableChanges, Truncate
from whimbrel.model.names import TableName
from whimbrel.model.position import Position

TABLE = TableName("public", "t")
COLUMNS = ("id", "note", "data")
UNCHANGED = 117  # 'u'
Value = bytes | int | None


def at(lsn: int) -> Position:
    return Position("postgres", "s", str(lsn), (lsn,))


def relation(oid: int = 7, identity: bytes = b"d", columns: Sequence[str] = COLUMNS) -> bytes:
    described = b"".join(
        struct.pack(">B", i == 0) + name.encode() + b"\0" + struct.pack(">Ii", 25, -1) for i, name in enumerate(columns)
    )
    return b"R" + struct.pack(">I", oid) + b"public\0t\0" + identity + struct.pack(">H", len(columns)) + described


def row(*values: Value) -> bytes:
    return struct.pack(">H", len(values)) + b"".join(map(cell, values))


def cell(value: Value) -> bytes:
    if isinstance(value, bytes):
        return b"t" + struct.pack(">I", len(value)) + value
    return b"n" if value is None else bytes([value])


def begin() -> bytes:
    return b"B" + struct.pack(">QqI", 90, 5, 1)


def commit(end: int = 100) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, 90, end, 5)


def insert(*values: Value) -> bytes:
    return b"I" + struct.pack(">I", 7) + b"N" + row(*values)


def update(new: bytes, kind: bytes = b"", old: bytes = b"") -> bytes:
    return b"U" + struct.pack(">I", 7) + kind + old + b"N" + new


def delete(old: bytes, kind: bytes = b"K") -> bytes:
    return b"D" + struct.pack(">I", 7) + kind + old


def truncate(*oids: int) -> bytes:
    return b"T" + struct.pack(">IB", len(oids), 0) + b"".join(struct.pack(">I", o) for o in oids)


def decoder(key: tuple[int, ...] = (0,), *, identified: bool = True) -> Decoder:
    def layout(found: Relation) -> Layout | None:
        if found.oid == 8:
            return None
        names = tuple(c.name for c in found.columns)
        return Layout(found.table, names, tuple(n == "data" for n in names), key, identified)

    return Decoder(layout, at)


def decoded(messages: Sequence[bytes], key: tuple[int, ...] = (0,)) -> Segment:
    sink = SegmentBuilder(at(1))
    reader = decoder(key)
    for message in messages:
        reader.decode(message, sink)
    return sink.cut()


def changes(messages: Sequence[bytes], key: tuple[int, ...] = (0,)) -> TableChanges:
    (step,) = decoded([relation(), begin(), *messages, commit()], key).steps
    assert isinstance(step, TableChanges)
    return step


def rows(found: TableChanges) -> list[tuple[int, tuple[bytes | None, ...]]]:
    data = [tuple(r.values()) for r in found.data.to_pylist()]
    return list(zip(found.ops.to_pylist(), data, strict=True))


def test_an_insert_keeps_text_null_and_raw_bytes() -> None:
    found = changes([insert(b"1", None, b"\\x00ff"), insert(b"2", b"", b"\\x")])
    assert rows(found) == [(INSERT, (b"1", None, b"\x00\xff")), (INSERT, (b"2", b"", b""))]


def test_a_commit_carries_position_and_time() -> None:
    segment = decoded([relation(), begin(), insert(b"1", None, None), commit(123)])
    assert segment.position == at(123)
    assert segment.commit_us == POSTGRES_EPOCH_US + 5
    assert (segment.transactions, segment.ends_transaction) == (1, True)


def test_an_update_of_the_same_key_is_one_row_and_what_was_not_logged_is_marked() -> None:
    found = changes([update(row(b"1", b"n", UNCHANGED))])
    assert rows(found) == [(UPDATE, (b"1", b"n", None))]
    assert found.unchanged["data"].to_pylist() == [True]


def test_a_key_change_stands_before_its_update() -> None:
    found = changes([update(row(b"2", b"n", UNCHANGED), b"K", row(b"1", None, None))])
    assert rows(found) == [(UPDATE_BEFORE, (b"1", None, None)), (UPDATE, (b"2", b"n", None))]
    assert found.unchanged["data"].to_pylist() == [False, True]


def test_an_old_key_that_did_not_change_is_no_key_change() -> None:
    """PostgreSQL logs the old key too when the key is stored out of line; the new row then may leave it out."""
    found = changes([update(row(UNCHANGED, b"n", None), b"K", row(b"1", None, None))])
    assert rows(found) == [(UPDATE, (b"1", b"n", None))]
    assert not found.unchanged


def test_a_full_old_row_supplies_what_the_new_one_leaves_out() -> None:
    found = changes([update(row(b"1", b"n", UNCHANGED), b"O", row(b"1", b"o", b"\\x01"))])
    assert rows(found) == [(UPDATE, (b"1", b"n", b"\x01"))]


def test_without_a_key_the_whole_old_row_stands_before() -> None:
    found = changes([update(row(b"1", b"n", UNCHANGED), b"O", row(b"1", None, b"\\x01"))], key=())
    assert rows(found) == [(UPDATE_BEFORE, (b"1", None, b"\x01")), (UPDATE, (b"1", b"n", b"\x01"))]


def test_a_delete_keeps_the_key_or_the_whole_row() -> None:
    assert rows(changes([delete(row(b"1", None, None))])) == [(DELETE, (b"1", None, None))]
    whole = delete(row(b"1", b"o", None), b"O")
    assert rows(changes([whole])) == [(DELETE, (b"1", None, None))]
    assert rows(changes([whole], key=())) == [(DELETE, (b"1", b"o", None))]


def test_a_truncate_stands_between_the_runs_and_leaves_out_foreign_tables() -> None:
    other = relation(8)
    segment = decoded(
        [relation(), other, begin(), insert(b"1", None, None), truncate(7, 8), insert(b"2", None, None), commit()]
    )
    kinds = [type(step) for step in segment.steps]
    assert kinds == [TableChanges, Truncate, TableChanges]
    assert segment.steps[1] == Truncate((TABLE,))


def test_a_transaction_without_rows_of_ours_only_moves_the_position() -> None:
    foreign = b"I" + struct.pack(">I", 8) + b"N" + row(b"1", None, None)
    segment = decoded([relation(8), begin(), foreign, truncate(8), commit(200)])
    assert (segment.position, segment.transactions, segment.steps) == (at(200), 0, ())


def test_messages_without_rows_are_passed_over() -> None:
    origin, kind, logical = b"O" + b"\0" * 8 + b"x\0", b"Y" + b"\0" * 4 + b"a\0b\0", b"M" + b"\0" * 20
    assert decoded([relation(), begin(), origin, kind, logical, insert(b"1", None, None), commit()]).transactions == 1


def test_rows_that_nothing_identifies_are_refused() -> None:
    reader = decoder(identified=False)
    sink = SegmentBuilder(at(1))
    for message in (relation(), begin(), insert(b"1", None, None)):
        reader.decode(message, sink)
    with pytest.raises(ReplicaIdentityMissing, match=r"public\.t"):
        reader.decode(update(row(b"1", None, None)), sink)


@pytest.mark.parametrize(
    ("message", "key"),
    [
        (b"", (0,)),
        (b"Z", (0,)),
        (insert(b"1"), (0,)),
        (insert(b"1", None, b"00"), (0,)),
        (insert(b"1", None, b"\\x0"), (0,)),
        (insert(b"1", None, None) + b"!", (0,)),
        (insert(b"1", None, None)[:-1], (0,)),
        (b"I" + struct.pack(">I", 99) + b"N" + row(b"1", None, None), (0,)),
        (begin(), (0,)),
        (update(row(UNCHANGED, None, None)), (0,)),
        (update(row(b"1", None, None)), ()),
        (delete(row(None, None, None)), (0,)),
        (delete(row(b"1", None, None), b"N"), (0,)),
        (truncate(7, 7)[:-2], (0,)),
        (b"I" + struct.pack(">I", 7) + b"N" + struct.pack(">H", 3) + b"t\xff\xff\xff\xff", (0,)),
        (relation()[:-3], (0,)),
    ],
)
def test_damage_has_a_name(message: bytes, key: tuple[int, ...]) -> None:
    reader, sink = decoder(key), SegmentBuilder(at(1))
    reader.decode(relation(), sink)
    reader.decode(begin(), sink)
    with pytest.raises(LogDamaged):
        reader.decode(message, sink)


STREAM = [
    relation(),
    begin(),
    insert(b"1", b"abc", b"\\x0102"),
    update(row(b"2", b"n", UNCHANGED), b"K", row(b"1", None, None)),
    update(row(b"2", None, UNCHANGED), b"O", row(b"2", b"n", b"\\x")),
    delete(row(b"2", None, None)),
    truncate(7),
    commit(),
]


def test_cutting_any_message_anywhere_is_damage() -> None:
    for number, message in enumerate(STREAM):
        for length in range(len(message)):
            reader, sink = decoder(), SegmentBuilder(at(1))
            for before in STREAM[:number]:
                reader.decode(before, sink)
            with pytest.raises(LogDamaged):
                reader.decode(message[:length], sink)


@given(number=st.integers(0, len(STREAM) - 1), place=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_flipped_byte_decodes_or_is_damage(number: int, place: int, byte: int) -> None:
    reader, sink = decoder(), SegmentBuilder(at(1))
    message = bytearray(STREAM[number])
    message[place % len(message)] = byte
    try:
        for m in [*STREAM[:number], bytes(message), *STREAM[number + 1 :]]:
            reader.decode(m, sink)
    except (LogDamaged, ReplicaIdentityMissing):
        return
    sink.cut()


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_noise_is_damage(noise: list[bytes]) -> None:
    reader, sink = decoder(), SegmentBuilder(at(1))
    try:
        for message in noise:
            reader.decode(message, sink)
    except LogDamaged:
        return
    sink.cut()
