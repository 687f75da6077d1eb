"""What a source's column becomes, which keys are made of a table's, and what is told of the rest."""

from __future__ import annotations

import pyarrow as pa
import pytest

from whimbrel.connectors.singlestore.dialect import DIALECT, TABLES, SingleStoreDialect
from whimbrel.connectors.singlestore.types import TYPES
from whimbrel.connectors.sql.definitions import convert, create_table, render
from whimbrel.connectors.sql.ledger import TABLES as LEDGER
from whimbrel.errors import TypeRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, ColumnType, ForeignKey, Identity, Index, Table

NAME = TableName("shop", "orders")
WHOLE, TEXT = ColumnType(pa.int32(), "integer"), ColumnType(pa.string(), "text")


@pytest.mark.parametrize(
    ("arrow", "annotation", "length", "native", "stored", "lossy"),
    [
        (pa.bool_(), Annotation.NONE, None, "TINYINT(1)", pa.bool_(), False),
        (pa.int64(), Annotation.NONE, None, "BIGINT", pa.int64(), False),
        (pa.uint8(), Annotation.NONE, None, "SMALLINT", pa.int16(), False),
        (pa.uint32(), Annotation.NONE, None, "BIGINT", pa.int64(), False),
        (pa.uint64(), Annotation.NONE, None, "DECIMAL(20,0)", pa.decimal128(20, 0), False),
        (pa.decimal256(65, 30), Annotation.NONE, None, "DECIMAL(65,30)", pa.decimal256(65, 30), False),
        (pa.decimal256(66, 2), Annotation.NONE, None, "LONGTEXT", pa.string(), True),
        (pa.decimal128(38, 31), Annotation.NONE, None, "LONGTEXT", pa.string(), True),
        (pa.string(), Annotation.NUMERIC, None, "LONGTEXT", pa.string(), True),
        (pa.float32(), Annotation.NONE, None, "FLOAT", pa.float32(), False),
        (pa.string(), Annotation.NONE, 16383, "VARCHAR(16383)", pa.string(), False),
        (pa.string(), Annotation.NONE, 16384, "LONGTEXT", pa.string(), False),
        (pa.string(), Annotation.CHAR, 3, "VARCHAR(3)", pa.string(), True),
        (pa.binary(), Annotation.NONE, 16, "VARBINARY(16)", pa.binary(), False),
        (pa.time64("us"), Annotation.NONE, 3, "TIME(6)", pa.time64("us"), False),
        (pa.timestamp("us"), Annotation.NONE, 0, "DATETIME(6)", pa.timestamp("us"), False),
        (pa.timestamp("us", tz="UTC"), Annotation.NONE, 6, "DATETIME(6)", pa.timestamp("us", tz="UTC"), True),
        (pa.string(), Annotation.JSON, None, "JSON", pa.string(), True),
        (pa.list_(pa.int32()), Annotation.ARRAY, None, "JSON", pa.string(), True),
        (pa.string(), Annotation.DURATION, 6, "VARCHAR(32)", pa.string(), True),
    ],
)
def test_each_type_is_exact_or_its_loss_is_told(
    arrow: pa.DataType, annotation: Annotation, length: int | None, native: str, stored: pa.DataType, lossy: bool
) -> None:
    made = TYPES.make(ColumnType(arrow, "whatever", annotation, length))
    assert made is not None
    assert (made.type.native, made.type.arrow, bool(made.note)) == (native, stored, lossy)
    assert TYPES.read(native).annotation in (annotation, Annotation.NONE, Annotation.JSON), "it is read as it was made"


@pytest.mark.parametrize("annotation", [Annotation.NATIVE, Annotation.SPATIAL])
def test_what_has_no_place_is_refused_by_table_and_column(annotation: Annotation) -> None:
    table = Table(NAME, (Column("shape", ColumnType(pa.string(), "polygon", annotation)),))
    with pytest.raises(TypeRefused, match=r"shop\.orders\.shape: polygon"):
        convert(DIALECT, [table], {})


def orders(primary: tuple[str, ...], *, required: bool = True) -> Table:
    columns = (
        Column("id", WHOLE, nullable=False, identity=Identity(always=False)),
        Column("code", TEXT, nullable=not required),
        Column("parent", WHOLE),
    )
    indexes = (
        Index("orders_code", ("code",), unique=True, constraint=True),
        Index("orders_both", ("id", "code"), unique=True),
        Index("orders_parent", ("parent",)),
    )
    keys = (ForeignKey("orders_parent_fk", ("parent",), NAME, ("id",)),)
    return Table(NAME, columns, primary, indexes=indexes, foreign_keys=keys)


def made(table: Table, dialect: object = DIALECT) -> tuple[str, list[str]]:
    assert isinstance(dialect, type(DIALECT))
    converted = convert(dialect, [table], {})
    return create_table(dialect, converted.tables[0]), list(converted.notes)


def test_the_primary_key_spreads_the_rows_and_other_unique_keys_are_left_out_and_told() -> None:
    sql, notes = made(orders(("id",)))
    assert "PRIMARY KEY (`id`),\n  SHARD KEY (`id`)" in sql
    assert "UNIQUE" not in sql
    assert "AUTO_INCREMENT" not in sql
    assert "`code` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL" in sql
    said = "\n".join(notes)
    for what in ("unique key orders_code (code)", "orders_both (id, code)", "spread over the partitions by id",
                 "foreign key orders_parent_fk", "indexes orders_parent", "numbered by the source"):  # fmt: skip
        assert what in said, notes


def test_without_a_primary_key_what_identifies_rows_is_the_key() -> None:
    sql, notes = made(orders(()))
    assert "UNIQUE KEY (`code`),\n  SHARD KEY (`code`)" in sql
    assert "`code` VARCHAR(255)" in sql
    assert any("code" in note and "up to 255" in note for note in notes)
    assert any("orders_both" in note and "left out" in note for note in notes)


def test_without_any_key_rows_are_spread_at_random() -> None:
    table = Table(NAME, (Column("a", WHOLE), Column("b", TEXT)), indexes=(Index("u", ("a",), unique=True),))
    sql, notes = made(table)
    assert "UNIQUE" not in sql
    assert "SHARD KEY" not in sql
    assert any("at random" in note for note in notes)


def test_tables_live_by_columns_on_disk_or_by_rows_in_memory() -> None:
    assert made(orders(("id",)))[0].startswith("CREATE TABLE IF NOT EXISTS `shop`.`orders`")
    assert made(orders(("id",)), SingleStoreDialect(rowstore=True))[0].startswith("CREATE ROWSTORE TABLE IF NOT EXISTS")
    first = render(DIALECT, convert(DIALECT, [orders(("id",))], {})).tables[0]
    assert first == "CREATE DATABASE IF NOT EXISTS `shop` WITH SYNC DURABILITY"


def test_our_own_tables_have_the_columns_that_the_ledger_writes_in_its_order() -> None:
    for name, columns in LEDGER.items():
        wanted = [line.split()[0] for line in columns.split(", ")]
        have = [line.split()[0] for line in TABLES[name].split(", ") if line.split()[0].islower()]
        assert have[: len(wanted)] == wanted, name
    database, *ours = SingleStoreDialect("the`shop").own_objects()
    assert "`the``shop`" in database
    assert all(sql.startswith("CREATE ROWSTORE TABLE IF NOT EXISTS `the``shop`.`whimbrel_") for sql in ours)
