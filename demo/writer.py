"""The shop's customers: a thread that writes to the source for as long as the demo runs."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pymysql

from demo.shop import DATABASE, SCHEMA, Shop
from tests.servers.mysql import MySQL

NAMES = ("Ægir", "d'Artagnan", "back\\slash", "🦩 Flamingo", 'say "hi"', "tab\there", "", "新 しい")


class Writer:
    """Inserts, updates, deletes, key changes, rows without a key, transactions over four tables, and rollbacks.

    ``counts`` says how many of each were committed; ``stop`` ends it and raises what made it fail, if anything did.
    """

    def __init__(self, shop: Shop, per_second: float = 60, seed: int = 7) -> None:
        self.counts: Counter[str] = Counter()
        self._shop = shop
        self._pause = 1 / per_second
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._sold: list[tuple[int, int]] = []  # our own orders: id, number of lines
        self._launched: list[str] = []  # our own products, which nobody has ordered

    @property
    def transactions(self) -> int:
        return sum(self.counts.values()) - self.counts["rolled back"]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the transaction in hand and disconnect. Called twice it is no error."""
        self._stopping.set()
        self._thread.join(30)
        self.check()

    def check(self) -> None:
        """Raise what made the writer fail."""
        if self._error is not None:
            raise RuntimeError(f"the demo's writer failed: {self._error}") from self._error

    def _run(self) -> None:
        try:
            connection = connect(self._shop)
            try:
                self._write(connection)
            finally:
                connection.close()
        except BaseException as e:  # told to whoever calls check() or stop()
            self._error = e

    def _write(self, connection: Any) -> None:
        deeds: list[tuple[str, Callable[[Any], None], int]] = [
            ("order placed", self._place_order, 10),
            ("order updated", self._update_order, 8),
            ("order deleted", self._delete_order, 3),
            ("key changed", self._change_keys, 3),
            ("keys swapped", self._swap_lines, 2),
            ("customers updated", self._update_customers, 3),
            ("keyless rows", self._visit, 6),
            ("rolled back", self._change_mind, 1),
        ]
        weights = [weight for _, _, weight in deeds]
        while not self._stopping.is_set():
            name, deed, _ = self._random.choices(deeds, weights)[0]
            with connection.cursor() as cursor:
                deed(cursor)
            if name == "rolled back":
                connection.rollback()
            else:
                connection.commit()
            self.counts[name] += 1
            self._stopping.wait(self._pause)

    # --- one transaction each ---------------------------------------------------------------------------------------

    def _place_order(self, cursor: Any) -> None:
        customer, lines = self._random.randint(1, 900), self._random.randint(2, 5)
        order = insert_order(cursor, customer, self._random.choice(NAMES))
        for line in range(1, lines + 1):
            sku = f"SKU-{self._random.randint(1, 100):06}"
            cursor.execute(
                f"insert into {SCHEMA}.order_lines (order_id, line, sku, quantity, price, gift)"
                " values (%s, %s, %s, %s, 12.3456, %s)",
                (order, line, sku, line, line % 2 == 0),
            )
        cursor.execute(f"update {SCHEMA}.customers set balance = balance - 12.34 where id = %s", (customer,))
        self._visit(cursor)
        self._sold.append((order, lines))

    def _update_order(self, cursor: Any) -> None:
        cursor.execute(
            f"update {SCHEMA}.orders set status = 'sent', note = %s, total = total + 0.01 where id between %s and %s",
            (self._random.choice((*NAMES, None)), *self._some_orders()),
        )

    def _delete_order(self, cursor: Any) -> None:
        if self._sold:
            order, _ = self._sold.pop(self._random.randrange(len(self._sold)))
            cursor.execute(f"delete from {SCHEMA}.order_lines where order_id = %s", (order,))
            cursor.execute(f"delete from {SCHEMA}.orders where id = %s", (order,))

    def _change_keys(self, cursor: Any) -> None:
        """A product gets another key; lines of an old order get others, which moves them within the table."""
        if len(self._launched) < 50:
            self._launched.append(f"NEW-{time.monotonic_ns()}")
            self._insert_product(cursor, self._launched[-1])
        old = self._launched.pop(0)
        new = f"{old[:20]}é{self._random.randint(0, 99)}"
        cursor.execute(f"update {SCHEMA}.products set sku = %s where sku = %s", (new, old))
        first, _ = self._some_orders()
        cursor.execute(f"update {SCHEMA}.order_lines set line = line + 1000 where order_id = %s", (first,))

    def _swap_lines(self, cursor: Any) -> None:
        """Two lines trade their numbers within one transaction."""
        if self._sold:
            order, _ = self._random.choice(self._sold)
            for old, new in ((1, -1), (2, 1), (-1, 2)):
                sql = f"update {SCHEMA}.order_lines set line = %s where order_id = %s and line = %s"
                cursor.execute(sql, (new, order, old))

    def _update_customers(self, cursor: Any) -> None:
        first = self._random.randint(1, 800)
        cursor.execute(
            f"update {SCHEMA}.customers set name = %s, rating = %s, city = null, avatar = %s"
            " where id between %s and %s",
            (self._random.choice(NAMES), self._random.randint(-9, 9) / 4, b"\x00\xff\\\n\t'", first, first + 20),
        )

    def _visit(self, cursor: Any) -> None:
        session = f"00000000-0000-4000-8000-{self._random.randint(0, 999):012}"
        millis = self._random.randint(100_000, 999_999)
        for _ in range(2):  # twice the same row
            cursor.execute(
                f"insert into {SCHEMA}.visits (seen_at, session, path, millis, payload)"
                " values ('2026-01-02 03:04:05.678901', %s, '/demo', %s, %s)",
                (session, millis, bytes(range(32))),
            )
        if self._random.random() < 0.2:
            cursor.execute(
                f"update {SCHEMA}.visits set referrer = 'seen' where path = '/demo' and millis = %s", (millis,)
            )
        if self._random.random() < 0.1:
            cursor.execute(f"delete from {SCHEMA}.visits where path = '/demo' and millis = %s", (millis,))

    def _change_mind(self, cursor: Any) -> None:
        cursor.execute(f"update {SCHEMA}.orders set total = -1, note = 'never happened' where id < 50")
        self._insert_product(cursor, "NEVER")

    def _insert_product(self, cursor: Any, sku: str) -> None:
        extra = ("stock", 4_000_000_000) if "stock" in self._shop.tables["products"] else ("mass", "0.10")
        cursor.execute(
            f"insert into {SCHEMA}.products (sku, title, price, attributes, {extra[0]}, changed_at)"
            " values (%s, 'nové', 1.5, %s, %s, '2026-01-02 03:04:05.000001')",
            (sku, '{"colour": "🟢", "sizes": [1, 2]}', extra[1]),
        )

    def _some_orders(self) -> tuple[int, int]:
        first = self._random.randint(1, 90)
        return first, first + 5


def insert_order(cursor: Any, customer: int, note: str) -> int:
    """Insert an order under the number that the server gives it, and return that."""
    columns, values = "customer_id, status, placed_at, total, note", "%s, 'new', '2026-01-02 03:04:05', 12.34, %s"
    sql = f"insert into {SCHEMA}.orders ({columns}) values ({values})"
    if isinstance(cursor, psycopg.Cursor):
        row = cursor.execute(f"{sql} returning id", (customer, note)).fetchone()
        return int(row[0]) if row else 0
    cursor.execute(sql, (customer, note))
    return int(cursor.lastrowid)


def connect(shop: Shop) -> Any:
    """A connection of the source's own driver, without autocommit, in UTC."""
    server = shop.server
    if isinstance(server, MySQL):
        return pymysql.connect(
            host="127.0.0.1",
            port=server.port,
            user="root",
            password=server.password,
            charset="utf8mb4",
            init_command="set time_zone = '+00:00'",
        )
    return psycopg.connect(server.dsn(DATABASE), options="-c timezone=UTC")
