"""The shop: its tables, how their values are compared between engines, and how the database is made."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.servers.mysql import MySQL
from tests.servers.postgres import Postgres

Server = Postgres | MySQL
SourceName = Literal["postgres", "mariadb", "mysql"]
SCHEMA = "shop"
DATABASE = "shop_db"  # PostgreSQL only; elsewhere a database is what PostgreSQL calls a schema
MOVER = "mover"
MOVER_PASSWORD = secrets.token_hex(12)  # of servers that live as long as the demo
ROWS = {"customers": 100_000, "products": 20_000, "orders": 270_000, "visits": 100_000}

# Column name -> kind, in column order; proof.py has the text that each engine makes of a kind.
Columns = dict[str, str]

SHOP_POSTGRES: dict[str, Columns] = {
    "customers": {
        "id": "plain",
        "email": "plain",
        "name": "plain",
        "city": "plain",
        "born": "plain",
        "balance": "plain",
        "rating": "plain",
        "preferences": "plain",
        "tags": "plain",
        "avatar": "bytes",
        "joined_at": "instant",
    },
    "products": {
        "sku": "plain",
        "title": "plain",
        "price": "plain",
        "mass": "plain",
        "attributes": "plain",
        "dimensions": "plain",
        "ean": "plain",
        "changed_at": "timestamp",
    },
    "orders": {
        "id": "plain",
        "customer_id": "plain",
        "status": "plain",
        "placed_at": "instant",
        "shipped_on": "plain",
        "total": "plain",
        "note": "plain",
    },
    "order_lines": {
        "order_id": "plain",
        "line": "plain",
        "sku": "plain",
        "quantity": "plain",
        "price": "plain",
        "gift": "boolean",
    },
    "visits": {
        "seen_at": "instant",
        "session": "plain",
        "path": "plain",
        "referrer": "plain",
        "millis": "plain",
        "payload": "bytes",
    },
}

SHOP_MYSQL: dict[str, Columns] = {
    **SHOP_POSTGRES,
    "customers": {**SHOP_POSTGRES["customers"], "rating": "double", "preferences": "json:n,quote,deep"},
    "products": {
        "sku": "plain",
        "title": "plain",
        "price": "plain",
        "mass": "plain",
        "attributes": "json:colour,sizes",
        "ean": "plain",
        "stock": "plain",
        "changed_at": "timestamp",
    },
}


@dataclass(frozen=True)
class Shop:
    """The source server with the shop in it. ``rows`` is how many rows it began with."""

    server: Server
    engine: SourceName
    tables: dict[str, Columns]
    rows: int

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of the source, as PUT /v1/sources takes them."""
        return parameters(self.server)

    def sql(self, statement: str) -> str:
        """Run a statement with the server's own command-line client and return what that prints."""
        if isinstance(self.server, MySQL):
            return self.server.client(statement, SCHEMA)
        return self.server.psql(statement, DATABASE)


def make_mover(server: Server) -> None:
    """The account that Whimbrel uses, with no rights at all: POST /v1/prereqs says which it needs."""
    if isinstance(server, MySQL):
        server.create_user(MOVER, MOVER_PASSWORD)
    else:
        server.psql(f"create role {MOVER} login password '{MOVER_PASSWORD}'")


def parameters(server: Server) -> dict[str, object]:
    """The parameters of an endpoint on a server, for the account that ``make_mover`` made."""
    given = server.parameters if isinstance(server, MySQL) else server.parameters(DATABASE)
    database = SCHEMA if isinstance(server, MySQL) else DATABASE
    return {**given, "user": MOVER, "password": MOVER_PASSWORD, "database": database}


def make_shop(server: Server, engine: SourceName, scale: float = 1.0) -> Shop:
    """Create and fill the shop on a fresh server; ``scale`` makes every table smaller or larger."""
    counts = {name: max(100, int(rows * scale)) for name, rows in ROWS.items()}
    family = "mysql" if isinstance(server, MySQL) else "postgres"
    script = (Path(__file__).parent / "sql" / f"shop_{family}.sql").read_text(encoding="utf-8")
    for name, rows in counts.items():
        script = script.replace(f"@{name}@", str(rows))
    if isinstance(server, MySQL):
        server.client(script)
    else:
        server.create_database(DATABASE)
        server.psql(script, DATABASE)
    shop = Shop(server, engine, SHOP_MYSQL if family == "mysql" else SHOP_POSTGRES, 0)
    counted = shop.sql(" union all ".join(f"select count(*) from {SCHEMA}.{table}" for table in shop.tables))
    return Shop(server, engine, shop.tables, sum(map(int, counted.split())))
