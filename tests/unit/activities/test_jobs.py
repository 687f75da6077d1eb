"""From names in the catalog to a job: which targets each kind of operation gets to know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from activities import jobs
from tests.catalogs import new_catalog
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import InvalidRequest
from whimbrel.model.job import Job

POSTGRES = {"host": "h", "user": "u", "password": "p", "database": "d"}


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    opened = new_catalog(tmp_path)
    opened.put_source(EndpointRecord("s", "postgres", POSTGRES))
    opened.put_target(EndpointRecord("t", "postgres", POSTGRES))
    opened.put_target(EndpointRecord("q", "kafka", {"brokers": "b:9092", "topic": "c"}))
    opened.put_migration(MigrationRecord("both", "s", ("public.a",), file_target="t", queue_target="q"))
    opened.put_migration(MigrationRecord("queue", "s", ("public.a",), queue_target="q"))
    monkeypatch.setattr(jobs, "catalog", lambda: opened)
    yield opened
    opened.close()


def job(catalog: Catalog, migration: str, mode: Mode) -> Job:
    catalog.begin_operation(migration, mode, str(mode), "hash", {})
    try:
        return jobs.build_job(str(mode), migration)
    finally:
        catalog.finish_operation(str(mode), Status.CANCELLED)


@pytest.mark.parametrize("mode", [Mode.CHANGE, Mode.DATA_REPLICATION])
def test_replication_feeds_both(catalog: Catalog, mode: Mode) -> None:
    found = job(catalog, "both", mode)
    assert found.queue is not None
    assert (found.target.name, found.queue.name, found.has_database) == ("t", "q", True)


@pytest.mark.parametrize("mode", [Mode.DATA, Mode.VALIDATE, Mode.RESET, Mode.SCHEMA_EXTRACT])
def test_what_runs_beside_a_replication_cannot_shut_its_producer_out(catalog: Catalog, mode: Mode) -> None:
    found = job(catalog, "both", mode)
    assert (found.target.name, found.queue, found.has_database) == ("t", None, True)


def test_a_queue_alone(catalog: Catalog) -> None:
    found = job(catalog, "queue", Mode.CHANGE_QUEUE)
    assert found.queue is not None
    assert (found.queue.name, found.has_database) == ("q", False)
    with pytest.raises(InvalidRequest, match="no target"):
        job(catalog, "queue", Mode.DATA)
