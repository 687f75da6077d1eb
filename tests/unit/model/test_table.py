"""What stands in a target's ledger for as long as a migration runs must not change from version to version."""

from __future__ import annotations

import pickle

import pyarrow as pa

from whimbrel.model.default import Default
from whimbrel.model.expression import Binary, ColumnValue, Expression, Number
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, ColumnType, Table

TWICE = Expression("(id * 2)", "postgres", Binary("*", ColumnValue("id"), Number("2")))
NUMBER = ColumnType(pa.int64(), "bigint")
TABLE = Table(
    TableName("shop", "t"),
    (Column("id", NUMBER, False, Default("7", "postgres", Number("7"))), Column("twice", NUMBER, generated=TWICE)),
    ("id",),
)


def test_a_fingerprint_is_the_one_that_is_stored() -> None:
    """Recorded when a computed column was no more than a text: another one would stop every migration that follows."""
    assert TABLE.fingerprint == "3a2757bf8f19161e"


def test_a_table_travels_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(TABLE)) == TABLE
