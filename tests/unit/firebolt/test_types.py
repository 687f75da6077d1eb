"""What a source's column becomes, what sorts a table, and how values are written and read for a comparison."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from whimbrel.connectors.firebolt.dialect import DIALECT, own_table
from whimbrel.connectors.firebolt.types import TYPES
from whimbrel.connectors.firebolt.values import canonical, normal, row_number
from whimbrel.connectors.sql.definitions import convert, create_table, render
from whimbrel.errors import IdentifierRefused, TypeRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, ColumnType, Index, Table

NAME = TableName("Shop", "Orders")
WHOLE = ColumnType(pa.int32(), "int")


@pytest.mark.parametrize(
    ("arrow", "annotation", "native", "stored", "lossy"),
    [
        (pa.int8(), Annotation.NONE, "INTEGER", pa.int32(), False),
        (pa.uint16(), Annotation.NONE, "INTEGER", pa.int32(), False),
        (pa.uint32(), Annotation.NONE, "BIGINT", pa.int64(), False),
        (pa.uint64(), Annotation.NONE, "NUMERIC(20,0)", pa.decimal128(20, 0), False),
        (pa.decimal128(38, 38), Annotation.NONE, "NUMERIC(38,38)", pa.decimal128(38, 38), False),
        (pa.decimal256(40, 2), Annotation.NONE, "TEXT", pa.string(), True),
        (pa.string(), Annotation.NUMERIC, "TEXT", pa.string(), True),
        (pa.float32(), Annotation.NONE, "REAL", pa.float32(), False),
        (pa.binary(), Annotation.NONE, "BYTEA", pa.binary(), False),
        (pa.time64("us"), Annotation.NONE, "TEXT", pa.string(), True),
        (pa.timestamp("us"), Annotation.NONE, "TIMESTAMP", pa.timestamp("us"), False),
        (pa.timestamp("us", tz="UTC"), Annotation.NONE, "TIMESTAMPTZ", pa.timestamp("us", tz="UTC"), False),
        (pa.string(), Annotation.JSON, "TEXT", pa.string(), True),
        (pa.list_(pa.int32()), Annotation.ARRAY, "TEXT", pa.string(), True),
    ],
)
def test_each_type_is_exact_or_its_loss_is_told(
    arrow: pa.DataType, annotation: Annotation, native: str, stored: pa.DataType, lossy: bool
) -> None:
    made = TYPES.make(ColumnType(arrow, "whatever", annotation))
    assert made is not None
    assert (made.type.native, made.type.arrow, bool(made.note)) == (native, stored, lossy)
    if not lossy:
        assert TYPES.read(native.lower().replace(",", ", ")).arrow == stored, "what is made is read back as that"


@pytest.mark.parametrize("annotation", [Annotation.NATIVE, Annotation.SPATIAL])
def test_what_has_no_place_is_refused_by_table_and_column(annotation: Annotation) -> None:
    table = Table(NAME, (Column("shape", ColumnType(pa.string(), "polygon", annotation)),))
    with pytest.raises(TypeRefused, match=r"Shop\.Orders\.shape: polygon"):
        convert(DIALECT, [table], {})


def test_a_table_is_sorted_by_its_key_and_says_of_each_column_whether_it_takes_null() -> None:
    columns = (Column("id", WHOLE, nullable=False), Column('odd"name', WHOLE, comment="why"))
    unique = (Index("n", ("id",), unique=True, constraint=True),)
    made = convert(DIALECT, [Table(NAME, columns, ("id",), indexes=unique)], {"Shop": "public"})
    text = create_table(DIALECT, made.tables[0])
    assert text.startswith('CREATE TABLE IF NOT EXISTS "public"."Orders" (')
    assert '"id" INTEGER NOT NULL,' in text
    assert '"odd""name" INTEGER NULL\n) PRIMARY INDEX "id"' in text
    assert "UNIQUE" not in text
    assert any("comments left out" in note for note in made.notes)
    rendered = render(DIALECT, made)
    assert rendered.objects == ()
    assert not any("SCHEMA" in statement for statement in rendered.tables), "public is everywhere"
    keyless = convert(DIALECT, [Table(NAME, (Column("n", WHOLE),))], {"Shop": "shop"})
    assert render(DIALECT, keyless).tables[0] == 'CREATE SCHEMA IF NOT EXISTS "shop"'
    assert "PRIMARY INDEX" not in create_table(DIALECT, keyless.tables[0])


def test_our_own_names_are_ours() -> None:
    with pytest.raises(IdentifierRefused, match="whimbrel_"):
        convert(DIALECT, [Table(TableName("public", "Whimbrel_progress"), (Column("n", WHOLE),))], {})
    assert own_table("progress").startswith('CREATE TABLE public."whimbrel_progress" (migration TEXT NOT NULL,')
    assert "position TEXT NULL," in own_table("progress")


def test_a_backslash_is_one_whatever_the_session_says() -> None:
    assert [DIALECT.literal(t) for t in ("a'b", "a\\'b")] == ["'a''b'", "E'a\\\\''b'"]
    assert "WHERE" in DIALECT.delete_all("t"), "Core does nothing without"


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (True, "integer", "1"),
        (Decimal("1.500"), "decimal", "1.5"),
        (Decimal("100"), "decimal", "100"),
        (Decimal("0E-20"), "decimal", "0"),
        ("a  ", "padded", "a"),
        ("0A-1b", "uuid", "0a1b"),
        (b"\x00\xff", "hex", "00ff"),
        (date(1, 1, 1), "date", "0001-01-01"),
        (date(2026, 1, 2), "timestamp(0)", "2026-01-02 00:00:00"),
        (datetime(999, 1, 2, 3, 4, 5, 120000), "timestamp(6)", "0999-01-02 03:04:05.12"),
        (datetime(2026, 1, 2, 3, 4, 5, 123456, UTC), "timestamp(3)", "2026-01-02 03:04:05.123"),
        (datetime(2026, 1, 2, 3, 4, 0), "timestamp(0)", "2026-01-02 03:04:00"),
        ("-838:59:59.5", "time(6)", "-3020399500000"),
        ("12:00:00", "time(0)", "43200"),
        ("0010", "bit", "10"),
        (float("nan"), "float64-exact", "nan"),
    ],
)
def test_values_in_their_normal_forms(value: Any, form: str, text: str) -> None:
    assert normal(value, form) == text


def test_a_row_has_the_hash_that_databases_make_of_it() -> None:
    assert row_number(["a"], ["integer"]) == 912392414677810140, "the first 60 bits of the SHA-256 of a"
    assert row_number([], []) == 0
    assert row_number([None, "a|b"], ["text", "text"]) != row_number(["N", "a|b"], ["text", "text"])


def test_values_as_the_change_plane_carries_them() -> None:
    values = [None, True, 7, Decimal("1.50"), -0.0, b"\0", "a", date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC)]
    assert [canonical(v) for v in values] == [
        *(None, b"t", b"7", b"1.50", b"-0.0", b"\0", b"a", b"2026-01-02", b"2026-01-02 00:00:00.000000+00"),
    ]
