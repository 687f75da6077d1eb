"""Row text, value by value against the rules of docs/formats.md."""

from __future__ import annotations

import pyarrow as pa
import pytest

from whimbrel.codecs.text import Render, array_to_json, rows_text
from whimbrel.errors import ReplicationFailed


def batch(*columns: list[bytes | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(c, pa.binary()) for c in columns], names=[str(i) for i in range(len(columns))]
    )


@pytest.mark.parametrize(
    ("render", "value", "text"),
    [
        (Render.RAW, b"-1.50", b"-1.50"),
        (Render.TEXT, b"a\\b\tc\nd\re", b"a\\\\b\\tc\\nd\\re"),
        (Render.TEXT, "héllo 🐦".encode(), "héllo 🐦".encode()),
        (Render.TEXT, b"", b""),
        (Render.TEXT, b"\\N", b"\\\\N"),
        (Render.BYTEA, b"\x00\xff", b"\\\\x00FF"),
        (Render.BYTEA, b"", b"\\\\x"),
        (Render.HEX, b"\x00\xff", b"00FF"),
        (Render.BOOL_DIGIT, b"t", b"1"),
        (Render.BOOL_DIGIT, b"f", b"0"),
        (Render.UTC, b"2026-11-23 13:00:00.5+00", b"2026-11-23 13:00:00.5"),
        (Render.ARRAY_NUMBER, b"{1,NULL,-2.50}", b"[1,null,-2.50]"),
        (Render.ARRAY_TEXT, b'{"a b",NULL,"NULL",c}', b'["a b",null,"NULL","c"]'),
    ],
)
def test_one_value(render: Render, value: bytes, text: bytes) -> None:
    assert rows_text(batch([value]), [render]) == text + b"\n"
    assert rows_text(batch([None, value]), [render]) == b"\\N\n" + text + b"\n"


def test_columns_and_rows() -> None:
    out = rows_text(batch([b"1", b"2"], [None, b"x\ty"]), [Render.RAW, Render.TEXT])
    assert out == b"1\t\\N\n2\tx\\ty\n"


def test_hex_of_a_slice() -> None:
    sliced = batch([b"zz", b"\x01", None, b"\x02\x03"]).slice(1, 3)
    assert rows_text(sliced, [Render.HEX]) == b"01\n\\N\n0203\n"


def test_no_rows() -> None:
    assert rows_text(batch([]), [Render.TEXT]) == b""


@pytest.mark.parametrize(
    ("literal", "kind", "expected"),
    [
        ("{}", Render.ARRAY_NUMBER, "[]"),
        ("{{1,2},{3,NULL}}", Render.ARRAY_NUMBER, "[[1,2],[3,null]]"),
        ("[2:3]={7,8}", Render.ARRAY_NUMBER, "[7,8]"),
        ("{NaN,1}", Render.ARRAY_NUMBER, '["NaN",1]'),
        ("{t,f,NULL}", Render.ARRAY_BOOL, "[true,false,null]"),
        ('{"q\\"q","back\\\\slash","{}"}', Render.ARRAY_TEXT, '["q\\"q","back\\\\slash","{}"]'),
    ],
)
def test_array_literals(literal: str, kind: Render, expected: str) -> None:
    assert array_to_json(literal, kind) == expected


@pytest.mark.parametrize("literal", ["", "{", "{1,2", '{"a', "x{1}", "{1}x"])
def test_broken_array_literals_are_refused(literal: str) -> None:
    with pytest.raises(ReplicationFailed):
        array_to_json(literal, Render.ARRAY_TEXT)
