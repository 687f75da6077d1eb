"""What a log does not show, or not in time, on whole migrations: before a snapshot, during a load, while paused.

A partitioned table and one without a key between two PostgreSQL servers, compared by psql.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from tests.engines import SCHEMA
from tests.suite.running import Running, Watch, replicating
from tests.suite.world import World
from whimbrel.errors import Interrupted, LayoutChanged, SourceInterrupted, TargetNotEmpty, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.changes.replication import replicate
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.schema import apply_schema, extract_schema

TABLES = """
create schema suite;
create table suite.parted (id int primary key, note text) partition by range (id);
create table suite.parted_a partition of suite.parted for values from (0) to (100);
create table suite.parted_b partition of suite.parted for values from (100) to (200);
create table suite.nokey (a int, b text);
alter table suite.nokey replica identity full;
create table suite.old (id int primary key, note text);
insert into suite.parted select n, 'note ' || n from generate_series(0, 199) n;
insert into suite.nokey select n % 10, 'b' from generate_series(0, 99) n;
insert into suite.old select n, 'old ' || n from generate_series(200, 249) n;
"""
ATTACH = "alter table parted attach partition old for values from (200) to (300);"


@dataclass(frozen=True)
class Parted:
    """``begun`` are the change phases that were ever begun."""

    world: World
    begun: list[Running] = field(default_factory=list)

    def job(self, operation: str) -> Job:
        names = (TableName(SCHEMA, "parted"), TableName(SCHEMA, "nokey"))
        return replace(self.world.job(operation), tables=names)

    def change(self, sql: str) -> None:
        self.world.source.change(sql)

    def equal(self) -> bool:
        """Whether both ends show psql the same rows."""
        query = "select t::text from (select p::text from suite.parted p union all select n::text from suite.nokey n) t"
        source, target = (sorted(side.run(query).splitlines()) for side in (self.world.source, self.world.target))
        return source == target

    def follow(
        self, *, operation: str = "op", resume: bool = False, position: str | None = None, handoff: bool | None = None
    ) -> Running:
        """The change phase; unless told otherwise it goes on from the load."""
        handoff = handoff if handoff is not None else not resume and position is None
        job = self.job(operation)
        self.begun.append(
            Running(lambda watch: replicate(job, watch, resume=resume, position=position, handoff=handoff))
        )
        return self.begun[-1]

    def settle(self, running: Running) -> str:
        """Wait until both ends are equal, end it, and return the position that its status shows."""
        running.wait(lambda: running.watch.caught_up and self.equal(), 30, "both ends to be equal", every=0.2)
        running.end()
        assert running.watch.last is not None
        return running.watch.last.position

    def refused(self, running: Running, match: str) -> str:
        with pytest.raises(LayoutChanged, match=match):
            running.wait_ended(30)
        assert running.watch.last is not None
        return running.watch.last.position


@pytest.fixture
def parted(world: World) -> Iterator[Parted]:
    """The tables on both ends, rows on the source alone."""
    world.source.run(TABLES)
    made = Parted(world)
    extract_schema(made.job("schema"), Watch())
    apply_schema(made.job("schema"), Watch(), None)
    yield made
    for running in made.begun:
        with suppress(WhimbrelError):
            running.end()


on_postgres = pytest.mark.parametrize("world", [("postgres15", "postgres18")], indirect=True)


class Once(Watch):
    """Does something on the source once the load is planned, before its snapshot is opened."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.act: Callable[[], None] | None = act

    def all_tables(self, progress: object) -> None:
        act, self.act = self.act, None
        if act is not None:
            act()


AGAIN = "drop table nokey; create table nokey (a int, b text); alter table nokey replica identity full;"


@on_postgres
@pytest.mark.parametrize(
    ("sql", "capture"),
    [
        (ATTACH, True),
        (ATTACH, False),
        ("vacuum full parted_a; truncate parted_b;", True),
        (f"{AGAIN} insert into nokey values (1, 'again');", True),
    ],
    ids=["attached", "attached, rows only", "rewritten", "made again"],
)
def test_what_changes_between_plan_and_snapshot_is_planned_again(parted: Parted, capture: bool, sql: str) -> None:
    job = parted.job("op")
    with pytest.raises(SourceInterrupted, match="planning again"):
        copy_data(job, Once(lambda: parted.change(sql)), capture=capture, resume=False)
    parted.change("insert into nokey values (77, 'between two attempts');")  # once, whatever slot is there by now
    copy_data(job, Watch(), capture=capture, resume=False)
    assert parted.equal()
    if capture:
        parted.change("insert into nokey values (78, 'and later');")
        parted.settle(parted.follow())
        clean_up(job, remove_capture=True)


