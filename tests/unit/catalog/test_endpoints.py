from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.unit.catalog.conftest import MARKER
from whimbrel.catalog import tables
from whimbrel.catalog.records import EndpointRecord, MigrationRecord
from whimbrel.catalog.store import Catalog
from whimbrel.errors import InvalidRequest, MigrationNotFound, SourceNotFound, TargetNotFound


def test_a_source_is_kept_and_replaced(catalog: Catalog) -> None:
    catalog.put_source(EndpointRecord("b", "postgres", {"host": "h", "port": 1, "password": "p"}))
    catalog.put_source(EndpointRecord("a", "mysql", {"host": "x"}))
    catalog.put_source(EndpointRecord("b", "postgres", {"host": "h2", "password": "p2"}))
    assert [(s.name, s.type, s.parameters) for s in catalog.list_sources()] == [
        ("a", "mysql", {"host": "x"}),
        ("b", "postgres", {"host": "h2", "password": "p2"}),
    ]


def test_sources_and_targets_do_not_share_names(catalog: Catalog) -> None:
    catalog.put_source(EndpointRecord("x", "postgres", {}))
    with pytest.raises(TargetNotFound):
        catalog.get_target("x")


def test_stars_keep_the_stored_secret(shop: Catalog) -> None:
    same = {k: v for k, v in shop.get_source("old").parameters.items() if k != "password"}
    shop.put_source(EndpointRecord("old", "postgres", {**same, "database": "another", "password": "***"}))
    assert shop.get_source("old").parameters == {**same, "database": "another", "password": MARKER}


SQL = {"host": "h", "port": 5432, "user": "u", "password": "p", "database": "d", "sslmode": "require"}
LIKE = {"host": "h", "port": 3306, "user": "u", "password": "p", "ssl_mode": "verify_ca", "ssl_ca": "/ca"}
QUEUE = {
    "brokers": "b:9092",
    "topic": "t",
    "batchSize": 1,
    "security_protocol": "sasl_ssl",
    "sasl_mechanism": "SCRAM-SHA-256",
    "sasl_username": "u",
    "sasl_password": "p",
}


@pytest.mark.parametrize(
    ("stored", "change", "refused"),
    [
        (SQL, {"host": "elsewhere"}, "host"),
        (SQL, {"port": 5433}, "port"),
        (SQL, {"user": "v"}, "user"),
        (SQL, {"sslmode": "disable"}, "sslmode"),
        (SQL, {"sslmode": "prefer"}, "sslmode"),
        (SQL, {"sslmode": "verify-full", "sslrootcert": "/mine"}, None),
        (SQL, {"database": "e"}, None),
        (SQL, {"invented": 1}, "invented"),
        (LIKE, {"ssl_ca": "/mine"}, "ssl_ca"),
        (LIKE, {"ssl_ca": None}, "ssl_ca"),
        (LIKE, {"ssl_mode": "required"}, "ssl_mode"),
        (LIKE, {"ssl_mode": "verify_identity"}, None),
        ({**LIKE, "ssl_ca": None}, {"ssl_ca": "/mine"}, "ssl_ca"),
        (QUEUE, {"brokers": "b:9092,c:9092"}, "brokers"),
        (QUEUE, {"sasl_username": "v"}, "sasl_username"),
        (QUEUE, {"sasl_mechanism": "PLAIN"}, "sasl_mechanism"),
        (QUEUE, {"security_protocol": "sasl_plaintext"}, "security_protocol"),
        (QUEUE, {"topic": "u", "batchSize": 9}, None),
    ],
)
def test_a_stored_secret_goes_nowhere_else(
    catalog: Catalog, stored: dict[str, Any], change: dict[str, Any], refused: str | None
) -> None:
    catalog.put_target(EndpointRecord("t", "x", stored))
    before = catalog.get_target("t").parameters
    hidden = {k: "***" for k in stored if "password" in k}
    wanted = EndpointRecord("t", "x", {**stored, **change, **hidden})
    if refused is None:
        catalog.put_target(wanted)
        assert catalog.get_target("t").parameters == {**stored, **change}
        return
    with pytest.raises(InvalidRequest) as error:
        catalog.put_target(wanted)
    assert error.value.extra["field"] == f"parameters.{refused}"
    assert catalog.get_target("t").parameters == before
    catalog.put_target(EndpointRecord("t", "x", {**stored, **change}))  # with the secret itself it may


