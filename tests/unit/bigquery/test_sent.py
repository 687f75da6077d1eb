"""What is sent to BigQuery where its stand-in would take anything else too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

pytest.importorskip("google.cloud.bigquery")

from whimbrel.connectors.bigquery import statements
from whimbrel.connectors.bigquery.connection import BigQuerySession
from whimbrel.connectors.bigquery.dialect import DIALECT
from whimbrel.connectors.bigquery.ledger import BigQueryLedger
from whimbrel.connectors.bigquery.stage import _field
from whimbrel.connectors.bigquery.statements import StagedPair
from whimbrel.connectors.sql.definitions import convert, render
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Annotation, Column, ColumnType, Table

NAME = TableName("shop", "orders")
WHOLE, DOCUMENT = ColumnType(pa.int64(), "INT64"), ColumnType(pa.string(), "JSON", Annotation.JSON)


class Noted:
    """A session that only notes what it is told."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def execute(self, sql: str) -> int:
        self.sent.append(sql)
        return 0


def test_a_count_that_is_null_passes_no_guard() -> None:
    """NULL is not unequal to anything: a statement that counts nothing would be taken for one that did its work."""
    noted: Any = Noted()
    ledger = BigQueryLedger(noted, DIALECT, "m")
    ledger.fence(1)
    ledger.record(Chunk(NAME, 1, {}, 1, 1), 1)
    ledger.store_freely(1, Position("postgres", "s", "0/1", (1,)))
    ledger.end_hold("token")
    table = Table(NAME, (Column("id", WHOLE, nullable=False),), ("id",))
    on = StagedPair(0, table, table, DIALECT, "rows_1")
    noted.sent += [*statements.put(on, 1, deletes=True), *statements.add_images(on, 1)]
    counted = [sql for sql in noted.sent if "@@row_count" in sql]
    assert len(counted) == 6
    assert [sql for sql in counted if re.search(r"(?<!COALESCE\()@@row_count", sql)] == []


@pytest.mark.parametrize("native", ["BYTES(16)", "FLOAT64", "TIME"])
def test_keys_of_types_that_no_key_takes_are_not_written_down(native: str) -> None:
    """Nor is the table in their order; the other columns of the key still are."""
    arrows = {"BYTES(16)": pa.binary(), "FLOAT64": pa.float64(), "TIME": pa.time64("us")}
    odd = ColumnType(arrows[native], native, length=16 if native.startswith("BYTES") else None)
    columns = (Column("id", ColumnType(pa.int64(), "bigint"), nullable=False), Column("odd", odd, nullable=False))
    table = Table(NAME, columns, ("id", "odd"))
    made = render(DIALECT, convert(DIALECT, [table], {"shop": "shop"})).tables[-1]
    assert f"`odd` {native} NOT NULL" in made
    assert "PRIMARY KEY" not in made
    assert made.endswith("CLUSTER BY `id`")


def test_a_decimal_without_digits_before_its_point_is_asked_for_by_its_type_alone() -> None:
    """Requests refuse a precision that equals the scale, which SQL takes."""
    assert _field("d", "BIGNUMERIC(38,38)").to_api_repr() == {"name": "d", "type": "BIGNUMERIC", "mode": "NULLABLE"}
    assert _field("d", "NUMERIC(12,2)").to_api_repr()["precision"] == 12


def test_of_a_ledger_the_table_by_which_it_is_found_goes_last() -> None:
    """One that is half gone is found again, and the next removal takes the rest."""
    noted: Any = Noted()
    BigQueryLedger(noted, DIALECT, "m").remove()
    names = [found[1] for sql in noted.sent if (found := re.search(r"`(\w+)_[0-9a-f]{16}`", sql))]
    assert names == ["owned", "loaded", "chunks", "tables", "progress"]


def test_a_job_that_begins_between_two_questions_is_seen() -> None:
    """A cleanup that missed it would drop what it writes to, and take it for done."""
    states = {"whimbrel-op-1": "pending", "whimbrel-op-2": "running", "whimbrel-other-3": "pending"}

    def list_jobs(state_filter: str, **_: Any) -> list[Any]:
        found = [SimpleNamespace(job_id=id) for id, state in states.items() if state == state_filter]
        for id, state in states.items():
            if state == "pending":
                states[id] = "running"
        return found

    session = BigQuerySession.__new__(BigQuerySession)
    session.client = SimpleNamespace(list_jobs=list_jobs)
    assert sorted(session.jobs("whimbrel-op-")) == ["whimbrel-op-1", "whimbrel-op-2"]


def test_documents_that_are_one_there_are_one_before_rows_are_counted() -> None:
    """So that no two staged rows remove one row, which BigQuery refuses; it costs two statements, and others none."""
    table = Table(NAME, (Column("id", WHOLE), Column("doc", DOCUMENT)))
    plain = Table(NAME, (Column("id", WHOLE),))
    found = [statements.remove_images(StagedPair(0, t, t, DIALECT, "rows_1")) for t in (table, plain)]
    assert [len(one) for one in found] == [7, 5]
