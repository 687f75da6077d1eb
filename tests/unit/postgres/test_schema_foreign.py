"""Tables of other engines as PostgreSQL makes them: names, types, keys, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from tests.servers.postgres import Postgres
from tests.unit.postgres.test_schema import apply, database, target_of
from whimbrel import errors
from whimbrel.connectors.mysql.source import expressions as there
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Check, Column, ColumnType, ForeignKey, Identity, Index, Table


def column(name: str, arrow: pa.DataType, native: str = "", **more: Any) -> Column:
    kept = {k: more.pop(k) for k in ("annotation", "length", "labels", "collation") if k in more}
    if "default" in more:
        more["default"] = there.default(more["default"])
    if "generated" in more:
        more["generated"] = there.expression(more["generated"])
    return Column(name, ColumnType(arrow, native, **kept), **more)


def test_names_that_do_not_fit_are_refused_before_any_ddl(server: Postgres) -> None:
    target = target_of(server, "postgres")
    number = column("a", pa.int32())
    tables = [
        Table(TableName("one", "t"), (number,)),
        Table(TableName("two", "t"), (number,)),
        Table(TableName("one", "é" * 32), (replace(number, name="x" * 64),)),
        Table(TableName("pg_x", "t"), (number,)),
    ]
    with pytest.raises(errors.IdentifierRefused) as caught:
        target.render(tables, {"two": "one"}, "mysql")
    said = caught.value.details["names"]
    assert len(said) == 4
    assert any("two source tables" in s for s in said)


def mysql_table() -> Table:
    text = pa.string()
    return Table(
        TableName("shop", "orders"),
        (
            column("id", pa.uint64(), nullable=False, identity=Identity(next_value=7)),
            column("tiny", pa.int8(), default="-1"),
            column("flag", pa.bool_(), default="1"),
            column("big", pa.uint32(), default="'5'"),
            column("price", pa.decimal128(10, 2), default="0.50"),
            column("name", text, length=40, default="'it\\'s'", collation="utf8mb4_0900_bin"),
            column("padded", text, length=40, collation="utf8mb4_bin"),
            column("code", text, length=5),
            column("status", text, annotation=Annotation.ENUM, labels=("new", "o'ld"), default="'new'"),
            column("tags", text, annotation=Annotation.SET, labels=("a", "b")),
            column("bits", text, annotation=Annotation.BIT, length=4, default="b'101'"),
            column("raw", pa.binary(), default="x'00ff'"),
            column("doc", text, annotation=Annotation.JSON),
            column("seen", pa.timestamp("us"), length=3, default="CURRENT_TIMESTAMP(3)", on_update="now()"),
            column("at", pa.timestamp("us", tz="UTC"), length=0, default="current_timestamp()"),
            column("born", pa.date32(), default="'0000-00-00'"),
            column("took", text, annotation=Annotation.DURATION, length=0, default="'-838:59:59'"),
            column("year", pa.int16(), annotation=Annotation.YEAR),
            column("twice", pa.int64(), generated="(`tiny` * 2)"),
            column("none", text, default="NULL"),
            column("odd", text, default="(concat('a', rand()))"),
        ),
        primary_key=("id",),
        primary_key_name="PRIMARY",
        indexes=(
            Index("name", ("name",), unique=True),
            Index("part", ("name", "tiny"), prefixes=(5, None), descending=(False, True)),
            Index("code", ("code",)),
            Index("words", ("name",), method="fulltext"),
        ),
        foreign_keys=(ForeignKey("fk", ("big",), TableName("elsewhere", "t"), ("id",)),),
        checks=(
            Check("c1", there.expression("`tiny` > -5 and `name` <> ''")),
            Check("c2", there.expression("json_valid(`doc`)")),
            Check("c3", there.expression("`name` > 1")),
            Check("c4", there.expression("`code` in ('A')")),
            Check("c5", there.expression("`padded` <> ''")),
            Check("c6", there.expression("`tiny`")),
        ),
        collation="utf8mb4_general_ci",
    )


def test_a_mysql_table_becomes_ours(server: Postgres) -> None:
    name = database(server)
    target = target_of(server, name)
    notes = apply(target, [mysql_table()], {}, "mysql")
    for said in (
        "doc",
        "odd: default",
        "born: default",
        "index words",
        "foreign key fk",
        "check c3",
        "check c4",
        "check c5",
        "check c6",
        "orders: code compared",
        "seen: ON UPDATE now()",
    ):
        assert sum(said in n for n in notes) == 1, (said, notes)
    assert len(notes) == 11
    assert target.differences(target.target_tables([mysql_table()], {}, "mysql")) == ()
    server.psql("insert into shop.orders (tags) values ('a')", name)
    row = server.psql(
        "select id, tiny, flag, big, price, name, status, bits, raw, took, twice, pg_typeof(id), none, odd,"
        " now() - seen < '1 minute', now() - at < '1 minute' from shop.orders",
        name,
    )
    assert row == "1|-1|t|5|0.50|it's|new|0101|\\x00ff|-838:59:59|-2|numeric|||t|t"
    for refused in ("status = 'x'", "tiny = -6", "name = ''", "year = 40000"):
        with pytest.raises(RuntimeError):
            server.psql(f"update shop.orders set {refused}", name)
    indexes = server.psql("select indexname from pg_indexes where schemaname = 'shop' order by 1", name)
    assert indexes.split() == ["orders_code", "orders_name", "orders_part", "orders_pkey"]


def test_what_no_type_holds_is_refused_by_name(server: Postgres) -> None:
    table = Table(
        TableName("s", "t"),
        (
            column("where", pa.binary(), "point", annotation=Annotation.SPATIAL),
            column("sum", pa.int32(), "int", generated="rand()"),
        ),
    )
    with pytest.raises(errors.TypeRefused) as caught:
        target_of(server, "postgres").render([table], {}, "mysql")
    assert len(caught.value.details["columns"]) == 2
    assert "s.t.where: point" in caught.value.message
