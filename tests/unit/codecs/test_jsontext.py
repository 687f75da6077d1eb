from __future__ import annotations

import base64
import json
import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.codecs import jsontext
from whimbrel.codecs.jsontext import Form, form_of, values
from whimbrel.errors import ValueRefused
from whimbrel.model.table import Annotation, ColumnType


def cells(form: Form, *given: bytes | None) -> list[bytes | None]:
    found: list[bytes | None] = values(pa.array(given, pa.binary()), form).to_pylist()
    return found


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_text_is_read_back_by_others(texts: list[str | None]) -> None:
    found = cells(Form.TEXT, *(None if t is None else t.encode() for t in texts))
    assert [None if v is None else json.loads(v) for v in found] == texts


@given(st.lists(st.none() | st.binary()), st.integers(0, 3))
def test_bytes_are_base64(blobs: list[bytes | None], skipped: int) -> None:
    column = pa.array(blobs, pa.binary()).slice(min(skipped, len(blobs)))
    expected = [None if b is None else base64.b64encode(b) for b in blobs[skipped:]]
    assert jsontext.base64(column).to_pylist() == expected


def test_text_of_a_slice() -> None:
    column = pa.array([b'"', b"\\", b"\n"], pa.binary()).slice(1)
    assert [json.loads(v) for v in values(column, Form.TEXT).to_pylist()] == ["\\", "\n"]


def test_floats_that_json_has_no_number_for_are_strings() -> None:
    found = [json.loads(v or b"null") for v in cells(Form.FLOAT, b"1.5", b"-1e-05", b"NaN", b"-Infinity", None)]
    assert found == [1.5, -1e-05, "NaN", "-Infinity", None]
    assert math.isclose(json.loads(cells(Form.FLOAT, b"1.7976931348623157e+308")[0] or b""), 1.7976931348623157e308)


def test_moments_are_iso_8601_where_they_can_be() -> None:
    given = (b"2026-11-23 13:00:00.5", b"2026-11-23 13:00:00+00", b"infinity", b"0044-03-15 10:00:00 BC")
    assert cells(Form.MOMENT, *given) == [
        b'"2026-11-23T13:00:00.5"',
        b'"2026-11-23T13:00:00Z"',
        b'"infinity"',
        b'"0044-03-15 10:00:00 BC"',
    ]


def test_fractions_of_seconds_end_with_their_last_digit() -> None:
    """MySQL pads them to the column's width, PostgreSQL does not; readers shall not see where a row comes from."""
    assert cells(
        Form.MOMENT, b"2026-11-23 13:00:00.500000", b"2026-11-23 13:00:00.000000+00", b"2026-11-23 13:00:10"
    ) == [
        b'"2026-11-23T13:00:00.5"',
        b'"2026-11-23T13:00:00Z"',
        b'"2026-11-23T13:00:10"',
    ]
    assert cells(Form.TIME, b"13:00:00.050", b"-838:59:50.000000", b"24:00:00", b"10:20:30.123456", None) == [
        b'"13:00:00.05"',
        b'"-838:59:50"',
        b'"24:00:00"',
        b'"10:20:30.123456"',
        None,
    ]


def test_booleans_and_arrays() -> None:
    assert cells(Form.BOOL, b"t", b"f", None) == [b"true", b"false", None]
    assert [json.loads(v or b"0") for v in cells(Form.NUMBERS, b"{1,NULL}", None)] == [[1, None], 0]
    assert [json.loads(v or b"0") for v in cells(Form.TEXTS, b'{"a b",NULL}')] == [["a b", None]]


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ValueRefused):
        cells(Form.TEXT, b"\xff")


@pytest.mark.parametrize(
    ("arrow", "annotation", "form"),
    [
        (pa.uint64(), Annotation.NONE, Form.NUMBER),
        (pa.int16(), Annotation.YEAR, Form.NUMBER),
        (pa.decimal128(20, 6), Annotation.NONE, Form.TEXT),
        (pa.string(), Annotation.NUMERIC, Form.TEXT),
        (pa.string(), Annotation.JSON, Form.TEXT),
        (pa.binary(), Annotation.SPATIAL, Form.BASE64),
        (pa.timestamp("us", "UTC"), Annotation.NONE, Form.MOMENT),
        (pa.date32(), Annotation.NONE, Form.TEXT),
        (pa.time64("us"), Annotation.NONE, Form.TIME),
        (pa.string(), Annotation.DURATION, Form.TIME),
        (pa.list_(pa.list_(pa.float64())), Annotation.ARRAY, Form.NUMBERS),
        (pa.list_(pa.decimal128(9, 2)), Annotation.ARRAY, Form.TEXTS),
    ],
)
def test_form_of_a_type(arrow: pa.DataType, annotation: Annotation, form: Form) -> None:
    assert form_of(ColumnType(arrow, "", annotation)) is form
