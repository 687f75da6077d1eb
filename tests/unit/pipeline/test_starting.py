"""Where a change phase begins, and when it must not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from whimbrel.connectors.protocols import LoadState, TableLoad
from whimbrel.errors import LayoutChanged
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Column, ColumnType, Table
from whimbrel.pipeline.starting import start_of_database

NUMBER = ColumnType(pa.int32(), "int")
TABLE = Table(TableName("s", "t"), tuple(Column(name, NUMBER) for name in ("id", "a", "b")), primary_key=("id",))
SWAPPED = replace(TABLE, columns=tuple(Column(name, NUMBER) for name in ("id", "b", "a")))
HERE = Position("mysql", "uuid", "binlog.000001:4", (1, 4))


def start(type: str, tables: dict[TableName, TableLoad]) -> Position:
    """Go on with a table whose columns have changed places since it was loaded."""
    pair: Any = SimpleNamespace(
        job=SimpleNamespace(migration="m", operation="op", source=SimpleNamespace(type=type)), tables=(SWAPPED,)
    )
    state = LoadState(1, "op", HERE, data_complete=True, snapshots=1, tables=tables)
    checkpoint: Any = SimpleNamespace(state=lambda: state)
    return start_of_database(pair, checkpoint, 1, resume=True, position=None, handoff=False)


def test_a_log_without_names_is_not_read_by_another_layout() -> None:
    loaded = {TABLE.name: TableLoad(TABLE.fingerprint, (), {}, finished=True)}
    for type in ("mysql", "mariadb"):
        with pytest.raises(LayoutChanged, match=r"s\.t"):
            start(type, loaded)
    assert start("postgres", loaded) == HERE  # its log names them
    assert start("mysql", {TABLE.name: TableLoad(SWAPPED.fingerprint, (), {}, finished=True)}) == HERE
    assert start("mysql", {}) == HERE  # replicated without a load