@on_postgres
def test_a_column_added_between_plan_and_snapshot_ends_the_load(parted: Parted) -> None:
    add = Once(lambda: parted.change("alter table parted add extra int default 7;"))
    with pytest.raises(LayoutChanged, match=r"suite\.parted: changed columns"):
        copy_data(parted.job("op"), add, capture=True, resume=False)
    clean_up(parted.job("op"), remove_capture=False)
    assert parted.world.source.run("select count(*) from pg_replication_slots where not temporary") == "0"


@on_postgres
def test_a_partition_attached_during_a_load_begins_it_again(parted: Parted) -> None:
    """It was attached after the snapshot that the first attempt loaded everything from; the second notices."""

    class Fails(Watch):
        def phase(self, name: str) -> None:
            if name == "indexes":
                parted.change(ATTACH)
                raise Interrupted

    job = parted.job("op")
    with pytest.raises(Interrupted):
        copy_data(job, Fails(), capture=True, resume=False)
    watch = Watch()
    copy_data(job, watch, capture=True, resume=False)
    assert [line for _, line in watch.lines if "partition suite.old was attached" in line]
    assert parted.equal()
    parted.settle(parted.follow())
    clean_up(job, remove_capture=True)


@on_postgres
def test_what_was_done_while_paused_or_away_is_told(parted: Parted) -> None:
    """And how one goes on: once the target has the same columns; with the rest by naming the position after repair."""
    job = parted.job("op")
    copy_data(job, Watch(), capture=True, resume=False)
    running = parted.follow()
    running.wait(lambda: running.watch.caught_up, 30, "to catch up")
    running.watch.pause.set()
    running.wait(running.watch.resting.is_set, 10, "to come to rest")
    parted.change(f"insert into nokey values (80, 'before'); {ATTACH} insert into parted values (290, 'after');")
    running.watch.pause.clear()
    position = parted.refused(running, r"partition suite\.old was attached")
    for _ in range(2):  # it stays so, whoever tries, until somebody says that he knows
        assert parted.refused(parted.follow(resume=True, operation="again"), r"suite\.old") == position
    parted.world.target.run("insert into suite.parted select n, 'old ' || n from generate_series(200, 249) n")
    parted.settle(parted.follow(position=position, operation="mended"))
    parted.change("alter table parted add extra int; update parted set extra = 1 where id = 150;")
    parted.refused(parted.follow(resume=True, operation="wide"), "columns were changed on the source: extra")
    parted.world.target.run("alter table suite.parted add extra int")
    running = parted.follow(resume=True, operation="wide")
    parted.settle(running)
    assert [line for _, line in running.watch.lines if "going on with the new columns" in line]
    parted.change("alter table parted drop note, add note text;")  # the target looks the same, and holds old notes
    parted.refused(parted.follow(resume=True, operation="last"), "columns were changed on the source: note")
    clean_up(job, remove_capture=True)


@on_postgres
def test_a_load_after_replication_alone_takes_rows_for_nobodys(parted: Parted) -> None:
    """What tables looked like is stored when replication begins; it is no plan, and makes nobody's rows ours."""
    copy_data(parted.job("rows"), Watch(), capture=False, resume=False)
    alone = parted.follow(operation="alone", handoff=False)
    alone.wait(lambda: alone.watch.caught_up, 30, "replication to run")
    parted.change("insert into nokey values (90, 'x');")
    parted.settle(alone)
    stored = parted.world.target.run("select count(*) from whimbrel.tables where migration like 'suite%'")
    assert (stored, parted.world.target.run("select count(*) from whimbrel.chunks")) == ("2", "0")
    with pytest.raises(TargetNotEmpty):
        copy_data(parted.job("load"), Watch(), capture=False, resume=False)
    assert parted.equal()
    clean_up(parted.job("alone"), remove_capture=True)


@pytest.mark.parametrize("world", [("mariadb", "postgres15")], indirect=True)
def test_a_log_without_names_is_not_read_by_columns_that_came_later(world: World) -> None:
    """MariaDB's log tells no names: two columns of one type that change places would be taken for each other."""
    world.make(rows=20)
    extract_schema(world.job("schema"), Watch())
    apply_schema(world.job("schema"), Watch(), None)
    copy_data(world.job("rows"), Watch(), capture=False, resume=False)
    with replicating(world, "op", handoff=False) as running:
        running.wait(lambda: running.watch.caught_up, 30, "replication to run")
    world.source.change(
        "", "update parent set name = 'before' where id = 1; alter table parent modify name text after email;"
    )
    with pytest.raises(LayoutChanged, match=r"suite\.parent"), replicating(world, "op", handoff=False) as running:
        running.wait_ended(30)
    clean_up(world.job("op"), remove_capture=True)
