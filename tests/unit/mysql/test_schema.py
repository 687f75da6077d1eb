"""Definitions read, rendered for the same and the other flavor, applied, and read again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql.connection import Session
from whimbrel.connectors.mysql.source.reading import MySQLSource
from whimbrel.connectors.mysql.source.schema import reflect, resolve
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.connectors.mysql.types import canonical, read_type
from whimbrel.errors import SchemaFailed, TableMissing
from whimbrel.model.difference import Kind
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Table

PARENT = "CREATE TABLE parent (id INT PRIMARY KEY, code VARCHAR(10), UNIQUE KEY uq (code)) COMMENT 'par''ent'"
CHILD = r"""
CREATE TABLE `Child x` (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  b TINYINT(1) DEFAULT 1, c TINYINT UNSIGNED, d DECIMAL(10,2) DEFAULT 1.50, big DECIMAL(65,30),
  e VARCHAR(20) CHARACTER SET latin1 DEFAULT 'o''x\\y', f CHAR(3) NOT NULL DEFAULT '',
  g DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), h TIMESTAMP NULL DEFAULT NULL,
  i TIME(2) DEFAULT '-12:00:00', j YEAR DEFAULT 2020, k JSON, l ENUM('a','b''c','d,e') DEFAULT 'a', m SET('x','y'),
  n BIT(5) DEFAULT b'101', o VARBINARY(16) DEFAULT 'ab', p BLOB, q DOUBLE DEFAULT 1e10, r FLOAT,
  s TEXT COMMENT 'co\'m', t INT GENERATED ALWAYS AS (c + 1) VIRTUAL, u INT AS (c * 2) STORED,
  v DATE DEFAULT '2020-01-01', w INT DEFAULT (1 + 2), x VARCHAR(36) DEFAULT (UUID()), y MEDIUMINT UNSIGNED,
  pid INT, parent_code VARCHAR(10), geo POINT,
  KEY k1 (e(5), c DESC), UNIQUE KEY k2 (f, c), FULLTEXT KEY ft (s), KEY (s(20)),
  CONSTRAINT fk1 FOREIGN KEY (pid) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE SET NULL,
  CHECK (b < 10), CONSTRAINT chk2 CHECK (e <> 'x''y')
) COMMENT 'hi' AUTO_INCREMENT = 77
"""
ORIGIN, COPY = "schema_origin", "schema_copy"


@pytest.fixture
def tables(server: MySQL, opened: Callable[..., Session]) -> tuple[Table, ...]:
    server.create_database(ORIGIN)
    server.client(f"DROP DATABASE IF EXISTS {COPY}")
    server.client(f"{PARENT}; {CHILD}; CREATE VIEW a_view AS SELECT * FROM parent", ORIGIN)
    session = opened()
    return reflect(session, resolve(session, [TableName(ORIGIN, "*")]))


def test_resolve_is_case_exact_and_names_all_that_are_missing(
    tables: tuple[Table, ...], opened: Callable[..., Session]
) -> None:
    assert [t.name.table for t in tables] == ["Child x", "parent"]
    wanted = [TableName(ORIGIN, "child x"), TableName(ORIGIN, "a_view"), TableName("nowhere", "*")]
    with pytest.raises(TableMissing) as caught:
        resolve(opened(), wanted)
    assert caught.value.details["tables"] == [str(n) for n in wanted]


def test_a_table_that_is_being_truncated_is_there(server: MySQL, parameters: dict[str, Any]) -> None:
    server.create_database(ORIGIN)
    server.client("CREATE TABLE busy (id INT PRIMARY KEY)", ORIGIN)
    name, done = TableName(ORIGIN, "busy"), threading.Event()
    source = MySQLSource(Endpoint("busy", server.flavor, parameters), "test")

    def truncate() -> None:
        while not done.is_set():
            server.client("TRUNCATE TABLE busy;" * 20, ORIGIN)

    writer = threading.Thread(target=truncate)
    writer.start()
    try:
        for _ in range(200):
            assert source.resolve([name]) == source.resolve([TableName(ORIGIN, "*")]) == (name,)
            assert [(t.name, t.key) for t in source.reflect([name])] == [(name, ("id",))]
    finally:
        done.set()
        source.close()
        writer.join(30)


def test_reflect_types(tables: tuple[Table, ...]) -> None:
    child = tables[0]
    arrows = {c.name: c.type.arrow for c in child.columns}
    assert arrows["id"] == pa.uint64()
    assert arrows["b"] == pa.int8()
    assert arrows["d"] == pa.decimal128(10, 2)
    assert arrows["big"] == pa.decimal256(65, 30)
    assert arrows["g"] == pa.timestamp("us")
    assert arrows["h"] == pa.timestamp("us", "UTC")
    annotations = {c.name: c.type.annotation for c in child.columns}
    assert annotations["k"] is Annotation.JSON
    assert annotations["i"] is Annotation.DURATION
    assert child.column("l").type.labels == ("a", "b'c", "d,e")
    assert child.column("n").type.length == 5
    assert child.column("e").type.collation == "latin1_swedish_ci"
    identity = child.column("id").identity
    assert identity is not None
    assert identity.next_value == 77
    assert child.column("t").generated
    assert not child.column("t").generated_stored
    assert child.column("u").generated_stored
    assert [c.name for c in child.loaded_columns if c.name in "tu"] == []


def test_reflect_keys(tables: tuple[Table, ...]) -> None:
    child, parent = tables
    indexes = {i.name: i for i in child.indexes}
    assert child.primary_key == ("id",)
    assert parent.key == ("id",)
    assert (indexes["k1"].columns, indexes["k1"].prefixes, indexes["k1"].descending) == (
        ("e", "c"),
        (5, None),
        (False, True),
    )
    assert indexes["k2"].unique
    assert indexes["ft"].method == "fulltext"
    key = child.foreign_keys[0]
    assert (key.parent, key.on_delete, key.on_update) == (TableName(ORIGIN, "parent"), "CASCADE", "SET NULL")
    assert len(child.checks) == 2


def test_same_flavor_round_trip(server: MySQL, target: MySQLTarget, tables: tuple[Table, ...]) -> None:
    schemas = {ORIGIN: COPY}
    rendered = target.render(tables, schemas, server.flavor)
    assert rendered.notes == ()
    for _ in range(2):  # applying again changes nothing
        target.execute_script(";\n".join((*rendered.tables, *rendered.objects)))
    assert target.differences(target.target_tables(tables, schemas, server.flavor)) == ()
    for table in ("parent", "Child x"):
        ours, theirs = (server.client(f"SHOW CREATE TABLE `{table}`", db) for db in (COPY, ORIGIN))
        assert _shape(ours) == _shape(theirs)
    target.execute_script(";".join(rendered.drops))
    assert target.existing([TableName(COPY, "parent")]) == ()


def test_odd_definitions_round_trip(server: MySQL, target: MySQLTarget) -> None:
    for name in (ORIGIN, COPY):
        server.create_database(name)
    columns = "t TEXT, id INT, x VARCHAR(9) DEFAULT '0x41', b BINARY(2) DEFAULT 0x41, y YEAR DEFAULT '2020'"
    server.client(f"CREATE TABLE odd ({columns}, PRIMARY KEY (t(5), id DESC)) PARTITION BY KEY (id)", ORIGIN)
    rendered = target.render(reflect(target.session, [TableName(ORIGIN, "odd")]), {ORIGIN: COPY}, server.flavor)
    assert rendered.notes == (f"{ORIGIN}.odd: partitioned on the source, one plain table here",)
    target.execute_script(";".join(rendered.tables))
    ours, theirs = (server.client("SHOW CREATE TABLE odd", database) for database in (COPY, ORIGIN))
    assert _shape(ours) == [line for line in _shape(theirs) if "PARTITION" not in line]


def _shape(create: str) -> list[str]:
    """Lines in no order; names of unnamed checks are the server's own, and so are the charsets of literals."""
    text = create.replace(f"`{COPY}`.", "").replace(f"`{ORIGIN}`.", "").replace(" AUTO_INCREMENT=77", "")
    text = text.replace("_latin1'", "'").replace("_utf8mb4'", "'")
    lines = [line.strip().rstrip(",") for line in text.splitlines()]
    return sorted(line for line in lines if "_chk_" not in line and "CONSTRAINT_1" not in line)


