"""Every codec and bytes that others wrote: a value comes of them, or an error of ours. A new codec is a line in
``FUZZED``.

``python -m tests.unit.codecs.fuzzed CODEC [SECONDS]`` runs one on mutated samples, by coverage if ``atheris`` is
installed beside the project (it is no dependency of it), else by chance.
"""

from __future__ import annotations

import io
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from tests.unit.codecs.answers import ANSWERS, answered
from whimbrel.codecs import (
    binlog,
    binlog_json,
    binlog_rows,
    binlog_tables,
    binlog_values,
    copybinary,
    jsontext,
    parquet,
    pgoutput,
    resultset,
    rowpackets,
    tabtext,
    text,
    typed,
)
from whimbrel.codecs.changes import SegmentBuilder, TableBuffer
from whimbrel.errors import WhimbrelError
from whimbrel.model.chunk import Format
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Annotation, Column, ColumnType

OURS = (WhimbrelError, rowpackets.Damaged)
# They take what our own readers hand them.
WITHOUT_BYTES = {"changes", "compaction", "ordering", "jsonnumbers", "mutationrows", "mutations", "tablines"}
_TABLE = TableName("s", "t")


@dataclass(frozen=True)
class Fuzzed:
    """``modules`` are those of whimbrel.codecs that ``read`` leads through; ``samples`` what it reads well."""

    modules: tuple[str, ...]
    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]


def _column(arrow: pa.DataType, annotation: Annotation = Annotation.NONE, native: str = "") -> Column:
    return Column("c", ColumnType(arrow, native, annotation))


_NUMBERS = [pa.int8(), pa.int64(), pa.uint64(), pa.decimal128(9, 2), pa.decimal256(60, 30), pa.float32(), pa.float64()]
_OTHERS = [pa.bool_(), pa.date32(), pa.time64("us"), pa.timestamp("us"), pa.timestamp("us", "UTC")]
_TEXTS = [pa.string(), pa.binary()]
_TYPES = [_column(arrow) for arrow in (*_NUMBERS, *_OTHERS, *_TEXTS)]
_ARRAYS = [
    (_column(pa.list_(e), Annotation.ARRAY), _column(pa.string(), Annotation.JSON)) for e in (pa.int32(), *_OTHERS[:1])
]
_PAIRS = [*((c, c) for c in _TYPES), *_ARRAYS, (_TYPES[6], _TYPES[5]), (_TYPES[3], _TYPES[6]), (_TYPES[7], _TYPES[-2])]


def _typed(data: bytes) -> None:
    """Which type, which text, then values with a bar between them."""
    source, target = _PAIRS[data[0] % len(_PAIRS)] if data else _PAIRS[0]
    said = typed.Text.TAB if data[1:2] > b"0" else typed.Text.CANONICAL
    values = [None if v == b"-" else v for v in data[2:].split(b"|")]
    batch = pa.RecordBatch.from_arrays([pa.array(values, pa.binary())], names=["c"])
    typed.typed(batch, [source], [target], "t", said).validate(full=True)


