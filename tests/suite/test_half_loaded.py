"""A load that ended with one table half loaded, and goes on after rows have moved between the ranges of its chunks.

Each kind of table: without a key, with a unique key beside its key, and with a key alone, which only a second snapshot
completes. Ended by a stop or by SIGKILL of the whole process, taken up by the same operation or by a new one; what is
compared is read by the servers' own clients.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import running_server
from tests.engines import Side, side_of
from tests.servers.fleet import SERVERS, Fleet
from tests.servers.process import wait_until
from tests.suite.running import Running, Watch
from whimbrel.errors import Interrupted
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.progress import TableProgress
from whimbrel.pipeline.changes.replication import replicate
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.packet import data_is_complete

SCHEMA = "half"
ROWS = {"keyless": 36, "uniq": 30, "keyed": 24}  # read in this order: what cannot be mixed first, then the largest
PAD = "x" * 2600  # three rows a block
IN_FILE = 3
STOPPED_AT = 2  # files of the table; two more may be in hand


@dataclass(frozen=True)
class Ends:
    source: Side
    target: Side
    workdir: Path

    def make(self) -> None:
        for side in (self.source, self.target):
            side.run(f"create schema {SCHEMA}" if side.is_postgres else f"create database {SCHEMA}")
            for name in ROWS:
                keys = {"keyless": "", "uniq": ", primary key (id), unique (u)", "keyed": ", primary key (id)"}[name]
                side.change(f"create table {name} (id int not null, u int, v int, pad varchar(3000) not null{keys})")
                if side.is_postgres:
                    side.change(f"alter table {name} alter pad set storage plain, replica identity full")
        for name, rows in ROWS.items():
            values = ", ".join(f"({n}, {n}, 0, '{PAD}')" for n in range(1, rows + 1))
            self.source.change(f"insert into {name} values {values}")
            self.source.run(f"{'analyze' if self.source.is_postgres else 'analyze table'} {SCHEMA}.{name}")

    def job(self, operation: str) -> Job:
        ends = (self.source.endpoint("source"), self.target.endpoint("target"))
        tables = tuple(TableName(SCHEMA, t) for t in ROWS)
        return Job("half", operation, *ends, tables, self.workdir, threads=1, rows_per_file=IN_FILE)

    def move_rows(self, turn: int) -> None:
        """Between key ranges and, on PostgreSQL, blocks: forward, backward, and a unique value from row to row."""
        first, last = 4 + turn, 20 - turn
        for name in ROWS:
            self.source.change(f"delete from {name} where id = {turn}")
            if self.source.is_postgres:
                self.source.run(f"vacuum {SCHEMA}.{name}")  # so that an early block has room for a late row
            self.source.change(
                f"begin; update {name} set v = v + 1 where id in ({last}, {last - 6}, {first});"
                f"update {name} set id = id + {1000 * turn}, v = {turn} where id = {first};"
                f"update {name} set id = id - {1000 * turn}, v = {turn} where id = {last};"
                f"update {name} set u = {500 + turn} where id = {first + 4};"
                f"update {name} set u = {first + 4} where id = {last - 4};"
                f"insert into {name} values ({300 + turn}, {last - 4}, {turn}, 'new'); commit"
            )

    def rows(self, side: Side) -> dict[str, list[str]]:
        query = f"select id, u, v, length(pad) from {SCHEMA}.%s order by 1, 2, 3"
        return {name: side.run(query % name).replace("|", "\t").splitlines() for name in ROWS}

    def loaded(self) -> dict[str, tuple[int, int]]:
        """By table: chunks that the target has, of how many."""
        found = self.target.run(
            "select c.source_table, count(l.number), count(*) from whimbrel.chunks c left join whimbrel.loaded l "
            "on (l.migration, l.source_table, l.number) = (c.migration, c.source_table, c.number) "
            "group by c.source_table"
        )
        lines = (line.replace("|", "\t").split("\t") for line in found.splitlines())
        return {name: (int(done), int(all_)) for name, done, all_ in lines}


class Ended(Watch):
    """Ends the load in the midst of a table."""

    def __init__(self, table: str, *, kill: bool) -> None:
        super().__init__()
        self.midst, self.kill = f"{SCHEMA}.{table}", kill

    def table(self, progress: TableProgress) -> None:
        super().table(progress)
        if (progress.table, progress.files_done) == (self.midst, STOPPED_AT):
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            self.stop.set()


def die_loading(job: Job, table: str) -> None:
    copy_data(job, Ended(table, kill=True), capture=True, resume=False)


def end_in(ends: Ends, table: str, *, kill: bool) -> None:
    job = ends.job("first")
    if kill:
        process = multiprocessing.get_context("spawn").Process(target=die_loading, args=(job, table))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        return
    with pytest.raises(Interrupted):
        copy_data(job, Ended(table, kill=False), capture=True, resume=False)
    clean_up(job)


@pytest.fixture
def ends(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[Ends]:
    source, target = (
        side_of(running_server(fleet, name), SERVERS[name], f"half_{role}", SCHEMA)
        for name, role in zip(request.param, ("source", "target"), strict=True)
    )
    for side in (source, target):
        side.drop_leftovers()
    made = Ends(source, target, tmp_path)
    made.make()
    yield made
    for side in (source, target):
        side.drop_leftovers()


PAIRS = (("postgres18", "mysql"), ("mysql", "postgres18"))
BRIEF = (  # in `make test`; all others by `make test-long`
    (PAIRS[0], "keyless", "killed", "same"),
    (PAIRS[0], "uniq", "stopped", "new"),
    (PAIRS[1], "keyed", "killed", "new"),
)
CASES = [
    case
    for case in itertools.product(PAIRS, ROWS, ("stopped", "killed"), ("same", "new"))
    if case[:2] != (PAIRS[1], "keyless")  # one chunk on MySQL, which is there or is not
]


@pytest.mark.parametrize(
    ("ends", "table", "end", "by"),
    [
        pytest.param(*case, marks=() if case in BRIEF else pytest.mark.long, id="-".join((*case[0], *case[1:])))
        for case in CASES
    ],
    indirect=["ends"],
)
def test_going_on(ends: Ends, table: str, end: str, by: str) -> None:
    end_in(ends, table, kill=end == "killed")
    done, planned = ends.loaded()[table]
    assert 0 < done < planned
    ends.move_rows(1)

    second = ends.job("first" if by == "same" else "second")
    if by == "new":
        assert not data_is_complete(second)

    class Meanwhile(Watch):
        def phase(self, name: str) -> None:
            super().phase(name)
            if name == "data":
                ends.move_rows(2)

    watch = Meanwhile()
    copy_data(second, watch, capture=True, resume=by == "new")
    assert "data" in watch.phases
    snapshots = ends.target.run("select snapshots from whimbrel.progress where migration = 'half'").strip()
    assert snapshots == ("2" if table == "keyed" else "1"), "only what has a key alone is completed by a second one"
    running = Running(lambda w: replicate(second, w, resume=by == "new", position=None, handoff=True))
    ends.move_rows(3)
    running.wait(lambda: running.watch.caught_up, 30, "lag 0")
    wait_until(lambda: ends.rows(ends.source) == ends.rows(ends.target), 20, "both ends to be equal", 0.3)
    running.end()
    assert ends.rows(ends.source) == ends.rows(ends.target)
    clean_up(second, remove_capture=True)