def test_differences_name_columns(server: MySQL, target: MySQLTarget, tables: tuple[Table, ...]) -> None:
    schemas = {ORIGIN: COPY}
    target.execute_script(";".join(target.render(tables, schemas, server.flavor).tables))
    server.client("ALTER TABLE parent MODIFY code VARCHAR(5), ADD extra INT, ADD wanted INT NOT NULL", COPY)
    server.client("ALTER TABLE `Child x` DROP COLUMN r", COPY)
    found = target.differences(target.target_tables(tables, schemas, server.flavor))
    assert [(str(d), d.kind, d.fatal) for d in found] == [
        (f"{COPY}.Child x.r: does not exist", Kind.MISSING, True),
        (f"{COPY}.parent.code: is varchar(5), expected varchar(10)", Kind.TYPE, False),
        (f"{COPY}.parent.extra: is not in the source", Kind.EXTRA, False),
        (f"{COPY}.parent.wanted: is not in the source, and has neither a default nor NULL", Kind.EXTRA, True),
    ]


def test_a_failing_script_says_what_stays(server: MySQL, target: MySQLTarget) -> None:
    server.create_database(COPY)
    create = f"CREATE TABLE {COPY}.a (x TEXT DEFAULT NULL COMMENT ';')"
    sql = f"-- a; comment\n{create}; {create}; SELECT 1"
    with pytest.raises(SchemaFailed, match=r"statement 2 .* the 1 before it were done and stay"):
        target.execute_script(sql)
    assert target.existing([TableName(COPY, "a")])


def test_read_type_knows_the_spellings() -> None:
    assert read_type("int(11) unsigned").arrow == pa.uint32()
    assert read_type("int(10) unsigned zerofill").arrow == pa.uint32()
    assert read_type("longtext", json=True).annotation is Annotation.JSON
    assert read_type("enum('a(1)','b,''c')").labels == ("a(1)", "b,'c")
    assert read_type("geometry", srid=4326).srid == 4326
    assert read_type("longtext /*M!100301 COMPRESSED*/") == read_type("longtext")
    assert read_type("enum('a /*','*/')").labels == ("a /*", "*/")
    assert read_type("uuid").annotation is Annotation.UUID
    assert read_type("vector(3)").annotation is Annotation.NATIVE
    assert canonical("int(11) unsigned") == canonical("int unsigned")
    assert canonical("tinyint(1)") != canonical("tinyint(4)")
    assert canonical("enum('A')") != canonical("enum('a')")


def test_a_schema_of_many_tables_is_read_at_once(server: MySQL, opened: Callable[..., Session]) -> None:
    server.create_database(COPY)
    server.client("".join(f"CREATE TABLE t{n} (id INT PRIMARY KEY, v VARCHAR({n + 1}));" for n in range(30)), COPY)
    session = opened()
    names = [TableName(COPY, f"t{n}") for n in range(29, -1, -1)]
    tables = reflect(session, names)
    assert [t.name for t in tables] == names
    assert [t.column("v").type.length for t in tables] == list(range(30, 0, -1))
    with pytest.raises(TableMissing):
        reflect(session, [*names, replace(names[0], table="t99")])
