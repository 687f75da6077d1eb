"""A standby as source: rows can be had from it, changes are refused, and what is refused leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.postgres import Postgres, ServerMissing, running, standby_of
from tests.servers.process import wait_until
from tests.unit.postgres.conftest import VERSIONS
from whimbrel.connectors.postgres import ENGINE
from whimbrel.connectors.postgres.source.reading import PostgresSource
from whimbrel.connectors.postgres.source.slots import position_at
from whimbrel.errors import LogDisabled, PositionForeign, SourceInterrupted
from whimbrel.model.chunk import Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName

NAMES = (TableName("public", "t"), TableName("public", "bare"))
TABLES = """
create table t (id int primary key, v text); insert into t select g, 'v' || g from generate_series(1, 1000) g;
create table bare (x int); insert into bare values (1), (1), (null); create unlogged table gone (id int primary key);
"""


@pytest.fixture(scope="module", params=VERSIONS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Postgres, Postgres]]:
    """A primary and its standby, which lets the primary end its readers at once."""
    try:
        with running(request.param) as primary:
            primary.psql(TABLES)
            with standby_of(primary, max_standby_streaming_delay="0") as standby:
                yield primary, standby
    except ServerMissing as e:
        pytest.skip(str(e))


@pytest.fixture
def job(pair: tuple[Postgres, Postgres]) -> Job:
    endpoint = Endpoint("s", "postgres", ENGINE.parse("postgres", pair[1].parameters()))
    return Job("m", "op-standby", endpoint, endpoint, NAMES, Path("unused"))


@pytest.fixture
def source(job: Job) -> Iterator[PostgresSource]:
    with closing(PostgresSource(job.source, job.operation)) as opened:
        yield opened


def verdicts(job: Job, mode: str, *names: TableName) -> dict[str, tuple[str, str]]:
    """What is not well, with the remedy."""
    found = ENGINE.checks.run(job.source, "source", mode, names or NAMES)
    return {c.id: (c.status, c.remedy) for c in found if c.status != "ok"}


def test_rows_are_read_in_one_moment(pair: tuple[Postgres, Postgres], source: PostgresSource, job: Job) -> None:
    assert verdicts(job, "data")["postgres.primary"][0] == "warn"
    tables = source.reflect(NAMES)
    with closing(source.open_snapshot(job, tables, capture=False, lanes=2)) as view:
        readers = [source.open_reader(job, view.token) for _ in range(2)]
        text = bytearray()
        for table in tables:
            for n, chunk in enumerate(source.plan(table, 300, 1 << 20)):
                readers[n % 2].extract(table, table.loaded_columns, chunk, Format.COPY_TEXT, text.extend)
        view.keepalive()
        for reader in readers:
            reader.close()
    expected = "".join(pair[0].psql(f"copy {n.table} to stdout") + "\n" for n in NAMES)
    assert sorted(text.decode().splitlines()) == sorted(expected.splitlines())
    source.cleanup(job)  # there is nothing that could be dropped there, and that is no error


def test_tables_that_a_standby_does_not_have_are_named(job: Job) -> None:
    found = verdicts(job, "data", *NAMES, TableName("public", "gone"))
    assert found["postgres.unlogged_tables"][0] == "fail"


@pytest.mark.parametrize("mode", ["replication", "data+replication"])
def test_changes_are_refused_with_the_way_out(source: PostgresSource, job: Job, mode: str) -> None:
    status, remedy = verdicts(job, mode)["postgres.primary"]
    assert status == "fail"
    assert "primary" in remedy
    tables = source.reflect(NAMES[:1])
    for refused in (
        lambda: source.check_capture(tables),
        lambda: source.prepare_changes(job, tables),
        lambda: source.open_snapshot(job, tables, capture=True, lanes=1),
        # what a replication meets that goes on after its source was demoted
        lambda: source.open_changes(job, tables, position_at(source.current_position().server, 1)),
    ):
        with pytest.raises(LogDisabled, match="standby") as caught:
            refused()
        assert "primary" in caught.value.how_to_fix
        source.cleanup(job)


def test_a_primary_that_ends_a_read_interrupts_it(
    pair: tuple[Postgres, Postgres], source: PostgresSource, job: Job
) -> None:
    primary, standby = pair
    with closing(source.open_snapshot(job, source.reflect(NAMES), capture=False, lanes=1)) as view:
        primary.psql("insert into t values (0, 'x'); delete from t where id = 0; vacuum t; checkpoint")

        def ended() -> bool:
            return standby.psql("select count(*) from pg_stat_activity where state = 'idle in transaction'") == "0"

        wait_until(ended, 20, "the standby to end the snapshot's session")
        with pytest.raises(SourceInterrupted):
            view.keepalive()


def test_a_position_of_before_a_promotion_is_refused(
    pair: tuple[Postgres, Postgres], source: PostgresSource, job: Job
) -> None:
    """The last test here: the standby is none afterwards. It keeps its primary's number, and slots may come along."""
    pair[1].psql("select pg_promote()")
    wait_until(lambda: pair[1].psql("select pg_is_in_recovery()") == "f", 20, "the promotion")
    tables = source.reflect(NAMES[:1])
    try:
        start = source.prepare_changes(job, tables)
        before = replace(start, extra="timeline 1")
        assert (start.extra, source.holds(job, start), source.holds(job, before)) == ("timeline 2", True, False)
        with pytest.raises(PositionForeign, match="promoted or restored"):
            source.open_changes(job, tables, before)
        for good in (start, replace(start, extra="")):  # such as older versions have stored
            with closing(source.open_changes(job, tables, good)):
                pass
    finally:
        source.cleanup(job)
