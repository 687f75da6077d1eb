"""Binlog events recorded from real servers: read whole, cut, flipped and random."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.codecs import binlog, binlog_tables
from whimbrel.codecs.binlog_rows import RowLayout, decode_rows
from whimbrel.codecs.binlog_values import ValueType, extent, reader
from whimbrel.codecs.changes import TableBuffer
from whimbrel.errors import LogDamaged, ReplicationFailed
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE
from whimbrel.model.names import TableName

RECORDED = {
    name: [bytes.fromhex(line) for line in (Path(__file__).parent / "recorded" / f"{name}.hex").read_text().split()]
    for name in ("mariadb", "mysql")
}
FLAVORS = pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
NAME = TableName("rec", "t")


def _plain(charset: str) -> None:
    return None


def _layout(seen: binlog_tables.TableMap) -> RowLayout:
    kinds = [
        ValueType(code, meta, unsigned=bool(seen.unsigned and seen.unsigned[n]), labels=(seen.labels or [()] * 99)[n])
        for n, (code, meta) in enumerate(seen.types)
    ]
    columns = tuple((n, reader(kind, _plain)) for n, kind in enumerate(kinds))
    return RowLayout("rec.t", tuple(extent(k.code, k.meta) for k in kinds), columns, tuple(n == 0 for n, _ in columns))


def _events(raws: Sequence[bytes]) -> list[binlog.Event]:
    """Every event, those of compressed transactions included."""
    found = []
    for raw in raws:
        event = binlog.event(raw, checksum=True)
        if event.kind == binlog.TRANSACTION_PAYLOAD:
            found += [binlog.event(inner, checksum=False) for inner in binlog.payload_events(event.body)]
        else:
            found.append(event)
    return found


def _decode(raws: Sequence[bytes]) -> tuple[TableBuffer, list[object]]:
    """All rows, and what the other events say."""
    layout: RowLayout | None = None
    buffer: TableBuffer | None = None
    said: list[object] = []
    for event in _events(raws):
        if event.kind == binlog.TABLE_MAP:
            seen = binlog_tables.table_map(event.body)
            layout = _layout(seen)
            names = seen.names or tuple(f"c{n}" for n in range(len(seen.types)))
            if buffer is None or len(buffer.columns) != len(names):  # a damaged event may tell of another width
                buffer = TableBuffer(NAME, names)
        elif event.kind in binlog.ROWS:
            assert layout is not None
            assert buffer is not None
            _, at = binlog.rows_header(event.kind, event.body)
            decode_rows(event.kind, event.body, at, layout, buffer)
        elif event.kind in (binlog.QUERY, binlog.QUERY_COMPRESSED):
            said.append(binlog.query(event.body, event.kind == binlog.QUERY_COMPRESSED))
        elif event.kind == binlog.ROTATE:
            said.append(binlog.rotate(event.body))
        elif event.kind == binlog.GTID:
            said.append(binlog.gtid(event.body))
        elif event.kind == binlog.MARIADB_GTID:
            said.append(binlog.mariadb_gtid(event.body, 1))
    assert buffer is not None
    return buffer, said


@FLAVORS
def test_what_was_recorded_is_read(flavor: str) -> None:
    buffer, said = _decode(RECORDED[flavor])
    rows = buffer.changes().data.to_pylist()
    ops = list(buffer.ops)
    more = [UPDATE] if flavor == "mariadb" else []
    assert ops == [INSERT, INSERT, UPDATE, UPDATE_BEFORE, UPDATE, DELETE, DELETE, INSERT, *more]
    first = rows[0]
    assert (first["id"], first["ti"], first["bi"], first["de"]) == (b"1", b"-1", b"18446744073709551615", b"-1.500000")
    assert (first["f"], first["d"], first["b"], first["y"]) == (b"0.1", b"1e-300", b"1010101010101", b"2026")
    assert (first["c"], first["v"], first["bl"]) == ("é".encode(), b"\xe9", b"blob")
    assert (first["da"], first["t3"]) == (b"2026-11-23", b"-01:02:03.004")
    assert (first["d6"], first["ts"]) == (b"2026-11-23 13:00:00.123456", b"2026-11-23 13:00:00.12345+00")
    assert (first["e"], first["st"]) == ("ü".encode(), b"x,z")
    assert first["g"] == bytes.fromhex("000000000101000000000000000000f03f0000000000000040")
    compact = first["j"].replace(b" ", b"")
    assert compact == b'{"a":[1,2.5,"x",null,true,{"b":12345678901}],"n":-70000}'
    assert rows[1] == {name: b"2" if name == "id" else None for name in rows[1]}
    assert rows[2]["ti"] == b"5"
    assert rows[7]["tx"] == b"z" * 600
    texts = [s.text for s in said if isinstance(s, binlog.Query)]
    assert texts[-1] == "truncate t"
    if flavor == "mariadb":
        assert len(rows[8]["tx"]) == 601
        assert any(text.startswith("create table q") and len(text) > 300 for text in texts)


@FLAVORS
def test_metadata_of_the_table(flavor: str) -> None:
    seen = next(binlog_tables.table_map(e.body) for e in _events(RECORDED[flavor]) if e.kind == binlog.TABLE_MAP)
    assert (seen.schema, seen.table) == ("rec", "t")
    assert seen.names is not None
    assert seen.names[:4] == ("id", "ti", "bi", "de")
    assert seen.unsigned is not None
    signs = dict(zip(seen.names, seen.unsigned, strict=True))
    assert [name for name, unsigned in signs.items() if unsigned and name != "y"] == ["id", "bi"]
    assert seen.labels is not None
    labels = dict(zip(seen.names, seen.labels, strict=True))
    assert labels["e"] == (b"a", "ü".encode())
    assert labels["st"] == (b"x", b"y", b"z")


def _checked(raw: bytes) -> bytes:
    """The event with its own length and a checksum that fits, so that what is behind them is reached."""
    body = raw[:9] + len(raw).to_bytes(4, "little") + raw[13:-4]
    return body + zlib.crc32(body).to_bytes(4, "little")


@FLAVORS
def test_every_cut_is_noticed(flavor: str) -> None:
    """An event that is cut off at any byte raises, or says nothing but what it still has."""
    for number, raw in enumerate(RECORDED[flavor]):
        for end in range(19, len(raw) - 4):
            with pytest.raises(LogDamaged):
                binlog.event(raw[:end], checksum=True)
            events = [*RECORDED[flavor][:number], _checked(raw[:end] + b"\0\0\0\0")]
            _survives(events)


def _survives(events: Sequence[bytes]) -> None:
    """Decoding raises nothing but our own errors."""
    with contextlib.suppress(ReplicationFailed, AssertionError):
        _decode(events)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_flipped_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    events = list(RECORDED[data.draw(st.sampled_from(sorted(RECORDED)))])
    number = data.draw(st.integers(0, len(events) - 1))
    raw = bytearray(events[number])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(19, len(raw) - 5))] = data.draw(st.integers(0, 255))
    events[number] = _checked(bytes(raw))
    _survives(events)


@FLAVORS
def test_a_wrong_checksum_is_noticed(flavor: str) -> None:
    raw = bytearray(RECORDED[flavor][-1])
    raw[25] ^= 1
    with pytest.raises(LogDamaged, match="checksum"):
        binlog.event(bytes(raw), checksum=True)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(range(256)))
def test_random_bodies_never_raise_anything_else(body: bytes, kind: int) -> None:
    for read in (
        *(binlog_tables.table_map, binlog.query, binlog.rotate, binlog.gtid, binlog.load_query),
        lambda b: binlog.mariadb_gtid(b, 1),
        lambda b: binlog.query(b, compressed=True),
        lambda b: list(binlog.payload_events(b)),
        lambda b: binlog.rows_header(kind, b),
        binlog.has_checksums,
    ):
        with contextlib.suppress(ReplicationFailed):
            read(body)


def test_checksums_follow_the_format_description() -> None:
    raw = RECORDED["mysql"][1]
    assert binlog.has_checksums(raw)
    assert not binlog.has_checksums(raw[:-5] + b"\0" + raw[-4:])
