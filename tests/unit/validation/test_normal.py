"""The vocabulary of normal forms, and what we render ourselves."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.errors import ValidateFailed
from whimbrel.model.normal import (
    HASH_END,
    cheap,
    client_text,
    hash_cuts,
    key_forms,
    normal_form,
    ordered,
    row_hash,
    split_form,
    strict,
)
from whimbrel.model.table import Annotation, ColumnType


def column(arrow: pa.DataType, annotation: Annotation = Annotation.NONE, length: int | None = None) -> ColumnType:
    return ColumnType(arrow, "native", annotation, length)


INT, BOOL, TEXT, SHORT = column(pa.int32()), column(pa.bool_()), column(pa.string()), column(pa.string(), length=40)
CHAR, JSON = column(pa.string(), Annotation.CHAR, 5), column(pa.string(), Annotation.JSON)
UUID, BYTES = column(pa.string(), Annotation.UUID), column(pa.binary())
DECIMAL, NUMERIC = column(pa.decimal128(10, 2)), column(pa.string(), Annotation.NUMERIC)
MILLI, MICRO = column(pa.timestamp("us"), length=3), column(pa.timestamp("us", "UTC"))


@pytest.mark.parametrize(
    ("source", "target", "form"),
    [
        (INT, BOOL, "integer"),
        (BOOL, BOOL, "integer"),
        (INT, DECIMAL, "decimal"),
        (NUMERIC, TEXT, "decimal"),
        (SHORT, SHORT, "text"),
        (SHORT, TEXT, "long-text"),
        (CHAR, SHORT, "padded"),
        (JSON, JSON, "json"),
        (column(pa.list_(pa.int32()), Annotation.ARRAY), JSON, "json"),
        (UUID, BYTES, "uuid"),
        (MICRO, MILLI, "timestamp(3)"),
        (column(pa.date32()), MILLI, "timestamp(0)"),
        (column(pa.float32()), column(pa.float64()), "float32"),
        (column(pa.string(), Annotation.DURATION, 2), column(pa.string(), Annotation.INTERVAL), "time(2)"),
        (column(pa.string(), Annotation.NATIVE), SHORT, "text"),
        (column(pa.string(), Annotation.BIT, None), column(pa.string(), Annotation.BIT, None), "own"),
    ],
)
def test_both_sides_agree_whoever_is_the_source(source: ColumnType, target: ColumnType, form: str) -> None:
    assert normal_form(source, target) == normal_form(target, source) == form


def test_one_engine_compares_its_own_types() -> None:
    own = column(pa.string(), Annotation.NATIVE)
    assert normal_form(own, own, same_engine=True) == "own"
    assert normal_form(JSON, JSON, same_engine=True) == normal_form(JSON, JSON) == "json"
    with pytest.raises(ValidateFailed):
        normal_form(own, own)
    with pytest.raises(ValidateFailed, match="no common form"):
        normal_form(INT, BYTES)


def test_forms_in_their_cheap_and_strict_versions() -> None:
    columns = (("a", "json"), ("b", "float64"), ("c", "text"))
    assert cheap(columns) == (("a", "json-text"), ("b", "float64"), ("c", "text"))
    assert strict(columns) == (("a", "json"), ("b", "float64-exact"), ("c", "text"))
    assert key_forms((("a", "bytes"), ("b", "long-text"))) == (("a", "hex"), ("b", "text"))
    assert split_form("time(3)") == ("time", 3)
    assert ordered((("a", "integer"), ("b", "bytes")))
    assert not ordered((("a", "integer"), ("b", "text")))
    assert not ordered(())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": [1, 2]}', '{"b":[1.0,2e0],"a":1.00}'),
        ('{"k": 1, "k": 2}', '{"k": 2}'),
        ('"\\u00e9"', '"é"'),
        ("100000000000000000", "1e17"),
        ("-0", "0.0"),
        ("-1200", "-0.12e4"),
        ("0.00", "0e-400"),
        ("1" + "0" * 5000, "1e5000"),
    ],
)
def test_json_is_equal_by_meaning(one: str, other: str) -> None:
    assert client_text("json", one) == client_text("json", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": "1"}'),
        ("[1, 2]", "[2, 1]"),
        ("null", '"null"'),
        ("true", "1"),
        ('{"a": null}', "{}"),
        ("18446744073709551615", "18446744073709551614"),
        ("9007199254740993", "9007199254740992"),
        ('""', "null"),
        ("0.1000000000000000000001", "0.1"),  # one float
        ("12345678901234567890.12345678901234567", "12345678901234567890.12345678901234568"),
        ("10", '"1e1"'),
        ("10", "1"),
        ("-1.5", "1.5"),
    ],
)
def test_json_that_means_another_thing_differs(one: str, other: str) -> None:
    assert client_text("json", one) != client_text("json", other)
    assert client_text("json", None) not in (client_text("json", one), client_text("json", other))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=12,
)  # fmt: skip


@given(values)
def test_spaces_order_and_escapes_of_json_do_not_matter(value: Any) -> None:
    written = client_text("json", json.dumps(value, indent=3, ensure_ascii=True))
    assert written == client_text("json", json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def test_what_is_not_json_is_an_error_that_shows_no_value() -> None:
    for bad in ('{"secret": ', "NaN", "[" * 100_000):
        with pytest.raises(ValidateFailed) as caught:
            client_text("json", bad)
        assert "secret" not in caught.value.message


def test_texts_of_a_row_cannot_run_into_each_other() -> None:
    assert row_hash(1, ["a|1:b", "c"]) != row_hash(1, ["a", "1:b|1:c"])
    assert row_hash(1, ["", "ab"]) != row_hash(1, ["ab", ""])
    assert 0 <= row_hash(5, []) < HASH_END


def test_hash_cuts_are_equally_far_apart_and_end_when_nothing_is_left_to_cut() -> None:
    cuts = [int(c[0]) for c in hash_cuts(None, None, 4)]
    assert [b - a for a, b in itertools.pairwise(cuts)] == [cuts[0]] * 2
    assert hash_cuts(("7",), ("8",), 4) == []
    assert hash_cuts(("7",), ("9",), 4) == [("8",)]
