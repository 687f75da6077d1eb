"""What sources keep for migrations that nobody follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.catalog.conftest import MARKER
from whimbrel.catalog.held import Idle
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import InvalidRequest, MigrationNotFound


@pytest.fixture
def shop(catalog: Catalog) -> Catalog:
    catalog.put_source(EndpointRecord("s", "postgres", {"host": "h", "password": MARKER}))
    catalog.put_target(EndpointRecord("t", "postgres", {"host": "h", "password": MARKER}))
    for name in ("shop", "other"):
        catalog.put_migration(MigrationRecord(name, "s", ("public.a",), file_target="t"))
    return catalog


def follow(catalog: Catalog, id: str, migration: str = "shop", mode: Mode = Mode.DATA_REPLICATION) -> None:
    catalog.begin_operation(migration, mode, id, "h", {})


def test_the_last_figure_and_its_age(shop: Catalog) -> None:
    assert shop.held.find("shop") is None
    shop.held.save("shop", "whimbrel_shop", 5)
    shop.held.save("shop", "whimbrel_shop", 7)
    found = shop.held.find("shop")
    assert found is not None
    assert (found.slot, found.retained_bytes, found.let_go_at) == ("whimbrel_shop", 7, None)
    assert 0 <= found.age_seconds < 60
    assert [h.migration for h in shop.totals().held] == ["shop"]
    shop.held.forget("shop", let_go=False)
    assert shop.held.find("shop") is None


def test_nothing_is_held_while_somebody_follows(shop: Catalog) -> None:
    follow(shop, "one")
    shop.held.save("shop", "whimbrel_shop", 5)  # by the end of a validation beside it
    assert shop.held.find("shop") is None
    assert shop.totals().held == ()
    shop.finish_operation("one", Status.CANCELLED)
    assert shop.held.find("shop") is not None
    follow(shop, "two")
    shop.finish_operation("two", Status.CANCELLED)
    assert shop.held.find("shop") is None, "what the newest operation has left is noted at its end"


def test_what_was_let_go_by_itself_is_told_until_somebody_follows_again(shop: Catalog) -> None:
    assert shop.held.mark_let_go("shop", "whimbrel_shop", 11)
    shop.held.forget("shop", let_go=False)  # it is not there any more when it is looked at again
    found = shop.held.find("shop")
    assert found is not None
    assert found.let_go_at is not None
    assert shop.totals().held == ()
    follow(shop, "one")
    shop.finish_operation("one", Status.CANCELLED)
    assert shop.held.find("shop") is None


def test_nothing_is_let_go_under_somebody(shop: Catalog) -> None:
    follow(shop, "one")
    assert not shop.held.mark_let_go("shop", "whimbrel_shop", 11)
    shop.finish_operation("one", Status.STOPPED)
    shop.retire_migration("shop")
    assert not shop.held.mark_let_go("shop", "whimbrel_shop", 11)
    with pytest.raises(MigrationNotFound):
        shop.held.mark_let_go("nobody", "whimbrel_nobody", 11)


def test_another_source_would_leave_it_behind(shop: Catalog) -> None:
    shop.put_source(EndpointRecord("elsewhere", "postgres", {"host": "h", "password": MARKER}))
    moved = MigrationRecord("shop", "elsewhere", ("public.a",), file_target="t")
    shop.held.save("shop", "whimbrel_shop", 5)
    shop.put_migration(MigrationRecord("shop", "s", ("public.b",), file_target="t"))
    with pytest.raises(InvalidRequest, match="'s' holds slot whimbrel_shop"):
        shop.put_migration(moved)
    shop.held.forget("shop", let_go=True)
    shop.put_migration(moved)


def test_who_is_idle(shop: Catalog) -> None:
    assert shop.held.idle() == []
    follow(shop, "one")
    follow(shop, "load", "other", Mode.DATA)
    assert shop.held.idle() == []
    shop.finish_operation("one", Status.FAILED)
    follow(shop, "two")
    shop.finish_operation("two", Status.CANCELLED)
    follow(shop, "again", mode=Mode.VALIDATE)
    assert shop.held.idle() == [Idle("shop", "two")]


def test_it_goes_with_its_migration(shop: Catalog) -> None:
    shop.held.save("shop", "whimbrel_shop", 5)
    shop.delete_migration("shop")
    assert shop.held.find("shop") is None
    shop.held.save("shop", "whimbrel_shop", 5)  # a look that was under way
    assert shop.held.find("shop") is None


def test_a_source_that_leads_elsewhere_leaves_slots_behind(shop: Catalog) -> None:
    elsewhere = EndpointRecord("s", "postgres", {"host": "new", "password": MARKER})
    shop.held.save("shop", "whimbrel_shop", 5)
    shop.held.mark_let_go("other", "whimbrel_other", 5)
    assert shop.put_source(EndpointRecord("s", "postgres", {"host": "h", "password": "another"})) == ()
    (left,) = shop.put_source(elsewhere)
    assert (left.migration, left.slot, left.server.partition(":")[0]) == ("shop", "whimbrel_shop", "h")
    shop.held.forget("shop", let_go=True)
    assert shop.put_source(replace(elsewhere, parameters={"host": "h", "password": MARKER})) == ()