def test_a_source_does_not_change_its_type_under_a_migration(shop: Catalog) -> None:
    with pytest.raises(InvalidRequest, match="shop") as refused:
        shop.put_source(EndpointRecord("old", "mysql", {"password": "p"}))
    assert refused.value.extra["field"] == "type"
    shop.delete_migration("shop")
    shop.put_source(EndpointRecord("old", "mysql", {"password": "p"}))


@pytest.mark.parametrize(
    "record",
    [
        EndpointRecord("fresh", "postgres", {"password": "***"}),
        EndpointRecord("alone", "mysql", {"password": "***"}),
        EndpointRecord("old", "postgres", {"access_token": "***"}),
    ],
)
def test_stars_without_a_stored_secret_are_refused(shop: Catalog, record: EndpointRecord) -> None:
    shop.put_source(EndpointRecord("alone", "postgres", {"password": "p"}))
    with pytest.raises(InvalidRequest, match="keeps the stored secret"):
        shop.put_source(record)


def test_an_endpoint_in_use_cannot_be_deleted(shop: Catalog) -> None:
    for delete in (lambda: shop.delete_source("old"), lambda: shop.delete_target("new")):
        with pytest.raises(InvalidRequest, match="shop") as refused:
            delete()
        assert refused.value.extra["migrations"] == ["shop"]
    assert shop.get_source("old").parameters["password"] == MARKER
    shop.delete_migration("shop")
    shop.delete_source("old")
    shop.delete_target("new")
    with pytest.raises(SourceNotFound):
        shop.delete_source("old")


def test_a_migration_needs_its_endpoints(shop: Catalog) -> None:
    with pytest.raises(SourceNotFound, match="source: there is no source 'nope'"):
        shop.put_migration(MigrationRecord("m", "nope", ("a.b",), file_target="new"))
    with pytest.raises(TargetNotFound) as missing:
        shop.put_migration(MigrationRecord("m", "old", ("a.b",), queue_target="nope"))
    assert missing.value.extra["field"] == "queueTarget"
    with pytest.raises(MigrationNotFound):
        shop.get_migration("m")


def test_a_migration_keeps_all_it_was_given(shop: Catalog) -> None:
    record = MigrationRecord("m", "old", ("a.b", "c.*"), "new", None, 3, 1000, {"a": "z"}, "verbose")
    shop.put_migration(record)
    assert shop.get_migration("m") == record
    assert [m.name for m in shop.list_migrations()] == ["m", "shop"]


def test_a_migration_of_an_earlier_version_is_read(shop: Catalog) -> None:
    """Its settings as they were kept before case, column_types and value_policy were."""
    stored = {"tables": ["public.*"], "threads": 5, "rows_per_file": 200000, "schema_rename": {}, "log_detail": "basic"}
    with shop._database._engine.begin() as connection:
        connection.execute(sa.update(tables.migration).values(settings=stored))
    found = shop.get_migration("shop")
    assert found == MigrationRecord("shop", "old", ("public.*",), file_target="new")
    assert (found.case, found.column_types, found.value_policy) == ("keep", {}, "refuse")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-a", "a" * 65, "a b", "a\n", "é"])
def test_names_that_could_leave_the_home_folder_are_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(InvalidRequest):
        catalog.workdir(name)
    with pytest.raises(InvalidRequest):
        catalog.put_source(EndpointRecord(name, "postgres", {}))
