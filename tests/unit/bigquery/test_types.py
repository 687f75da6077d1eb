"""What a source's column becomes, and what a table that is there already is to us."""

from __future__ import annotations

import pyarrow as pa
import pytest

from whimbrel.connectors.bigquery.dialect import DIALECT
from whimbrel.connectors.bigquery.types import TYPES
from whimbrel.connectors.sql.definitions import convert, render
from whimbrel.connectors.sql.differences import differences
from whimbrel.errors import IdentifierRefused, TypeRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, ColumnType, Table

NAME = TableName("shop", "orders")


@pytest.mark.parametrize(
    ("arrow", "annotation", "length", "native", "stored", "lossy"),
    [
        (pa.int32(), Annotation.NONE, None, "INT64", pa.int32(), False),
        (pa.uint32(), Annotation.NONE, None, "INT64", pa.int64(), False),
        (pa.uint64(), Annotation.NONE, None, "NUMERIC(20,0)", pa.decimal128(20, 0), False),
        (pa.decimal128(38, 9), Annotation.NONE, None, "NUMERIC(38,9)", pa.decimal128(38, 9), False),
        (pa.decimal128(38, 8), Annotation.NONE, None, "BIGNUMERIC(38,8)", pa.decimal128(38, 8), False),
        (pa.decimal128(12, 10), Annotation.NONE, None, "BIGNUMERIC(12,10)", pa.decimal128(12, 10), False),
        (pa.decimal128(38, 38), Annotation.NONE, None, "BIGNUMERIC(38,38)", pa.decimal128(38, 38), False),
        (pa.decimal256(40, 2), Annotation.NONE, None, "STRING", pa.string(), True),
        (pa.string(), Annotation.NUMERIC, None, "STRING", pa.string(), True),
        (pa.float32(), Annotation.NONE, None, "FLOAT64", pa.float64(), False),
        (pa.string(), Annotation.NONE, 40, "STRING(40)", pa.string(), False),
        (pa.string(), Annotation.NONE, 1 << 30, "STRING", pa.string(), False),
        (pa.binary(), Annotation.NONE, 16, "BYTES(16)", pa.binary(), False),
        (pa.time64("us"), Annotation.NONE, 3, "TIME", pa.time64("us"), False),
        (pa.timestamp("us"), Annotation.NONE, 6, "DATETIME", pa.timestamp("us"), False),
        (pa.timestamp("us", tz="UTC"), Annotation.NONE, 6, "TIMESTAMP", pa.timestamp("us", tz="UTC"), False),
        (pa.string(), Annotation.JSON, None, "JSON", pa.string(), True),
        (pa.list_(pa.int32()), Annotation.ARRAY, None, "JSON", pa.string(), True),
        (pa.string(), Annotation.DURATION, 6, "STRING", pa.string(), True),
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


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["Id", "ID"], "one name"),
        (["a`b"], "in no column's name"),
        (["_PARTITIONDATE"], "begins as"),
        (["_whimbrel_op"], "begins as"),
    ],
)
def test_names_that_it_does_not_take_are_refused(names: list[str], why: str) -> None:
    table = Table(NAME, tuple(Column(n, ColumnType(pa.int64(), "bigint")) for n in names))
    with pytest.raises(IdentifierRefused, match=why):
        convert(DIALECT, [table], {})


@pytest.mark.parametrize("made", TYPES.makes)
def test_a_table_that_we_made_does_not_differ(made: str) -> None:
    arrows = {"int": pa.int16(), "decimal": pa.decimal128(20, 4)}
    found = TYPES.makes[made](ColumnType(arrows.get(made, pa.string()), "whatever", length=12))
    assert found is not None
    wanted = Table(NAME, (Column("c", found.type),))
    there = {NAME: Table(NAME, (Column("c", TYPES.read(found.type.native)),))}
    assert list(differences([wanted], there, TYPES.read)) == []


def test_what_is_rendered() -> None:
    text = ColumnType(pa.string(), "text")
    columns = (
        Column("id", ColumnType(pa.int64(), "bigint"), nullable=False, comment="it's\n\\"),
        Column("doc", ColumnType(pa.string(), "json", Annotation.JSON)),
        Column("über & mehr", text),
    )
    table = Table(NAME, columns, ("id",), comment="all")
    rendered = render(DIALECT, convert(DIALECT, [table], {"shop": "s"}))
    assert rendered.tables == (
        "CREATE SCHEMA IF NOT EXISTS `s`",
        "CREATE TABLE IF NOT EXISTS `s`.`orders` (\n  `id` INT64 NOT NULL,\n  `doc` JSON,\n  `über & mehr` STRING,\n"
        "  PRIMARY KEY (`id`) NOT ENFORCED\n) CLUSTER BY `id`",
    )
    assert rendered.objects == (
        "ALTER TABLE `s`.`orders` SET OPTIONS (description = 'all')",
        "ALTER TABLE `s`.`orders` ALTER COLUMN `id` SET OPTIONS (description = 'it\\'s\\n\\\\')",
    )
