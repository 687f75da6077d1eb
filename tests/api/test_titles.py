"""What an operation is called in Temporal's UI."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

from api.titles import title_of
from whimbrel.catalog.records import EndpointRecord, Mode
from whimbrel.catalog.store import Catalog
from whimbrel.errors import SecretsUnreadable
from workflows.messages import Title


def test_both_ends_and_the_tables(shop: Catalog) -> None:
    shop.put_target(EndpointRecord("queue", "kafka", {"brokers": "b:9092", "topic": "t"}))
    tables = tuple(f"public.t{number}" for number in range(1200))
    shop.put_migration(replace(shop.get_migration("shop"), tables=tables, queue_target="queue"))
    load, _ = shop.begin_operation("shop", Mode.DATA, "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10", "h", {})
    assert title_of(shop, load) == Title("old (postgres) → new (postgres), 1,200 tables", "old", "new")
    follow = replace(load, mode=Mode.DATA_REPLICATION)
    assert title_of(shop, follow) == Title(
        "old (postgres) → new (postgres) and queue (kafka), 1,200 tables", "old", "new"
    )


def test_an_operation_does_not_fail_for_want_of_a_title(shop: Catalog) -> None:
    record, _ = shop.begin_operation("shop", Mode.DATA, "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10", "h", {})
    with patch.object(Catalog, "get_source", side_effect=SecretsUnreadable("no key")):
        assert title_of(shop, record) is None
