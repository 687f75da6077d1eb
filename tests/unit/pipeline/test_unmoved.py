"""What is not moved is told by name, and its definitions are kept for people."""

from __future__ import annotations

from whimbrel.model.names import TableName
from whimbrel.model.objects import Routine, SchemaObject, Trigger, View
from whimbrel.pipeline.unmoved import notes, script

ORDERS = TableName("shop", "orders")
OBJECTS: tuple[SchemaObject, ...] = (
    View(TableName("shop", "b"), "postgres", "CREATE VIEW b AS\nSELECT 1;", depends=(ORDERS,)),
    View(TableName("shop", "a"), "postgres", None),
    View(TableName("other", "m"), "postgres", "CREATE MATERIALIZED VIEW m AS SELECT 1", materialized=True),
    Routine(TableName("shop", "nightly"), "mysql", "CREATE EVENT nightly", "SQL", "event"),
    Trigger(TableName("shop", "stamp"), "mysql", "CREATE TRIGGER stamp", ORDERS),
)


def test_each_is_named() -> None:
    assert notes(OBJECTS) == (
        "other: a materialized view is not moved: m (not-moved.sql has all definitions)",
        "shop: an event is not moved: nightly (not-moved.sql has all definitions)",
        "shop: a trigger is not moved: stamp on orders (not-moved.sql has all definitions)",
        "shop: 2 views are not moved: a, b (not-moved.sql has all definitions)",
    )
    many = [Routine(TableName("s", f"f{n:03}()"), "postgres", "", "sql") for n in range(25)]
    assert len(notes(many)) == 1
    assert "25 functions are not moved: f000(), " in notes(many)[0]
    assert ", f019() and 5 more (" in notes(many)[0]
    assert notes(()) == ()


def test_definitions_are_kept_as_the_source_has_them() -> None:
    written = list(script(OBJECTS))
    assert written[0] == "-- materialized view other.m (postgres)\nCREATE MATERIALIZED VIEW m AS SELECT 1"
    assert written[3] == "-- view shop.a (postgres)\n-- the account may not read its definition"
    assert len(written) == len(OBJECTS)
