"""What a source's column becomes, and what a table that is there already is to us."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

bigquery = pytest.importorskip("google.cloud.bigquery")

from whimbrel.connectors.bigquery.dialect import DIALECT  # noqa: E402
from whimbrel.connectors.bigquery.statements import StagedPair, absent  # noqa: E402
from whimbrel.connectors.bigquery.target import _columns  # noqa: E402
from whimbrel.connectors.bigquery.types import TYPES  # noqa: E402
from whimbrel.connectors.sql import merge  # noqa: E402
from whimbrel.connectors.sql.definitions import convert, render  # noqa: E402
from whimbrel.connectors.sql.differences import differences  # noqa: E402
from whimbrel.errors import IdentifierRefused, TypeRefused  # noqa: E402
from whimbrel.model.names import TableName  # noqa: E402
from whimbrel.model.table import Annotation, Column, ColumnType, Table  # noqa: E402

NAME = TableName("shop", "orders")
COLLATED: tuple[dict[str, str], ...] = ({}, {"collation": "und:ci"}, {"collation": "und:ci", "maxLength": "4"})


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


def test_a_collation_makes_another_type() -> None:
    """By it 'A' and 'a' are one key."""
    fields = [bigquery.SchemaField.from_api_repr({"name": "c", "type": "STRING", **more}) for more in COLLATED]
    wanted = Table(NAME, (Column("c", TYPES.read("STRING(4)")),))
    texts = []
    for field in fields:
        there = {NAME: Table(NAME, tuple(_columns([field])))}
        texts += [d.text for d in differences([wanted], there, TYPES.read)]
    assert texts == ["is STRING COLLATE und:ci, not STRING(4)", "is STRING(4) COLLATE und:ci, not STRING(4)"]


def test_a_key_of_floats_finds_nan() -> None:
    """By "=" NaN is not found, and zero is minus zero."""
    floats, texts = (Column("k", TYPES.read(native)) for native in ("FLOAT64", "STRING"))
    assert DIALECT.matches(floats, "t.`k`", "s.`k`") == "TO_JSON_STRING(t.`k` + 0) = TO_JSON_STRING(s.`k` + 0)"
    assert DIALECT.matches(texts, "t.`k`", "s.`k`") == "t.`k` = s.`k`"
    table = Table(NAME, (floats,), ("k",))
    pair = StagedPair(0, table, table, DIALECT, "rows_1")
    for statement in (absent(pair, [pair], emptied=False), merge.put(pair, pair.staging, removing=True)):
        assert not re.search(r"[tp]\.`k` = ", statement)
        assert "TO_JSON_STRING(t.`k` + 0)" in statement
