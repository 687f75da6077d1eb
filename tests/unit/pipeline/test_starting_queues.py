"""Where a queue begins: a position that was there and is gone is no beginning, and a slot for nobody is not kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.suite.running import Watch
from tests.unit.pipeline.test_starting import SWAPPED, TABLE
from whimbrel.connectors.protocols import QueueState
from whimbrel.errors import (
    LayoutChanged,
    PositionLost,
    ReplicationFailed,
    TargetInterrupted,
    TargetPermissionDenied,
    WhimbrelError,
)
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table
from whimbrel.pipeline.changes.starting import start_of_queue, start_of_queue_beside
from whimbrel.pipeline.packet import QueueMirror, write_packet

OLD, NOW = (Position("postgres", "s/1", f"0/{n}", (n,)) for n in (1, 9))


@dataclass
class Source:
    """Stands at NOW and has its log since OLD."""

    slot: bool = False
    accepts: tuple[TableName, ...] = ()

    def prepare_changes(self, job: Job, tables: Any) -> Position:
        self.slot = True
        return NOW

    def parse_position(self, text: str) -> Position:
        return OLD

    def require_point(self, position: Position) -> None: ...

    def holds(self, job: Job, position: Position) -> bool:
        return self.slot

    def cleanup(self, job: Job) -> None:
        self.slot = False

    def accept_columns(self, job: Job, tables: Any) -> tuple[TableName, ...]:
        return self.accepts


@dataclass
class Writer:
    stored: QueueState | None = None
    refuses: WhimbrelError | None = None
    keeps_position_in: str = "t-whimbrel-m"
    restarted: list[QueueState] = field(default_factory=list)

    def recover(self) -> QueueState | None:
        return self.stored

    def restart(self, state: QueueState) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.restarted.append(state)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    end = Endpoint("e", "postgres", {})
    return Job("m", "op", end, end, (), tmp_path)


def begin(
    job: Job,
    source: Source,
    writer: Writer,
    *tables: Table,
    resume: bool = False,
    position: str | None = None,
    watch: Watch | None = None,
) -> Position:
    found: Any = (source, writer)
    return start_of_queue(found[0], job, tables, found[1], watch or Watch(), resume=resume, position=position)


def remember(job: Job, kept_in: str = "t-whimbrel-m", begun_by: str = "op") -> None:
    """An earlier attempt has written where the queue stood."""
    mirror = QueueMirror(OLD, kept_in, begun_by)
    write_packet(job.workdir, "m", None, data_complete=False, queue=mirror)


def test_a_first_start_begins_now(job: Job) -> None:
    writer = Writer()
    assert begin(job, Source(), writer) == NOW
    assert writer.restarted == [QueueState("op", NOW)]


def test_an_attempt_that_finds_its_position_gone_does_not_begin_anew(job: Job) -> None:
    remember(job)
    source, writer = Source(slot=True), Writer()
    for resume in (False, True):
        with pytest.raises(PositionLost, match=r"t-whimbrel-m .* which was 0/1") as lost:
            begin(job, source, writer, resume=resume)
    assert (source.slot, writer.restarted) == (True, [])
    later = replace(job, operation="later")
    assert begin(later, source, writer, position=str(lost.value.extra["position"])) == OLD
    assert begin(later, source, Writer()) == NOW, "another operation may begin afresh"


def test_what_is_remembered_of_another_queue_says_nothing(job: Job) -> None:
    remember(job, kept_in="other-whimbrel-m")
    assert begin(job, Source(), Writer()) == NOW
    with pytest.raises(ReplicationFailed, match="no stored position"):
        begin(job, Source(), Writer(), resume=True)


def test_beside_a_database_too(job: Job) -> None:
    writer: Any = Writer()
    assert start_of_queue_beside(job, writer, "op", NOW) == NOW
    remember(job)
    with pytest.raises(PositionLost):
        start_of_queue_beside(job, writer, "op", NOW)
    assert start_of_queue_beside(job, writer, "reloaded", NOW) == NOW
    writer.stored = QueueState("op", OLD)
    assert start_of_queue_beside(job, writer, "op", NOW) == OLD


@pytest.mark.parametrize(
    ("refuses", "position", "kept"),
    [
        (TargetPermissionDenied("no"), None, False),
        (TargetInterrupted("perhaps"), None, True),
        (TargetPermissionDenied("no"), "0/1", True),
    ],
)
def test_a_slot_that_nobody_can_go_on_from_is_dropped(
    job: Job, refuses: WhimbrelError, position: str | None, kept: bool
) -> None:
    source = Source(slot=position is not None)
    with pytest.raises(type(refuses)):
        begin(job, source, Writer(refuses=refuses), position=position)
    assert source.slot is kept


def test_what_tables_looked_like_is_remembered_where_the_log_does_not_say(job: Job) -> None:
    """Also by a migration that began before it was: from its next start on."""
    mysql = replace(job, source=Endpoint("e", "mysql", {}))
    writer = Writer(QueueState("op", OLD))
    assert begin(mysql, Source(), writer, TABLE) == OLD
    with pytest.raises(LayoutChanged, match=r"s\.t"):
        begin(mysql, Source(), writer, SWAPPED, resume=True)
    assert begin(mysql, Source(), Writer(), SWAPPED) == NOW
    with pytest.raises(LayoutChanged, match=r"s\.t"):
        begin(mysql, Source(), writer, TABLE)
    assert begin(mysql, Source(), Writer(QueueState("another", OLD)), TABLE, resume=True) == OLD


def test_columns_that_a_queue_goes_on_with_are_told(job: Job) -> None:
    watch = Watch()
    found = Source(accepts=(TABLE.name,))
    assert begin(job, found, Writer(QueueState("op", OLD)), TABLE, watch=watch) == OLD
    assert [line for _, line in watch.lines if line.startswith("s.t: other columns")]
