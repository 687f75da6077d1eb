"""MySQL result sets cut into blocks at every place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.codecs.both import interpreted
from whimbrel.codecs import rowpackets
from whimbrel.codecs.rowpackets import CONTINUED, BinaryPackets, Damaged, LinePackets, Packets, ValuePackets

EOF_ = b"\xfe\x00\x00\x02\x00"
ERROR = b"\xff\x15\x04#28000Access denied"


def _length(size: int) -> bytes:
    if size < 251:
        return bytes([size])
    if size < 1 << 16:
        return b"\xfc" + size.to_bytes(2, "little")
    if size < 1 << 24:
        return b"\xfd" + size.to_bytes(3, "little")
    return b"\xfe" + size.to_bytes(8, "little")


def _value(value: bytes | None) -> bytes:
    return b"\xfb" if value is None else _length(len(value)) + value


def _packets(payloads: Sequence[bytes]) -> bytes:
    """As a server sends them: numbered from 1, long ones in several."""
    out, number = [], 1
    for payload in payloads:
        at = 0
        while True:
            part = payload[at : at + CONTINUED]
            out.append(len(part).to_bytes(3, "little") + bytes([number & 255]) + part)
            number, at = number + 1, at + len(part)
            if len(part) < CONTINUED:
                break
    return b"".join(out)


def _result(rows: Sequence[Sequence[bytes | None]], columns: int = 1, last: bytes = EOF_) -> bytes:
    definition = b"\x03def" + b"\0" * 30
    body = [b"".join(map(_value, row)) for row in rows]
    return _packets([bytes([columns]), *[definition] * columns, EOF_, *body, last])


@pytest.fixture(params=["installed", "interpreted"], scope="module", autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "interpreted":
            patch.setattr(rowpackets, "resultrows", interpreted("resultrows"))
        yield


def _read(stream: bytes, cuts: Sequence[int], packets: Packets) -> bytes:
    """Feed the stream in pieces, as a caller does."""
    buffer, filled, out, at = bytearray(16), 0, b"", 0
    for cut in [*cuts, len(stream)]:
        part = stream[at:cut]
        at = max(at, cut)
        if filled + len(part) > len(buffer):
            buffer.extend(bytes(filled + len(part)))
        buffer[filled : filled + len(part)] = part
        filled += len(part)
        lines, taken = packets.scan(buffer, filled)
        out += lines
        buffer[: filled - taken] = buffer[taken:filled]
        filled -= taken
        if packets.done:
            assert filled == 0 or at < len(stream)
    return out


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_rows_come_out_however_they_are_cut(rows: list[bytes], data: st.DataObject) -> None:
    stream = _result([[row] for row in rows])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    packets = LinePackets()
    assert _read(stream, cuts, packets) == b"".join(row + b"\n" for row in rows)
    assert packets.done
    assert packets.error is None
    assert packets.rows == len(rows)


@given(st.lists(st.tuples(*[st.none() | st.binary(max_size=300)] * 3), max_size=9), st.data())
def test_columns_become_fields(rows: list[tuple[bytes | None, ...]], data: st.DataObject) -> None:
    stream = _result(rows, 3)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=9)))
    packets = ValuePackets([_hex, _hex, _hex])
    fields = [b"\t".join(b"\\N" if v is None else _hex(v) for v in row) for row in rows]
    assert _read(stream, cuts, packets) == b"".join(f + b"\n" for f in fields)


@given(st.lists(st.binary(min_size=8, max_size=300), max_size=9), st.data())
def test_binary_rows_come_out_as_they_are(rows: list[bytes], data: st.DataObject) -> None:
    stream = _packets([b"\x01", b"def", EOF_, *[b"\0" + row for row in rows], EOF_])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=9)))
    packets = BinaryPackets(1)
    assert _read(stream, cuts, packets) == stream
    assert packets.done
    assert packets.rows == len(rows)


def test_an_error_is_no_part_of_binary_rows() -> None:
    packets = BinaryPackets(1)
    front = [b"\x01", b"def", EOF_, b"\0\0\1"]
    assert _read(_packets([*front, ERROR]), [], packets) == _packets(front)
    assert packets.error is not None
    assert packets.error.number == 1045
    long = _packets([*front[:3], b"\0" * (CONTINUED + 9), b"\0", EOF_])
    packets = BinaryPackets(1)
    assert _read(long, [100, CONTINUED + 30], packets) == long
    assert packets.rows == 2


@pytest.mark.parametrize("last", [b"", b"\xfe\x00\x00\x0a\x00"])
def test_binary_rows_of_no_meaning_are_refused(last: bytes) -> None:
    with pytest.raises(Damaged):
        _read(_packets([b"\x01", b"def", EOF_, b"\0\0\1", last]), [], BinaryPackets(1))


def _hex(value: bytes) -> bytes:
    return value.hex().encode()


@pytest.mark.parametrize("size", [CONTINUED - 10, CONTINUED - 9, CONTINUED - 4, CONTINUED, 2 * CONTINUED + 5])
def test_rows_of_sixteen_mebibytes_and_more(size: int) -> None:
    packets = LinePackets()
    big = b"x" * size
    out = _read(_result([[b"a"], [big], [b"b"]]), [100, size // 2, size], packets)
    assert out == b"a\n" + big + b"\nb\n"
    assert packets.rows == 3


def test_null_rows_are_counted_and_not_written() -> None:
    packets = LinePackets()
    assert _read(_result([[b"a"], [None], [b"b"], [None]]), [], packets) == b"a\nb\n"
    assert (packets.rows, packets.nulls) == (2, 2)


@pytest.mark.parametrize("before", [0, 3])
def test_an_error_in_the_middle_is_kept(before: int) -> None:
    packets = LinePackets()
    _read(_result([[b"x"]] * before, last=ERROR), [], packets)
    assert packets.done
    assert packets.error is not None
    assert (packets.error.number, packets.error.text) == (1045, "Access denied")
    first = LinePackets()
    _read(_packets([ERROR]), [], first)
    assert first.error is not None


@pytest.mark.parametrize(
    "stream",
    [
        _packets([b"\x00\x00\x00\x02\x00\x00\x00"]),  # OK instead of a result set
        _result([[b"a", b"b"]]),  # a row with two values
        _result([[b"a"]], columns=2),
        _packets([b""]),
        _result([[b"a"]])[:-9] + b"\x05\x00\x00\x63" + EOF_,  # out of order
        _packets([b"\x01", b"def", EOF_, b"\x05ab"]),  # a value longer than its row
        _packets([b"\x01", b"def", EOF_, b""]),
        _packets([b"\x01", b"def", b"def", EOF_]),
        _result([[b"a"]], last=b"\xfe\x00\x00\x0a\x00"),  # another result set follows
    ],
)
def test_what_is_no_result_set_is_refused(stream: bytes) -> None:
    with pytest.raises(Damaged):
        _read(stream, [], LinePackets())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_never_raise_anything_else(stream: bytes, separate: bool) -> None:
    with contextlib.suppress(Damaged):
        (ValuePackets([_hex] * 2) if separate else LinePackets()).scan(bytearray(stream), len(stream))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_flipped_bytes_never_raise_anything_else(at: int, byte: int) -> None:
    stream = bytearray(_result([[b"some text"], [None], [b"y" * 300]]))
    stream[at % len(stream)] = byte
    with contextlib.suppress(Damaged):
        LinePackets().scan(stream, len(stream))
