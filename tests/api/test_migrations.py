from __future__ import annotations

import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api import connectors
from api.results import MigrationSummary, MigrationView
from tests.api.conftest import Client
from tests.emulators.kafka import Kafka
from tests.servers.postgres import Postgres
from tests.servers.process import free_port
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.connectors.registry import engine
from whimbrel.errors import HostUnreachable
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName


async def test_create_read_list(client: Client, shop: Catalog) -> None:
    body = {
        "source": "old",
        "fileTarget": "new",
        "tables": ["shop.orders", "public.*"],
        "threads": 3,
        "schema_rename": "shop:store, public:main",
        "logDetail": "verbose",
    }
    summary = MigrationSummary.model_validate(await client.ok("PUT", "/v1/migrations/m", body))
    assert (summary.tables, summary.queueTarget) == (2, None)
    view = MigrationView.model_validate(await client.ok("GET", "/v1/migrations/m"))
    assert view.schema_rename == {"shop": "store", "public": "main"}
    assert (view.tables, view.threads, view.rows_per_file) == (["shop.orders", "public.*"], 3, 200_000)
    assert (view.case, view.column_types, view.value_policy) == ("keep", {}, "refuse")
    listed = await client.ok("GET", "/v1/migrations")
    assert [m["name"] for m in listed["migrations"]] == ["m", "shop"]
    assert listed["migrations"][0] == summary.model_dump()


async def test_a_body_that_names_what_is_not_there(client: Client, shop: Catalog) -> None:
    body = {"source": "nope", "fileTarget": "new", "tables": ["a.b"]}
    assert (await client.refused("PUT", "/v1/migrations/m", body))[:2] == (400, "SOURCE_NOT_FOUND")
    body = {"source": "old", "fileTarget": "nope", "tables": ["a.b"]}
    status, code, error = await client.refused("PUT", "/v1/migrations/m", body)
    assert (status, code, error["details"]["field"]) == (400, "TARGET_NOT_FOUND", "fileTarget")


async def test_targets_have_their_place(client: Client, shop: Catalog) -> None:
    shop.put_target(EndpointRecord("queue", "kafka", {}))
    for body, field in (
        ({"source": "old", "fileTarget": "queue", "tables": ["a.b"]}, "fileTarget"),
        ({"source": "old", "queueTarget": "new", "tables": ["a.b"]}, "queueTarget"),
    ):
        status, code, error = await client.refused("PUT", "/v1/migrations/m", body)
        assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", field)


async def test_a_target_in_use_does_not_become_another_kind(client: Client, shop: Catalog) -> None:
    shop.put_target(EndpointRecord("queue", "kafka", {}))
    shop.put_migration(MigrationRecord("events", "old", ("a.b",), queue_target="queue"))
    queue = {"type": "kafka", "parameters": {"brokers": "b:9092", "topic": "t"}}
    database = {"type": "mysql", "parameters": {"host": "h", "user": "u", "password": "p"}}
    for name, body, migration in (("new", queue, "shop"), ("queue", database, "events")):
        status, code, error = await client.refused("PUT", f"/v1/targets/{name}", body)
        assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "type")
        assert error["details"]["migrations"] == [migration]
    await client.ok("PUT", "/v1/targets/new", database)
    await client.ok("PUT", "/v1/targets/queue", {**queue, "type": "redpanda"})


async def test_firebolt_has_public_alone(client: Client, shop: Catalog) -> None:
    shop.put_target(EndpointRecord("fire", "firebolt", {}))
    body = {"source": "old", "fileTarget": "fire", "tables": ["a.b", "public.c"]}
    status, code, error = await client.refused("PUT", "/v1/migrations/m", body)
    assert (status, code, error["details"]["schemas"]) == (400, "FIREBOLT_SCHEMA_PUBLIC_ONLY", ["a"])
    await client.ok("PUT", "/v1/migrations/m", {**body, "schema_rename": {"a": "public"}})
    shop.put_target(EndpointRecord("fire", "firebolt", {"schemas": "any"}))
    await client.ok("PUT", "/v1/migrations/m", body)


