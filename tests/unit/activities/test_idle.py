"""Idle migrations against a real source: what it keeps is noted, and let go before it fills the disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities import jobs
from activities.idle import DEFAULT, look_at_idle, most_held
from activities.messages import LookAtIdle, LookedAtIdle
from tests.catalogs import new_catalog
from tests.servers.postgres import Postgres
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.connectors.registry import engine
from whimbrel.errors import InvalidRequest
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName

MOST = 8_000_000


class Source:
    """A database with one table, and slots of migrations on it."""

    def __init__(self, server: Postgres) -> None:
        self.server, self.database = server, f"idle_{uuid.uuid4().hex[:8]}"
        server.create_database(self.database)
        self.sql("create table a (id int primary key)")
        self.endpoint = Endpoint("s", "postgres", server.parameters(self.database))

    def sql(self, sql: str) -> str:
        return self.server.psql(sql, self.database)

    def hold(self, migration: str) -> None:
        job = Job(migration, "op", self.endpoint, self.endpoint, (TableName("public", "a"),), Path())
        with closing(engine("postgres").source(self.endpoint, "op")) as source:
            source.prepare_changes(job, source.reflect(job.tables))

    def left(self) -> list[str]:
        slots = f"select slot_name::text from pg_replication_slots where database = '{self.database}'"
        return self.sql(f"{slots} union all select pubname from pg_publication order by 1").splitlines()

    def write(self, size: int) -> None:
        self.sql(f"select pg_logical_emit_message(true, 'test', repeat('x', {size}))")


@pytest.fixture
def source(postgres18: Postgres) -> Iterator[Source]:
    made = Source(postgres18)
    yield made
    made.sql(f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = '{made.database}'")


@pytest.fixture
def catalog(tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    monkeypatch.setenv("WHIMBREL_HOME", str(tmp_path))
    monkeypatch.setenv("WHIMBREL_HELD_BYTES", str(MOST))
    jobs._catalog.cache_clear()
    opened = new_catalog(tmp_path)
    dead = {**source.endpoint.parameters, "port": "1"}
    for name, parameters in (("s", source.endpoint.parameters), ("gone", dead)):
        opened.put_source(EndpointRecord(name, "postgres", dict(parameters)))
    opened.put_target(EndpointRecord("t", "postgres", dict(source.endpoint.parameters)))
    for name in ("shop", "other"):
        opened.put_migration(MigrationRecord(name, "s", ("public.a",), file_target="t"))
    yield opened
    opened.close()
    jobs._catalog.cache_clear()


def followed(catalog: Catalog, migration: str, *, ended: bool = True) -> str:
    id = str(uuid.uuid4())
    catalog.begin_operation(migration, Mode.DATA_REPLICATION, id, "h", {})
    if ended:
        catalog.finish_operation(id, Status.CANCELLED)
    return id


def look() -> LookedAtIdle:
    found = ActivityEnvironment().run(look_at_idle, LookAtIdle())
    assert isinstance(found, LookedAtIdle)
    return found


def test_what_is_kept_is_noted_and_let_go_past_the_bound(catalog: Catalog, source: Source) -> None:
    source.hold("shop")
    operation = followed(catalog, "shop")
    assert look() == LookedAtIdle(1, 1, 0)
    held = catalog.held.find("shop")
    assert held is not None
    assert held.slot == "whimbrel_shop"
    assert 0 < held.retained_bytes < MOST

    source.write(2 * MOST)
    assert look() == LookedAtIdle(1, 0, 1)
    assert source.left() == []
    gone = catalog.held.find("shop")
    assert gone is not None
    assert gone.let_go_at is not None
    assert gone.retained_bytes > MOST
    assert "nobody followed slot whimbrel_shop" in catalog.logs(operation)["orchestrator"]

    assert look() == LookedAtIdle(1, 0, 0)
    again = catalog.held.find("shop")
    assert again is not None
    assert again.let_go_at == gone.let_go_at, "it is still told"


def test_what_is_followed_is_left_alone(catalog: Catalog, source: Source) -> None:
    for name in ("shop", "other"):
        source.hold(name)
    followed(catalog, "shop", ended=False)
    followed(catalog, "other")
    source.write(2 * MOST)
    assert look() == LookedAtIdle(1, 0, 1)
    assert source.left() == ["whimbrel_shop", "whimbrel_shop"]


def test_a_slot_that_is_gone_is_held_no_more(catalog: Catalog, source: Source) -> None:
    followed(catalog, "shop")
    catalog.held.save("shop", "whimbrel_shop", 5)
    assert look() == LookedAtIdle(1, 0, 0)
    assert catalog.held.find("shop") is None


def test_a_source_that_does_not_answer_keeps_nobody_from_looking_at_others(catalog: Catalog, source: Source) -> None:
    catalog.put_migration(MigrationRecord("broken", "gone", ("public.a",), file_target="t"))
    catalog.held.save("broken", "whimbrel_broken", 5)
    source.hold("shop")
    followed(catalog, "shop")
    followed(catalog, "broken")
    catalog.held.save("broken", "whimbrel_broken", 5)
    assert look() == LookedAtIdle(2, 1, 0)
    last = catalog.held.find("broken")
    assert last is not None, "the last figure stands, and its age tells that it is old"


def test_the_bound() -> None:
    assert most_held({}) == DEFAULT == 10 * 10**9
    assert most_held({"WHIMBREL_HELD_BYTES": "7"}) == 7
    with pytest.raises(InvalidRequest, match="WHIMBREL_HELD_BYTES"):
        most_held({"WHIMBREL_HELD_BYTES": "10 GB"})
