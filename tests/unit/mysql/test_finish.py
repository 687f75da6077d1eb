"""Indexes and foreign keys: away before the rows, back after them, whatever happens in between."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql.source.schema import reflect
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.connectors.protocols import Claim
from whimbrel.errors import Fenced, ValueRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

DATABASE = "finish_here"
SQL = """
CREATE TABLE parent (id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(10), UNIQUE KEY uq (code)) AUTO_INCREMENT = 50;
CREATE TABLE child (
  id INT PRIMARY KEY, pid INT, self INT, raw VARBINARY(4) DEFAULT 0xFF00, txt TEXT,
  n INT NOT NULL AUTO_INCREMENT, code VARCHAR(10),
  KEY by_n (n), KEY by_pid (pid, txt(5) DESC), UNIQUE KEY uq (code, pid),
  FULLTEXT KEY ft (txt), FULLTEXT KEY ft2 (code),
  CONSTRAINT fk_parent FOREIGN KEY (pid) REFERENCES parent (id) ON DELETE CASCADE,
  CONSTRAINT fk_code FOREIGN KEY (code) REFERENCES parent (code) ON UPDATE CASCADE,
  CONSTRAINT fk_self FOREIGN KEY (self) REFERENCES child (id));
CREATE TABLE keyless (a INT NOT NULL, b INT, UNIQUE KEY the_key (a), KEY other (b));
CREATE TABLE outside (code VARCHAR(10), FOREIGN KEY (code) REFERENCES parent (code));
"""


@pytest.fixture
def tables(server: MySQL, target: MySQLTarget) -> tuple[Table, ...]:
    server.create_database(DATABASE)
    server.client(SQL, DATABASE)
    return reflect(target.session, [TableName(DATABASE, t) for t in ("child", "keyless", "parent")])


def indexes(server: MySQL, table: str) -> set[str]:
    sql = f"SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema = '{DATABASE}'"
    return set(server.client(f"{sql} AND table_name = '{table}'").split())


def foreign_keys(server: MySQL) -> set[str]:
    sql = "SELECT constraint_name FROM information_schema.referential_constraints"
    return set(server.client(f"{sql} WHERE constraint_schema = '{DATABASE}' AND table_name = 'child'").split())


def created(server: MySQL) -> list[list[str]]:
    """The definitions, lines in no order."""
    shown = (server.client(f"SHOW CREATE TABLE {t}", DATABASE) for t in ("child", "keyless", "parent"))
    return [sorted(line.strip(" ,\n") for line in text.splitlines()) for text in shown]


def finish(target: MySQLTarget, tables: tuple[Table, ...]) -> None:
    for table in tables:
        target.finisher.indexes(table, table, lambda: False)
    target.finisher.keys(tables)
    target.finisher.sequences(tables, tables)


def test_dropped_and_built_again(server: MySQL, target: MySQLTarget, tables: tuple[Table, ...]) -> None:
    before = created(server)
    for _ in range(2):
        target.finisher.prepare(tables)
        assert indexes(server, "child") == {"PRIMARY", "by_n"}
        assert indexes(server, "keyless") == {"the_key"}
        assert indexes(server, "parent") == {"PRIMARY", "uq"}  # the table outside needs uq
        assert foreign_keys(server) == set()
    for _ in range(2):
        finish(target, tables)
        assert created(server) == before
    assert server.client("SELECT COUNT(*) FROM whimbrel.dropped") == "0\n"


def test_indexes_that_only_the_target_has_come_back(
    server: MySQL, target: MySQLTarget, tables: tuple[Table, ...]
) -> None:
    server.client("ALTER TABLE keyless ADD KEY users_own (b, a)", DATABASE)
    target.finisher.prepare(tables)
    assert indexes(server, "keyless") == {"the_key"}
    again = MySQLTarget(target.endpoint, "another-operation")
    finish(again, tables)
    again.close()
    assert indexes(server, "keyless") == {"the_key", "other", "users_own"}


def test_indexes_that_the_target_never_had_are_made(
    server: MySQL, target: MySQLTarget, tables: tuple[Table, ...]
) -> None:
    server.client("ALTER TABLE child DROP KEY ft; ALTER TABLE keyless DROP KEY other", DATABASE)
    finish(target, tables)
    assert "ft" in indexes(server, "child")
    assert "other" in indexes(server, "keyless")


def test_stopped_before_it_builds(server: MySQL, target: MySQLTarget, tables: tuple[Table, ...]) -> None:
    target.finisher.prepare(tables)
    target.finisher.indexes(tables[1], tables[1], lambda: True)
    assert indexes(server, "keyless") == {"the_key"}


def test_definitions_are_changed_by_the_owner_alone(
    server: MySQL, target: MySQLTarget, tables: tuple[Table, ...]
) -> None:
    with closing(target.ledger("m")) as ledger:
        old = Claim("m", ledger.claim())
        new = Claim("m", ledger.claim())
    before = created(server)
    with pytest.raises(Fenced):
        target.finisher.prepare(tables, old)
    assert created(server) == before
    target.finisher.prepare(tables, new)
    bare = created(server)
    for write in (
        lambda: target.finisher.indexes(tables[0], tables[0], lambda: False, old),
        lambda: target.finisher.keys(tables, old),
    ):
        with pytest.raises(Fenced):
            write()
        assert created(server) == bare
    for table in tables:
        target.finisher.indexes(table, table, lambda: False, new)
    target.finisher.keys(tables, new)
    assert created(server) == before


def test_duplicates_are_refused_without_their_value(
    server: MySQL, target: MySQLTarget, tables: tuple[Table, ...]
) -> None:
    target.finisher.prepare(tables)
    server.client("INSERT INTO child (id, pid, code) VALUES (1, 1, 'hush'), (2, 1, 'hush')", DATABASE)
    with pytest.raises(ValueRefused) as caught:
        target.finisher.indexes(tables[0], tables[0], lambda: False)
    assert "hush" not in str(caught.value.to_json())
    assert str(tables[0].name) in caught.value.message


def test_auto_increment_goes_on(server: MySQL, target: MySQLTarget, tables: tuple[Table, ...]) -> None:
    server.client("TRUNCATE TABLE keyless; SET foreign_key_checks = 0; TRUNCATE TABLE parent", DATABASE)
    target.finisher.sequences(tables, tables)
    server.client("INSERT INTO parent (code) VALUES ('x')", DATABASE)
    assert server.client("SELECT id FROM parent", DATABASE) == "50\n"
    server.client("INSERT INTO parent (id) VALUES (700)", DATABASE)
    target.finisher.sequences(tables, tables)
    server.client("INSERT INTO parent (code) VALUES ('y')", DATABASE)
    assert server.client("SELECT MAX(id) FROM parent", DATABASE) == "701\n"
