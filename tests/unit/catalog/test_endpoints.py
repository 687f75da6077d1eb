from __future__ import annotations

import pytest

from tests.unit.catalog.conftest import MARKER
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
    shop.put_source(EndpointRecord("old", "postgres", {"host": "moved", "password": "***"}))
    assert shop.get_source("old").parameters == {"host": "moved", "password": MARKER}


@pytest.mark.parametrize(
    "record",
    [
        EndpointRecord("fresh", "postgres", {"password": "***"}),
        EndpointRecord("old", "mysql", {"password": "***"}),
        EndpointRecord("old", "postgres", {"access_token": "***"}),
    ],
)
def test_stars_without_a_stored_secret_are_refused(shop: Catalog, record: EndpointRecord) -> None:
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


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-a", "a" * 65, "a b", "a\n", "é"])
def test_names_that_could_leave_the_home_folder_are_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(InvalidRequest):
        catalog.workdir(name)
    with pytest.raises(InvalidRequest):
        catalog.put_source(EndpointRecord(name, "postgres", {}))
