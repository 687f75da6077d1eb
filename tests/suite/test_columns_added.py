"""Columns that are added on the source while its changes are followed: what older rows hold in them is in no log, so
going on needs a target of which it can be seen that it holds the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engines import SCHEMA, Side
from tests.suite.running import Running, Watch
from tests.suite.world import World
from whimbrel.connectors.postgres.connection import literal
from whimbrel.errors import LayoutChanged
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.changes.replication import replicate
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.schema import apply_schema, extract_schema
from whimbrel.pipeline.validation.repair import repair_data
from whimbrel.pipeline.validation.tables import validate_data

on_postgres = pytest.mark.parametrize(
    "world",
    [
        pytest.param(("postgres15", "mysql"), id="mysql"),
        pytest.param(("postgres15", "postgres18"), id="postgres", marks=pytest.mark.long),
    ],
    indirect=True,
)
PARTED = """
create table suite.parted (id int primary key, note text) partition by range (id);
create table suite.parted_a partition of suite.parted for values from (0) to (100);
insert into suite.parted select n, 'note ' || n from generate_series(1, 20) n;
"""


def about(world: World, operation: str) -> Job:
    return replace(world.job(operation), tables=(TableName(SCHEMA, "twokeys"), TableName(SCHEMA, "parted")))


def follow(world: World, operation: str, *, handoff: bool = False, position: str | None = None) -> str:
    """Follow until the two ends show the same; then end it and return the position that its status shows."""
    job, resume = about(world, operation), not handoff and position is None
    running = Running(lambda watch: replicate(job, watch, resume=resume, position=position, handoff=handoff))
    running.wait(lambda: running.watch.caught_up and rows(world.source) == rows(world.target), 30, "equal ends", 0.3)
    running.end()
    assert running.watch.last is not None
    return running.watch.last.position


def refused(world: World, match: str) -> LayoutChanged:
    with pytest.raises(LayoutChanged, match=match) as found:
        replicate(about(world, "refused"), Watch(), resume=True, position=None, handoff=False)
    return found.value


def rows(side: Side) -> list[str]:
    """Each row of both tables as the server's own client shows it, empty fields for NULL."""
    shown = []
    for table in ("twokeys", "parted"):
        listed = side.run(
            "select column_name from information_schema.columns where table_schema = 'suite' and table_name = "
            f"{literal(table)} order by ordinal_position"
        ).split()
        names = ", ".join(f"rtrim(coalesce(cast({name} as char(40)), '-'))" for name in listed)
        text = side.run(f"select concat_ws('|', {names}) from suite.{table}")
        shown += text.splitlines()
    return sorted(shown)


@on_postgres
def test_resume_needs_a_target_whose_older_rows_are_seen_to_be_right(world: World) -> None:
    source, target = world.source, world.target
    uuid, text = ("uuid", "text") if target.is_postgres else ("char(36)", "longtext")
    world.make(rows=5)
    source.run(PARTED)
    job = about(world, "load")
    extract_schema(job, Watch())
    apply_schema(job, Watch(), None)
    copy_data(job, Watch(), capture=True, resume=False)
    position = follow(world, "load", handoff=True)

    # Each row a value of its own: nothing but the values themselves will do.
    source.change("alter table twokeys add c uuid default gen_random_uuid(); update twokeys set v = 'x' where a = 3")
    refused(world, "columns were changed on the source: c")
    target.run(f"alter table suite.twokeys add c {uuid}")
    error = refused(world, r"suite\.twokeys\.c \(not one value")
    assert error.extra["tables"] == ["suite.twokeys"]
    assert "resume=false" in error.how_to_fix
    source.change("alter table twokeys alter c drop default; alter table parted add c uuid")
    target.run(f"alter table suite.parted add c {uuid}")
    assert "parted" not in refused(world, r"suite\.twokeys\.c \(not one value").message
    found = validate_data(about(world, "validate"), Watch(), 100)
    assert repair_data(about(world, "repair"), Watch(), found, "validate")["valid"]
    position = follow(world, "mended", position=position)

    # One value, and the target does not have it; then it has.
    source.change("alter table twokeys add d int not null default 7; insert into twokeys (a, b) values (90, 'new')")
    source.change("alter table parted add d int not null default 8")
    target.run("alter table suite.twokeys add d int; alter table suite.parted add d int not null default 9")
    message = refused(world, r"suite\.twokeys\.d \(rows of the target hold something else").message
    assert "suite.parted.d (rows of the target hold something else" in message
    target.run("update suite.twokeys set d = 7; alter table suite.parted drop column d;")
    target.run("alter table suite.parted add d int not null default 8")
    follow(world, "constant")

    # NULL, and what VACUUM FULL has made the catalog forget; every row was written anew since.
    source.change("alter table twokeys add e text, add f numeric(10,2) default 1.5; alter table parted add e date;")
    source.change("update parted set note = 'again'")
    source.run("vacuum full suite.twokeys")
    source.change("alter table twokeys alter e set default 'later'; insert into twokeys (a, b) values (91, 'newer')")
    target.run(
        f"alter table suite.twokeys add e {text}, add f decimal(10,2) default 1.6; alter table suite.parted add e date"
    )
    message = refused(world, r"suite\.twokeys\.f \(").message
    assert "twokeys.e" not in message
    assert "parted" not in message
    target.run("update suite.twokeys set f = 1.5")
    follow(world, "nothing")

    # No rows left of before, on one end or the other.
    source.change("alter table twokeys add g serial; delete from twokeys")
    target.run("alter table suite.twokeys add g int")
    follow(world, "emptied")
    source.change("alter table twokeys add h serial")
    target.run("alter table suite.twokeys add h int")
    source.change("insert into twokeys (a, b) values (1, 'again')")
    follow(world, "filled")
    clean_up(about(world, "load"), remove_capture=True)


@pytest.mark.parametrize("world", [("mysql", "postgres18")], indirect=True, ids=["mysql-postgres"])
def test_a_table_whose_log_has_no_names_is_loaded_again(world: World) -> None:
    """And the other tables go on meanwhile: it leaves the migration, changes on the target too, and joins again."""
    world.make(rows=5)
    world.source.run("create table suite.parted (id int primary key, note text); insert suite.parted values (1, 'one')")
    job = about(world, "load")
    extract_schema(job, Watch())
    apply_schema(job, Watch(), None)
    copy_data(job, Watch(), capture=True, resume=False)
    follow(world, "load", handoff=True)
    # with statements in the log, as a default that differs from row to row is not allowed there otherwise
    world.source.change(
        "", "insert into parted values (2, 'two'); alter table twokeys add c varchar(36) default 'x';"
        "update twokeys set c = uuid(); insert into twokeys (a, b) values (90, 'new')"
    )  # fmt: skip
    refused(world, r"suite\.twokeys: not the columns")
    world.target.run("alter table suite.twokeys add c varchar(36)")
    refused(world, r"suite\.twokeys: not the columns")
    alone = replace(about(world, "alone"), tables=(TableName(SCHEMA, "parted"),))
    running = Running(lambda watch: replicate(alone, watch, resume=True, position=None, handoff=False))
    running.wait(lambda: "2" in world.target.run("select id from suite.parted"), 30, "the other table to go on", 0.3)
    running.end()
    clean_up(alone)
    world.target.run("truncate suite.twokeys")
    copy_data(about(world, "again"), Watch(), capture=True, resume=True)
    world.source.change("", "update twokeys set c = uuid() where a = 3; insert into parted values (3, 'three')")
    follow(world, "again", handoff=True)
    clean_up(about(world, "again"), remove_capture=True)