def _tab(data: bytes) -> None:
    reader = tabtext.TabReader(data[0] % 4 + 1 if data else 1)
    for block in (data[1 : len(data) // 2], data[max(1, len(data) // 2) :]):
        reader.feed(block)
        reader.take().validate(full=True)
    reader.end()


_BINARY = [c for c in _TYPES if c.type.arrow not in (pa.uint64(),)]
_BINARY += [_column(pa.string(), Annotation.UUID), _column(pa.string(), Annotation.JSON, "jsonb")]


def _copied(columns: Sequence[Column], data: bytes) -> None:
    reader = copybinary.CopyReader(columns, columns, "t")
    for block in (data[: len(data) // 2], data[len(data) // 2 :]):
        reader.feed(block)
        reader.take().validate(full=True)
    reader.end()


_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def _copy_value(data: bytes) -> None:
    """Which type, then one value of it."""
    column = _BINARY[data[0] % len(_BINARY)] if data else _BINARY[0]
    _copied([column], _SIGNATURE + b"\0\1" + struct.pack(">i", len(data[1:])) + data[1:] + b"\xff\xff")


def _parquet(data: bytes) -> None:
    with parquet.ParquetFile([_TYPES[1], _column(pa.string())], io.BytesIO().write) as file:
        rows = parquet.RowsToParquet(file, file.columns, "t", Format.TAB_TEXT)
        rows.feed(data)
        rows.end()


def _result_set(data: bytes) -> None:
    packets = rowpackets.ValuePackets([bytes.upper] * 2) if data[4:5] == b"\2" else rowpackets.LinePackets()
    packets.scan(bytearray(data), len(data))
    rowpackets.BinaryPackets(data[4] if len(data) > 4 else 1).scan(bytearray(data), len(data))


_SENT_TYPES = [*_TYPES, _column(pa.string(), Annotation.BIT), _column(pa.string(), Annotation.DURATION)]
_SENT_TYPES = [c for c in _SENT_TYPES if resultset.decodable([c], [c])]


def _answer(data: bytes) -> None:
    """Which type, then an answer of one column."""
    column = _SENT_TYPES[data[0] % len(_SENT_TYPES)] if data else _SENT_TYPES[0]
    reader = resultset.ResultReader([column], [column], "t")
    for block in (data[1 : len(data) // 2], data[max(1, len(data) // 2) :]):
        reader.feed(block)
        reader.take().validate(full=True)
    reader.end()


def _messages(data: bytes) -> None:
    """Messages behind their lengths of two bytes."""

    def at(lsn: int) -> Position:
        return Position("postgres", "s", str(lsn), (lsn,))

    def layout(found: pgoutput.Relation) -> pgoutput.Layout:
        names = tuple(c.name for c in found.columns)
        return pgoutput.Layout(found.table, names, tuple(n == "data" for n in names), (0,), True)

    reader, sink = pgoutput.Decoder(layout, at), SegmentBuilder(at(1))
    for message in _pieces(data):
        reader.decode(message, sink)
    sink.cut()


def _pieces(data: bytes) -> Iterator[bytes]:
    while len(data) > 2:
        size = int.from_bytes(data[:2], "big")
        yield data[2 : 2 + size]
        data = data[2 + size :]


def _packed(pieces: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(p)) + p for p in pieces)


def _events(data: bytes) -> None:
    """Bodies of events behind their kinds and their lengths of two bytes: the layout, and rows in it."""
    layout: binlog_rows.RowLayout | None = None
    buffer: TableBuffer | None = None
    for piece in _pieces(data):
        kind, body = (piece[0], piece[1:]) if piece else (0, b"")
        if kind == binlog.TABLE_MAP:
            seen = binlog_tables.table_map(body)
            labels = seen.labels or [()] * len(seen.types)
            kinds = [binlog_values.ValueType(*t, labels=words) for t, words in zip(seen.types, labels, strict=False)]
            columns = tuple((n, binlog_values.reader(k, lambda _: None)) for n, k in enumerate(kinds))
            extents = tuple(binlog_values.extent(k.code, k.meta) for k in kinds)
            layout = binlog_rows.RowLayout("s.t", extents, columns, tuple(n == 0 for n, _ in columns))
            buffer = TableBuffer(_TABLE, tuple(f"c{n}" for n in range(len(kinds))))
        elif kind in binlog.ROWS and layout is not None and buffer is not None:
            _, at = binlog.rows_header(kind, body)
            binlog_rows.decode_rows(kind, body, at, layout, buffer)
        else:
            binlog.query(body)
            binlog.rotate(body)
    for read in (binlog.gtid, binlog.load_query, partial(binlog.query, compressed=True), binlog.has_checksums, _inside):
        try:
            read(data)
        except WhimbrelError:
            continue


def _inside(data: bytes) -> list[bytes]:
    return list(binlog.payload_events(data))


def _log_value(data: bytes) -> None:
    """A type's code and two bytes about it, then a value as long as the type says."""
    code, meta = (data[0], int.from_bytes(data[1:3], "little")) if data else (0, 0)
    extent = binlog_values.extent(code, meta)
    read = binlog_values.reader(binlog_values.ValueType(code, meta, labels=(b"a", b"b")), lambda _: None)
    value = data[3:]
    if read is not None and (extent.fixed < 0 or len(value) == extent.fixed):
        read(value)


def _recorded() -> tuple[bytes, ...]:
    found = []
    for file in sorted((Path(__file__).parent / "recorded").glob("*.hex")):
        raws = [bytes.fromhex(line) for line in file.read_text().split()]
        events = [binlog.event(raw, checksum=True) for raw in raws]
        wanted = [e for e in events if e.kind == binlog.TABLE_MAP or e.kind in binlog.ROWS]
        found.append(_packed([bytes([e.kind]) + e.body for e in wanted]))
    return tuple(found)


def _json(data: bytes) -> None:
    form = list(jsontext.Form)[data[0] % len(jsontext.Form)] if data else jsontext.Form.TEXT
    jsontext.values(pa.array([data[1:], None], pa.binary()), form).validate(full=True)


def _lines(data: bytes) -> None:
    render = list(text.Render)[data[0] % len(text.Render)] if data else text.Render.TEXT
    batch = pa.RecordBatch.from_arrays([pa.array([data[1:], None], pa.binary())], names=["c"])
    text.rows_text(batch, [render])


_RELATION = b"R\0\0\0\7public\0t\0d\0\2\1id\0\0\0\0\x19\xff\xff\xff\xff\0data\0\0\0\0\x19\xff\xff\xff\xff"
_ROW = b"\0\2t\0\0\0\0011t\0\0\0\4\\x00"
_BEGIN, _COMMIT = b"B" + bytes(20), b"C" + bytes(25)
_NUMERIC = struct.pack(">hhHhhhh", 3, 1, 0x4000, 4, 12, 3456, 7800)
_SMALL = b"".join(b"\0\1\0\0\0\10" + struct.pack(">q", n) for n in range(3))

# one a kind, in the order of _PAIRS, _BINARY, Form and Render; the first byte of text says which text it is
_VALUES: tuple[bytes, ...] = (
    b"0-128|127|-",
    b"0-1",
    b"018446744073709551615",
    b"01234567.89|-0.01",
    b"0" + b"9" * 29 + b"." + b"8" * 30,
)
_VALUES += (
    b"01e38|NaN|-Infinity",
    b"00.1|1e-300",
    b"0t|f|-",
    b"02026-02-28|-",
    b"023:59:59.5",
    b"02026-02-28 23:59:59.99",
)
_VALUES += (b"02026-02-28 00:00:00+00", b"0x|", b"100FF|-", b'0{1,NULL,"2"}', b"0{t,f}", b"00.5", b"01.50", b"0t|f")
_SENT: tuple[bytes, ...] = (
    b"\1",
    bytes(8),
    _NUMERIC,
    _NUMERIC,
    bytes(4),
    bytes(8),
    b"\1",
    b"\0\0\1\0",
    bytes(8),
    bytes(8),
    bytes(8),
    b"x",
    b"x",
)
_SENT += (bytes(16), b"\1{}")
_JSON = (
    b"1",
    b"NaN",
    b"t",
    b'text "\\\n',
    b"2026-01-02 03:04:05+00",
    b"01:02:03.50",
    b"abcd",
    b"{1,NULL}",
    b"{t}",
    b"{a}",
)
_LINES = (b"1", b"a\\\t", b"ab", b"ab", b"t", b"2026-01-02 03:04:05+00", b"{1,{2,NULL}}", b"{t,f}", b'{"a\\"b",c}')

FUZZED: dict[str, Fuzzed] = {
    "tab-text": Fuzzed(("tabtext",), _tab, (b"\1a\tb\n\\N\tx\\ty\n", b"\0\\\\\n\\N\n")),
    "values in text": Fuzzed(
        ("typed", "textvalues", "decimals"),
        _typed,
        tuple(bytes([kind]) + value for kind, value in enumerate(_VALUES)),
    ),
    "COPY binary": Fuzzed(
        ("copybinary", "copyfields"),
        partial(_copied, _BINARY[1:2]),
        (_SIGNATURE + _SMALL + b"\xff\xff", _SIGNATURE + b"\xff\xff"),
    ),
    "values in COPY binary": Fuzzed(
        ("copybinary", "decimals"),
        _copy_value,
        tuple(bytes([kind]) + value for kind, value in enumerate(_SENT)),
    ),
    "Parquet": Fuzzed(("parquet", "binaryrows"), _parquet, (b"1\tx\n\\N\t\\N\n",)),
    "MySQL's result sets": Fuzzed(
        ("rowpackets", "resultrows"),
        _result_set,
        (
            b"\1\0\0\1\1\x02\0\0\2de\5\0\0\3\xfe\0\0\2\0\3\0\0\4\2ab\5\0\0\5\xfe\0\0\2\0",
            b"\1\0\0\1\2\1\0\0\2d\1\0\0\3e\5\0\0\4\xfe\0\0\2\0\4\0\0\5\1a\1b\5\0\0\6\xfe\0\0\2\0",
        ),
    ),
    "MySQL's binary result sets": Fuzzed(
        ("resultset", "resultrows", "resultvalues", "cells"),
        _answer,
        tuple(bytes([n]) + answered(*sent) for n, sent in enumerate(ANSWERS)),
    ),
    "pgoutput": Fuzzed(
        ("pgoutput",),
        _messages,
        (_packed([_RELATION, _BEGIN, b"I\0\0\0\7N" + _ROW, b"U\0\0\0\7N" + _ROW, b"D\0\0\0\7K" + _ROW, _COMMIT]),),
    ),
    "the binlog": Fuzzed(("binlog", "binlog_tables", "binlog_rows", "binlog_values"), _events, _recorded()),
    "values in the binlog": Fuzzed(
        ("binlog_values",),
        _log_value,
        (b"\xf6\x0a\2\x80" + bytes(4), b"\x12\6\0\x80" + bytes(7), b"\xf5\4\0"),
    ),
    "JSON in the binlog": Fuzzed(
        ("binlog_json",),
        partial(binlog_json.to_text, opaque=lambda kind, value: None),
        (b"\0\1\0\x0c\0\x0b\0\1\0\5\1\0a", b"\2\1\0\7\0\4\2\0", b"\x0c\3abc", b"\x0b" + struct.pack("<d", 1.5)),
    ),
    "JSON": Fuzzed(("jsontext",), _json, tuple(bytes([kind]) + value for kind, value in enumerate(_JSON))),
    "lines of text": Fuzzed(("text",), _lines, tuple(bytes([kind]) + value for kind, value in enumerate(_LINES))),
}


def mutated(sample: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, cut, doubled or moved."""
    data = bytearray(sample)
    for _ in range(chance.randint(1, 4)):
        at, size = chance.randint(0, len(data)), chance.randint(0, 8)
        match chance.randint(0, 4):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randint(0, 7)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size]
            case 3:
                data[at : at + size] = bytes(chance.choices((0, 1, 9, 10, 45, 48, 92, 127, 128, 255), k=size))
            case 4:
                data[at:at] = bytes(chance.getrandbits(8) for _ in range(size))
    return bytes(data)


def survives(name: str, data: bytes) -> None:
    """Raises what is no error of ours."""
    try:
        FUZZED[name].read(data)
    except OURS:
        return


def _by_chance(name: str, seconds: float) -> int:
    chance, tried, end = random.Random(time.time_ns()), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(chance.choice(FUZZED[name].samples), chance)
        try:
            survives(name, data)
        except BaseException:
            print(f"{name}: {data!r}", file=sys.stderr)
            raise
        tried += 1
    return tried


def main(name: str, seconds: float) -> None:
    """Run one codec, or ``all``, for so long each. Raises what is no error of ours, with its input on stderr."""
    try:
        import atheris
    except ImportError:
        for each in FUZZED if name == "all" else (name,):
            print(f"{each}: {_by_chance(each, seconds)} inputs")
        return
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds:g}"], partial(survives, name))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 60.0)
