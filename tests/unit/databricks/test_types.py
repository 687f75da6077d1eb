"""What a source's column becomes, names that Databricks does not have, and tables that are there already."""

from __future__ import annotations

import pyarrow as pa
import pytest

from whimbrel.connectors.databricks.dialect import DIALECT
from whimbrel.connectors.databricks.types import TYPES
from whimbrel.connectors.sql.definitions import convert, create_table
from whimbrel.connectors.sql.differences import differences
from whimbrel.errors import IdentifierRefused, TypeRefused
from whimbrel.model.difference import Kind
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, ColumnType, Index, Table

NAME = TableName("Shop", "Orders")
WHOLE = ColumnType(pa.int32(), "int")


@pytest.mark.parametrize(
    ("arrow", "annotation", "native", "stored", "lossy"),
    [
        (pa.int8(), Annotation.NONE, "TINYINT", pa.int8(), False),
        (pa.uint32(), Annotation.NONE, "BIGINT", pa.int64(), False),
        (pa.uint64(), Annotation.NONE, "DECIMAL(20,0)", pa.decimal128(20, 0), False),
        (pa.decimal128(38, 38), Annotation.NONE, "DECIMAL(38,38)", pa.decimal128(38, 38), False),
        (pa.decimal256(40, 2), Annotation.NONE, "STRING", pa.string(), True),
        (pa.string(), Annotation.NUMERIC, "STRING", pa.string(), True),
        (pa.float32(), Annotation.NONE, "FLOAT", pa.float32(), False),
        (pa.string(), Annotation.NONE, "STRING", pa.string(), False),
        (pa.binary(), Annotation.NONE, "BINARY", pa.binary(), False),
        (pa.time64("us"), Annotation.NONE, "STRING", pa.string(), True),
        (pa.timestamp("us"), Annotation.NONE, "TIMESTAMP_NTZ", pa.timestamp("us"), False),
        (pa.timestamp("us", tz="UTC"), Annotation.NONE, "TIMESTAMP", pa.timestamp("us", tz="UTC"), False),
        (pa.string(), Annotation.JSON, "STRING", pa.string(), True),
        (pa.list_(pa.int32()), Annotation.ARRAY, "STRING", pa.string(), True),
    ],
)
def test_each_type_is_exact_or_its_loss_is_told(
    arrow: pa.DataType, annotation: Annotation, native: str, stored: pa.DataType, lossy: bool
) -> None:
    made = TYPES.make(ColumnType(arrow, "whatever", annotation))
    assert made is not None
    assert (made.type.native, made.type.arrow, bool(made.note)) == (native, stored, lossy)


@pytest.mark.parametrize("annotation", [Annotation.NATIVE, Annotation.SPATIAL])
def test_what_has_no_place_is_refused_by_table_and_column(annotation: Annotation) -> None:
    table = Table(NAME, (Column("shape", ColumnType(pa.string(), "polygon", annotation)),))
    with pytest.raises(TypeRefused, match=r"Shop\.Orders\.shape: polygon"):
        convert(DIALECT, [table], {})


def test_names_are_kept_in_lower_case_and_what_then_is_one_is_refused() -> None:
    def named(*names: TableName, columns: tuple[str, ...] = ("id",)) -> list[Table]:
        return [Table(n, tuple(Column(c, WHOLE) for c in columns)) for n in names]

    assert convert(DIALECT, named(NAME), {}).tables[0].name == TableName("shop", "orders")
    for tables, why in (
        (named(NAME, TableName("shop", "orders")), "would both be shop.orders"),
        (named(TableName("shop", "my orders")), "holds ' '"),
        (named(TableName("shop", "a.b")), "holds '.'"),
        (named(NAME, columns=("id", "ID")), "tells no case apart"),
        (named(TableName("Whimbrel", "t")), "keeps the progress"),
    ):
        with pytest.raises(IdentifierRefused, match=why.replace(".", r"\.")):
            convert(DIALECT, tables, {})


def test_only_the_primary_key_is_written_down() -> None:
    columns = (Column("id", WHOLE, nullable=False), Column("n", WHOLE))
    unique = (Index("n", ("n",), unique=True, constraint=True),)
    made = convert(DIALECT, [Table(NAME, columns, ("id",), indexes=unique)], {})
    assert "CONSTRAINT `orders_pk` PRIMARY KEY (`id`)" in create_table(DIALECT, made.tables[0])
    assert "UNIQUE" not in create_table(DIALECT, made.tables[0])
    assert "unique keys are left out" in made.notes[0]


def test_a_column_with_a_blank_wants_mapped_names() -> None:
    plain, mapped = (
        create_table(DIALECT, convert(DIALECT, [Table(NAME, (Column(name, WHOLE),))], {}).tables[0])
        for name in ("ab", "a b")
    )
    assert "columnMapping" not in plain
    assert "columnMapping" in mapped


def test_a_table_that_is_there_may_be_wider_and_never_narrower() -> None:
    wanted = Table(NAME, (Column("id", WHOLE_MADE), Column("title", ColumnType(pa.string(), "STRING"))))

    def found(*natives: str) -> list[tuple[str, Kind]]:
        there = Table(NAME, tuple(Column(n, TYPES.read(t)) for n, t in zip(("id", "title"), natives, strict=True)))
        return [(d.column, d.kind) for d in differences([wanted], {NAME: there}, TYPES.read)]

    assert found("BIGINT", "STRING") == found("DECIMAL(10,0)", "STRING") == []
    assert found("SMALLINT", "VARCHAR(40)") == [("id", Kind.TYPE), ("title", Kind.TYPE)]


WHOLE_MADE = ColumnType(pa.int32(), "INT")
