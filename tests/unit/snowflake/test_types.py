"""What a source's column becomes, and what a table that is there already is to us."""

from __future__ import annotations

import pyarrow as pa
import pytest

from whimbrel.connectors.snowflake.dialect import DIALECT
from whimbrel.connectors.snowflake.types import TYPES
from whimbrel.connectors.sql.definitions import convert
from whimbrel.connectors.sql.differences import differences
from whimbrel.errors import IdentifierRefused, TypeRefused
from whimbrel.model.default import Default
from whimbrel.model.difference import Kind
from whimbrel.model.expression import Expression
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Check, Column, ColumnType, ForeignKey, Identity, Index, Table

NAME = TableName("shop", "orders")


@pytest.mark.parametrize(
    ("arrow", "annotation", "length", "native", "stored", "lossy"),
    [
        (pa.int64(), Annotation.NONE, None, "NUMBER(19,0)", pa.int64(), False),
        (pa.uint64(), Annotation.NONE, None, "NUMBER(20,0)", pa.decimal128(20, 0), False),
        (pa.decimal128(38, 37), Annotation.NONE, None, "NUMBER(38,37)", pa.decimal128(38, 37), False),
        (pa.decimal128(38, 38), Annotation.NONE, None, "VARCHAR", pa.string(), True),
        (pa.decimal256(40, 2), Annotation.NONE, None, "VARCHAR", pa.string(), True),
        (pa.string(), Annotation.NUMERIC, None, "VARCHAR", pa.string(), True),
        (pa.float32(), Annotation.NONE, None, "FLOAT", pa.float64(), False),
        (pa.string(), Annotation.NONE, 40, "VARCHAR(40)", pa.string(), False),
        (pa.string(), Annotation.NONE, 1 << 30, "VARCHAR", pa.string(), False),
        (pa.binary(), Annotation.NONE, 16, "BINARY(16)", pa.binary(), False),
        (pa.time64("us"), Annotation.NONE, 3, "TIME(6)", pa.time64("us"), False),
        (pa.timestamp("us"), Annotation.NONE, 6, "TIMESTAMP_NTZ(6)", pa.timestamp("us"), False),
        (pa.timestamp("us", tz="UTC"), Annotation.NONE, 6, "TIMESTAMP_TZ(6)", pa.timestamp("us", tz="UTC"), False),
        (pa.string(), Annotation.JSON, None, "VARIANT", pa.string(), True),
        (pa.list_(pa.int32()), Annotation.ARRAY, None, "ARRAY", pa.string(), True),
        (pa.string(), Annotation.DURATION, 6, "VARCHAR", pa.string(), True),
    ],
)
def test_each_type_is_exact_or_its_loss_is_told(
    arrow: pa.DataType, annotation: Annotation, length: int | None, native: str, stored: pa.DataType, lossy: bool
) -> None:
    made = TYPES.make(ColumnType(arrow, "whatever", annotation, length))
    assert made is not None
    assert (made.type.native, made.type.arrow, bool(made.note)) == (native, stored, lossy)


@pytest.mark.parametrize("annotation", [Annotation.NATIVE, Annotation.SPATIAL])
def test_what_has_no_place_is_refused_by_table_and_column(annotation: Annotation) -> None:
    table = Table(NAME, (Column("shape", ColumnType(pa.string(), "polygon", annotation)),))
    with pytest.raises(TypeRefused, match=r"shop\.orders\.shape: polygon"):
        convert(DIALECT, [table], {})


def test_two_tables_under_one_name_are_refused() -> None:
    column = Column("id", ColumnType(pa.int32(), "int"))
    tables = [Table(TableName(schema, "orders"), (column,)) for schema in ("a", "b")]
    with pytest.raises(IdentifierRefused, match=r"b\.orders and a\.orders would both be one\.orders"):
        convert(DIALECT, tables, {"a": "one", "b": "one"})


def test_all_that_is_left_out_is_told() -> None:
    whole = ColumnType(pa.int32(), "int")
    table = Table(
        NAME,
        (
            Column("id", whole, nullable=False, identity=Identity()),
            Column("n", whole, default=Default("7", "postgres")),
            Column("twice", whole, generated=Expression("n * 2", "postgres")),
        ),
        primary_key=("id",),
        indexes=(Index("by_n", ("n",)),),
        foreign_keys=(ForeignKey("up", ("n",), TableName("shop", "away"), ("id",)),),
        checks=(Check("positive", Expression("n > 0", "postgres")),),
        lost=("partitions are not kept",),
    )
    notes = "\n".join(convert(DIALECT, [table], {}).notes)
    for word in (
        "orders.id: numbered",
        "default 7",
        "computed on the source",
        "by_n",
        "foreign key up left out",
        "positive",
        "partitions",
    ):
        assert word in notes
    assert "not enforced" in notes


def test_a_table_that_is_there_may_be_wider_and_never_narrower() -> None:
    def there(*natives: str) -> Table:
        names = ("id", "title", "doc")
        return Table(NAME, tuple(Column(n, TYPES.read(t)) for n, t in zip(names, natives, strict=True)))

    wanted = Table(
        NAME,
        (
            Column("id", ColumnType(pa.int32(), "NUMBER(10,0)")),
            Column("title", ColumnType(pa.string(), "VARCHAR(40)", length=40)),
            Column("doc", ColumnType(pa.string(), "VARIANT", Annotation.JSON)),
        ),
    )

    def found(*natives: str) -> list[tuple[str, Kind]]:
        return [(d.column, d.kind) for d in differences([wanted], {NAME: there(*natives)}, TYPES.read)]

    assert found("NUMBER(38,0)", "TEXT(16777216)", "VARIANT") == []
    assert found("NUMBER(9,0)", "TEXT(39)", "TEXT(100)") == [(c, Kind.TYPE) for c in ("id", "title", "doc")]
    assert found("NUMBER(38,30)", "TEXT(40)", "VARIANT") == [("id", Kind.TYPE)]