async def test_nothing_changes_while_an_operation_runs(client: Client, shop: Catalog) -> None:
    id = (await client.ok("POST", "/v1/migrations/shop/data"))["operation_id"]
    body = {"source": "old", "fileTarget": "new", "tables": ["a.b"]}
    for method, sent in (("PUT", body), ("DELETE", None)):
        status, code, error = await client.refused(method, "/v1/migrations/shop", sent)
        assert (status, code, error["details"]["operation_id"]) == (409, "OPERATION_CONFLICT", id)


async def test_delete_takes_the_working_directory_along(client: Client, shop: Catalog) -> None:
    workdir = shop.workdir("shop")
    workdir.mkdir(parents=True)
    (workdir / "tables-schema.sql").write_text("")
    assert await client.ok("DELETE", "/v1/migrations/shop") == {"name": "shop", "deleted": True}
    assert not workdir.exists()
    assert (await client.refused("GET", "/v1/migrations/shop"))[:2] == (404, "MIGRATION_NOT_FOUND")


async def test_delete_of_a_linked_working_directory_takes_the_link_alone(
    client: Client, shop: Catalog, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs").touch()
    workdir = shop.workdir("shop")
    workdir.parent.mkdir(parents=True, exist_ok=True)
    workdir.symlink_to(elsewhere)
    assert await client.ok("DELETE", "/v1/migrations/shop") == {"name": "shop", "deleted": True}
    assert not workdir.is_symlink()
    assert (elsewhere / "theirs").exists()


def replicated(catalog: Catalog) -> None:
    catalog.begin_operation("shop", Mode.CHANGE, "id", "h", {})
    catalog.finish_operation("id", Status.FAILED)


async def test_a_source_that_may_hold_a_slot_must_answer(client: Client, shop: Catalog) -> None:
    replicated(shop)
    status, code, error = await client.refused("DELETE", "/v1/migrations/shop")
    assert (status, code) == (500, "CONNECTION_REFUSED")
    assert "force=true" in error["details"]["remedy"]
    await client.ok("GET", "/v1/migrations/shop")
    await client.ok("POST", "/v1/migrations/shop/data")


async def test_deleting_by_force_leaves_the_source_alone(
    client: Client, shop: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> None:
        raise HostUnreachable("nobody there")

    monkeypatch.setattr(connectors, "remove_capture", unreachable)
    replicated(shop)
    await client.ok("DELETE", "/v1/migrations/shop?force=true")


@pytest.mark.parametrize("type", ["postgres", "mariadb"])
async def test_delete_forgets_its_progress_on_the_target(
    client: Client, shop: Catalog, request: pytest.FixtureRequest, type: str
) -> None:
    server: Any = request.getfixturevalue("postgres15" if type == "postgres" else "mariadb")
    database = f"forgetting_{uuid.uuid4().hex[:8]}"
    server.create_database(database)
    parameters = server.parameters(database) if type == "postgres" else dict(server.parameters)
    shop.put_target(EndpointRecord("new", type, parameters))
    shop.begin_operation("shop", Mode.DATA, "id", "h", {})
    shop.finish_operation("id", Status.CANCELLED)
    with closing(engine(type).target(Endpoint("new", type, parameters), "id")) as target:
        for name in ("shop", f"other-{database}"):
            with closing(target.ledger(name)) as ledger:
                ledger.claim()
    assert (await client.ok("DELETE", "/v1/migrations/shop")) == {"name": "shop", "deleted": True}
    sql = f"select migration from whimbrel.progress where migration in ('shop', 'other-{database}')"
    found = server.psql(sql, database) if type == "postgres" else server.client(sql)
    assert found.split() == [f"other-{database}"]


async def test_a_target_that_is_gone_keeps_no_migration(client: Client, shop: Catalog) -> None:
    shop.begin_operation("shop", Mode.DATA, "id", "h", {})
    shop.finish_operation("id", Status.CANCELLED)
    (left,) = (await client.ok("DELETE", "/v1/migrations/shop"))["left"]
    assert "whimbrel.progress" in left


async def test_delete_drops_slot_and_publication(
    client: Client, shop: Catalog, postgres15: Postgres, tmp_path: Path
) -> None:
    database = f"deleting_{uuid.uuid4().hex[:8]}"
    postgres15.create_database(database)
    postgres15.psql("create table t (id int primary key)", database)
    parameters = postgres15.parameters(database)
    shop.put_source(EndpointRecord("old", "postgres", parameters))
    replicated(shop)
    endpoint = Endpoint("old", "postgres", parameters)
    job = Job("shop", "id", endpoint, endpoint, (TableName("public", "t"),), tmp_path)
    with closing(engine("postgres").source(endpoint, "id")) as source:
        source.prepare_changes(job, source.reflect(job.tables))
    slots = "select count(*) from pg_replication_slots where database = current_database()"
    left = f"select ({slots}), (select count(*) from pg_publication)"
    assert postgres15.psql(left, database) == "1|1"
    await client.ok("DELETE", "/v1/migrations/shop")
    assert postgres15.psql(left, database) == "0|0"


def feeding(catalog: Catalog, brokers: str) -> str:
    """A migration ``events`` that once fed a topic, whose name this is."""
    topic = f"told-{uuid.uuid4().hex[:8]}"
    catalog.put_target(connectors.parse("target", "queue", "kafka", {"brokers": brokers, "topic": topic}))
    catalog.put_migration(MigrationRecord("events", "old", ("a.b",), queue_target="queue"))
    catalog.begin_operation("events", Mode.CHANGE_QUEUE, "fed", "h", {})
    catalog.finish_operation("fed", Status.CANCELLED)
    return topic


async def test_delete_takes_the_position_in_the_queue_along(
    client: Client, shop: Catalog, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connectors, "remove_capture", lambda *_: None)
    topic = feeding(shop, kafka.brokers)
    for name in (topic, f"{topic}-whimbrel-events", f"{topic}-whimbrel-event"):
        kafka.make_topic(name)
    assert await client.ok("DELETE", "/v1/migrations/events") == {"name": "events", "deleted": True}
    assert {t for t in kafka.topics() if t.startswith(topic)} == {topic, f"{topic}-whimbrel-event"}


async def test_what_may_not_be_deleted_in_the_queue_is_named(
    client: Client, shop: Catalog, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connectors, "remove_capture", lambda *_: None)
    position = f"{feeding(shop, kafka.brokers)}-whimbrel-events"
    kafka.make_topic(position, 2)
    found = await client.ok("DELETE", "/v1/migrations/events")
    assert found["deleted"] is True
    (left,) = found["left"]
    assert f"{position} has 2 partitions" in left
    assert "by hand" in left
    assert position in kafka.topics()
    assert (await client.refused("GET", "/v1/migrations/events"))[:2] == (404, "MIGRATION_NOT_FOUND")


async def test_a_queue_that_may_hold_a_position_must_answer(
    client: Client, shop: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connectors, "remove_capture", lambda *_: None)
    feeding(shop, f"127.0.0.1:{free_port()}")
    status, code, error = await client.refused("DELETE", "/v1/migrations/events")
    assert (status, code) == (500, "CONNECTION_REFUSED")
    assert "force=true" in error["details"]["remedy"]
    await client.ok("GET", "/v1/migrations/events")
    await client.ok("DELETE", "/v1/migrations/events?force=true")


async def test_a_delete_that_was_cut_off_is_finished_by_the_next(client: Client, shop: Catalog) -> None:
    shop.retire_migration("shop")
    assert (await client.refused("POST", "/v1/migrations/shop/data"))[:2] == (409, "OPERATION_CONFLICT")
    await client.ok("DELETE", "/v1/migrations/shop")


async def test_a_migration_without_a_database(client: Client, shop: Catalog) -> None:
    shop.put_target(EndpointRecord("queue", "kafka", {}))
    shop.put_migration(MigrationRecord("events", "old", ("a.b",), queue_target="queue"))
    for path in (
        *("schema/extract", "schema/apply", "objects/apply", "data", "replication", "data-replication", "reset"),
        "validate",
    ):
        status, code, error = await client.refused("POST", f"/v1/migrations/events/{path}")
        assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "fileTarget")
    status, code, error = await client.refused("POST", "/v1/migrations/shop/replication-queue")
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "fileTarget")
