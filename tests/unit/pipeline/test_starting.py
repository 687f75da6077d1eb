"""Where a change phase begins, and when it must not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from tests.suite.running import Watch
from whimbrel.connectors.protocols import LoadState
from whimbrel.errors import LayoutChanged
from whimbrel.model.difference import Difference, Kind
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Column, ColumnType, Table
from whimbrel.pipeline.changes.starting import start_of_database
from whimbrel.pipeline.pair import Pair

NUMBER = ColumnType(pa.int32(), "int")
TABLE = Table(TableName("s", "t"), tuple(Column(name, NUMBER) for name in ("id", "a", "b")), primary_key=("id",))
SWAPPED = replace(TABLE, columns=tuple(Column(name, NUMBER) for name in ("id", "b", "a")))
HERE = Position("mysql", "uuid", "binlog.000001:4", (1, 4))


@dataclass
class Ends:
    """Both ends, and the progress that the target keeps: a table whose columns changed places since it was known."""

    layouts: dict[TableName, str]
    differing: tuple[Difference, ...] = ()
    asked: list[TableName] = field(default_factory=list)

    def state(self) -> LoadState:
        return LoadState(1, "op", HERE, data_complete=True, snapshots=1, layouts=self.layouts)

    def save_layouts(self, epoch: int, tables: Sequence[Table]) -> None:
        self.layouts |= {t.name: t.fingerprint for t in tables}

    def differences(self, tables: Sequence[Table]) -> tuple[Difference, ...]:
        return self.differing

    def nonempty(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        return ()  # no older rows: what they hold is asked of real servers

    def accept_columns(self, job: Any, tables: Sequence[Table]) -> tuple[TableName, ...]:
        self.asked += [t.name for t in tables]
        return tuple(t.name for t in tables)


def start(type: str, ends: Ends) -> Position:
    job: Any = SimpleNamespace(migration="m", operation="op", source=SimpleNamespace(type=type))
    both: Any = ends
    pair = Pair(job, both, both, (SWAPPED,), (SWAPPED.on_target(TableName("x", "t")),), {})
    return start_of_database(pair, both, 1, Watch(), resume=True, position=None, handoff=False)


def test_a_log_without_names_is_not_read_by_another_layout() -> None:
    for type in ("mysql", "mariadb"):
        with pytest.raises(LayoutChanged, match=r"s\.t"):
            start(type, Ends({TABLE.name: TABLE.fingerprint}))
    assert start("mysql", Ends({TABLE.name: SWAPPED.fingerprint})) == HERE


def test_what_nobody_has_stored_is_stored_at_the_next_start() -> None:
    ends = Ends({})
    assert start("mysql", ends) == HERE
    assert ends.layouts == {TABLE.name: SWAPPED.fingerprint}


@pytest.mark.parametrize(
    ("differing", "followed"),
    [((), True), (("t",), False), (("tt",), True), (("tt", "t"), False)],
)
def test_the_source_goes_on_by_new_columns_that_the_target_has(differing: tuple[str, ...], followed: bool) -> None:
    missing = (Difference(TableName("x", name), "b", Kind.MISSING, "is missing", fatal=True) for name in differing)
    ends = Ends({TABLE.name: TABLE.fingerprint}, tuple(missing))
    assert start("postgres", ends) == HERE  # its log names them
    assert ends.asked == [TABLE.name] * followed
    assert ends.layouts == {TABLE.name: (SWAPPED if followed else TABLE).fingerprint}
