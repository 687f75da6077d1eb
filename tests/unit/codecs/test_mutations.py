"""Columns as rows of mutations: what the vendor's own client makes of the same values, compiled and as plain Python."""

from __future__ import annotations

import base64
import datetime
import math
from decimal import Decimal
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.codecs.both import interpreted
from whimbrel.codecs import mutations

helpers = pytest.importorskip("google.cloud.spanner_v1._helpers")
from google.cloud.spanner_v1.types import KeySet, Mutation  # noqa: E402

DAY, UTC = datetime.date, datetime.UTC
COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "whole": (pa.int64(), [0, -1, 2**63 - 1, -(2**63), None]),
    "small": (pa.int16(), [0, -1, 32767, None, 5]),
    "unsigned": (pa.decimal128(20, 0), [Decimal(0), Decimal(2**64 - 1), None, Decimal(7), Decimal(1)]),
    "number": (pa.decimal128(38, 9), [Decimal("0.000000001"), Decimal(-1), None, Decimal("12.5"), Decimal(0)]),
    "text": (pa.string(), ["", "a", "ünïcödé 🐦" * 20, None, "x" * 20_000]),
    "bytes": (pa.binary(), [b"", b"\0", b"\xff\xfe", None, bytes(range(256)) * 9]),
    "flag": (pa.bool_(), [True, False, None, True, False]),
    "double": (pa.float64(), [0.0, math.inf, -math.inf, math.nan, None]),
    "single": (pa.float32(), [0.5, -2.25, 3e38, None, 1e-40]),
    "day": (pa.date32(), [DAY(1, 1, 1), DAY(9999, 12, 31), DAY(1582, 10, 10), None, DAY(1970, 1, 1)]),
    "moment": (
        pa.timestamp("us", "UTC"),
        [
            datetime.datetime(1, 1, 1, tzinfo=UTC),
            datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            None,
            datetime.datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
            datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
        ],
    ),
}


@pytest.fixture(params=["compiled", "interpreted"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if request.param == "interpreted":
        monkeypatch.setattr(mutations, "mutationrows", interpreted("mutationrows"))
    return mutations


def values_of(rows: mutations.Rows) -> list[list[Any]]:
    read = Mutation.Write.pb(Mutation.Write.deserialize(bytes(rows.between(0, len(rows)))))
    return [list(row.values) for row in read.values]


def vendors(value: Any, arrow: pa.DataType) -> Any:
    """As the vendor's client writes it, but for moments, of which we write every digit."""
    if isinstance(value, datetime.datetime):
        return helpers._make_value_pb(f"{value:%Y-%m-%dT%H:%M:%S.%f}Z".rjust(27, "0"))
    if pa.types.is_float32(arrow) and value is not None:
        return helpers._make_value_pb(pa.scalar(value, arrow).as_py())
    if isinstance(value, Decimal):
        return helpers._make_value_pb(f"{value:f}")
    if isinstance(value, bytes):
        return helpers._make_value_pb(base64.b64encode(value))
    return helpers._make_value_pb(value)


@pytest.mark.parametrize("name", COLUMNS)
def test_each_type_is_what_the_vendors_client_writes(codec: ModuleType, name: str) -> None:
    arrow, values = COLUMNS[name]
    batch = pa.record_batch({"c": pa.array(values, arrow)})
    found = [row[0] for row in values_of(codec.rows(batch))]
    if name in ("number", "unsigned"):
        assert [None if v.WhichOneof("kind") == "null_value" else Decimal(v.string_value) for v in found] == values
    else:
        assert found == [vendors(value, arrow) for value in values]


def test_columns_stand_side_by_side_and_slices_are_taken_for_what_they_are(codec: ModuleType) -> None:
    whole = pa.record_batch({name: pa.array(values, arrow) for name, (arrow, values) in COLUMNS.items()})
    every = values_of(codec.rows(whole))
    for first, rows in ((0, 5), (1, 3), (4, 1), (2, 0)):
        assert values_of(codec.rows(whole.slice(first, rows))) == every[first : first + rows]
    assert [len(row) for row in every] == [len(COLUMNS)] * 5


def test_keys_are_the_same_under_another_tag(codec: ModuleType) -> None:
    batch = pa.record_batch({"a": pa.array([1, 2]), "b": pa.array(["x", None])})
    rows = codec.rows(batch, codec.KEYS_TAG)
    read = KeySet.pb(KeySet.deserialize(bytes(rows.between(1, 2))))
    assert [[v.string_value for v in key.values] for key in read.keys] == [["2", ""]]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=300), min_size=1, max_size=9),
    data=st.data(),
)
def test_lengths_of_every_size(texts: list[str | None], data: st.DataObject) -> None:
    raw = data.draw(st.lists(st.none() | st.binary(max_size=300), min_size=len(texts), max_size=len(texts)))
    batch = pa.record_batch({"t": pa.array(texts, pa.string()), "b": pa.array(raw, pa.binary())})
    found = values_of(mutations.rows(batch))
    assert found == [[vendors(t, pa.string()), vendors(b, pa.binary())] for t, b in zip(texts, raw, strict=True)]


def test_a_type_without_a_way_is_an_error() -> None:
    with pytest.raises(TypeError, match="time64"):
        mutations.rows(pa.record_batch({"c": pa.array([1], pa.time64("us"))}))
