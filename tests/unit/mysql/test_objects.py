"""What stands beside tables on MySQL and MariaDB is found by name, with the definitions that the account may read."""

from __future__ import annotations

from collections.abc import Callable

from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql.connection import Session, connect
from whimbrel.connectors.mysql.source.objects import objects
from whimbrel.model.names import TableName
from whimbrel.model.objects import View

HERE = "objects_here"
BESIDE = f"""
CREATE TABLE orders (id INT PRIMARY KEY, n INT); CREATE TABLE other (id INT PRIMARY KEY, n INT);
CREATE VIEW big AS SELECT id FROM orders WHERE n > 100;
CREATE DATABASE {HERE}_reports; CREATE VIEW {HERE}_reports.all_orders AS SELECT id FROM {HERE}.orders;
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2;
CREATE PROCEDURE tidy() DELETE FROM orders;
CREATE TRIGGER stamped BEFORE UPDATE ON orders FOR EACH ROW SET NEW.n = NEW.n + 1;
CREATE TRIGGER elsewhere BEFORE UPDATE ON other FOR EACH ROW SET NEW.n = NEW.n + 1;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM orders;
"""


def test_what_stands_beside_tables(server: MySQL, opened: Callable[..., Session]) -> None:
    for name in (HERE, f"{HERE}_reports"):
        server.client(f"DROP DATABASE IF EXISTS {name}")
    server.create_database(HERE)
    server.client(f"SET GLOBAL log_bin_trust_function_creators = 1; {BESIDE}", HERE)
    found = objects(opened(), [TableName(HERE, "orders")])
    wanted = {
        ("view", f"{HERE}.big"),
        ("function", f"{HERE}.twice"),
        ("procedure", f"{HERE}.tidy"),
        ("event", f"{HERE}.nightly"),
        ("trigger", f"{HERE}.stamped"),
    }
    elsewhere = set() if server.flavor == "mariadb" else {("view", f"{HERE}_reports.all_orders")}
    assert {(o.kind, str(o.name)) for o in found} == wanted | elsewhere
    assert all(o.text and o.text.startswith("CREATE ") for o in found)
    if server.flavor == "mysql":
        assert [o.depends for o in found if isinstance(o, View)] == [(TableName(HERE, "orders"),)] * 2


def test_a_definition_that_the_account_may_not_read(server: MySQL) -> None:
    server.client(
        f"DROP USER IF EXISTS shy; CREATE USER shy IDENTIFIED BY 'pw'; GRANT SELECT, EXECUTE ON {HERE}.* TO shy"
    )
    session = connect({**server.parameters, "user": "shy", "password": "pw"}, "objects")
    found = {str(o.name): o.text for o in objects(session, [TableName(HERE, "orders")])}
    session.close()
    assert {name for name, text in found.items() if text is None} >= {f"{HERE}.big", f"{HERE}.tidy", f"{HERE}.twice"}
