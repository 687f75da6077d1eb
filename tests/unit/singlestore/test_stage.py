"""What is sent of a staged file, and what is not asked of a server that might cut or replace it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from whimbrel.connectors.singlestore.connection import SingleStoreSession
from whimbrel.connectors.singlestore.stage import SingleStoreStage, loading
from whimbrel.errors import StagingDamaged, ValueRefused
from whimbrel.model.table import Annotation, Column, ColumnType


class Session(SingleStoreSession):
    """Takes what it is sent."""

    def __init__(self) -> None:
        self.statement, self.sent = "", b""

    def load(self, sql: str, blocks: Any, table: str) -> int:
        self.statement, self.sent = sql, b"".join(map(bytes, blocks))
        return self.sent.count(b"\n")


def sent(tmp_path: Path, column: pa.Array, type: ColumnType | None = None) -> bytes:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"v": column}), file)
    stage, session = SingleStoreStage(), Session()
    stage.expect([Column("v", type or ColumnType(column.type, "whatever"))])
    try:
        assert stage.load(session, stage.put(session, file), "db.t", ["v"]) == len(column)
    finally:
        assert [f.name for f in tmp_path.iterdir()] == ["rows.parquet"], "a staged file is gone whatever happened"
    return session.sent


def test_the_statement_names_columns_and_reads_bytes_as_hexadecimal() -> None:
    sql = loading("`d`.`t`", [("a`b", pa.int64()), ("raw", pa.binary())])
    assert sql.startswith("LOAD DATA LOCAL INFILE 'whimbrel-rows' INTO TABLE `d`.`t` CHARACTER SET utf8mb4 ")
    assert sql.endswith("(`a``b`, @v1) SET `raw` = UNHEX(@v1)")


@pytest.mark.parametrize(
    ("values", "type"),
    [
        ([date(999, 12, 31)], pa.date32()),
        ([None, datetime(1, 1, 1)], pa.timestamp("us")),
        ([datetime(999, 12, 31, 23, 59, 59)], pa.timestamp("us", tz="UTC")),
    ],
)
def test_days_before_the_year_1000_are_refused_by_table_and_column(tmp_path: Path, values: Any, type: Any) -> None:
    with pytest.raises(ValueRefused, match=r"db\.t, column v: a day before the year 1000"):
        sent(tmp_path, pa.array(values, type))


def test_the_first_day_and_the_last_pass(tmp_path: Path) -> None:
    days = pa.array([date(1000, 1, 1), None, date(9999, 12, 31)])
    assert sent(tmp_path, days) == b"1000-01-01\n\\N\n9999-12-31\n"


@pytest.mark.parametrize(
    ("value", "arrow", "length", "fits"),
    [
        ("🐦🐦", pa.string(), 2, True),
        ("🐦🐦🐦", pa.string(), 2, False),
        (b"\1\2", pa.binary(), 2, True),
        (b"\1\2\3", pa.binary(), 2, False),
        ("x" * 9999, pa.string(), None, True),
    ],
)
def test_what_is_longer_than_its_column_is_refused(
    tmp_path: Path, value: Any, arrow: pa.DataType, length: int | None, fits: bool
) -> None:
    column, type = pa.array([None, value], arrow), ColumnType(arrow, "x", length=length)
    if fits:
        sent(tmp_path, column, type)
    else:
        with pytest.raises(ValueRefused, match="longer than the 2") as refused:
            sent(tmp_path, column, type)
        assert str(value) not in str(refused.value.to_json())


@pytest.mark.parametrize(
    ("document", "written"),
    [
        (r'{"a": "\ud83d\ude00 \u00e9"}', '{"a": "😀 \\\\u00e9"}'),
        (r'{"a": "\\ud83d"}', r'{"a": "\\\\ud83d"}'),
        (None, r"\N"),
        (r'["\ud83d"]', None),
        (r'["\ude00\ud83d"]', None),
    ],
)
def test_documents_have_no_pairs_of_escapes(tmp_path: Path, document: str | None, written: str | None) -> None:
    json = ColumnType(pa.string(), "JSON", Annotation.JSON)
    if written is None:
        with pytest.raises(ValueRefused, match="half of a character"):
            sent(tmp_path, pa.array([document, "1"], pa.string()), json)
    else:
        assert sent(tmp_path, pa.array([document, "1"], pa.string()), json).decode() == f"{written}\n1\n"


def test_a_file_that_is_no_parquet_or_gone_is_said(tmp_path: Path) -> None:
    stage, session, file = SingleStoreStage(), Session(), tmp_path / "f"
    file.write_bytes(b"no file of ours")
    with pytest.raises(StagingDamaged):
        stage.load(session, stage.put(session, file), "db.t", ["v"])
    name = stage.put(session, file)
    stage.remove(session, name)
    stage.remove(session, name)
