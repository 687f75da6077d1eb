"""Writers of the soak: mixed transactions on all ten tables, at a rate, for as long as they are let.

They speak to the source directly, as other applications do. When it is killed they wait for it and go on; a transaction
whose end they did not hear of needs no memory, as the source itself is what the target is compared with.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
import pymysql

from tests.servers.mysql import MySQL
from tests.servers.postgres import Postgres
from tests.soak.kinds import KINDS, Family
from tests.soak.tables import SCHEMA, Table, tables

SAMPLE = 250  # keys of each table that a writer knows of
REFRESH = 4.0  # seconds between looks at the tables' keys
GIVE_UP = 120.0  # seconds without any connection to the source, after which the writer has failed
_CONFLICTS = {
    1213: "deadlocked",
    1205: "deadlocked",
    1062: "refused",
    1451: "refused",
    1452: "refused",
    1412: "refused",
}
_STATES = {"40P01": "deadlocked", "23505": "refused", "23503": "refused", "55P03": "deadlocked"}


class Writer:
    """One connection and its thread. ``counts``: transactions by how they ended; ``operations``: rows that were changed
    by those that were committed."""

    def __init__(self, server: Postgres | MySQL, database: str, rate: float, rows: int, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.operations = 0
        self.error: BaseException | None = None
        self._server, self._database = server, database
        self._family: Family = "postgres" if isinstance(server, Postgres) else "mysql"
        self._tables = {t.name: t for t in tables(self._family)}
        self._rate, self._rows = rate, rows
        self._random = random.Random(seed)
        self._keys: dict[str, list[tuple[Any, ...]]] = {}
        self._sizes: dict[str, int] = {}
        self._looked = 0.0
        self._done = 0  # rows changed by the open transaction
        self._cursor: Any = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"writer-{seed}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the transaction in hand. Raises what made the writer fail."""
        self._stopping.set()
        self._thread.join(60)
        if self._thread.is_alive():
            raise RuntimeError("a writer does not stop: its statement hangs at the source")
        self.check()

    def check(self) -> None:
        if self.error is not None:
            raise RuntimeError(f"a writer failed: {self.error!r}") from self.error

    def fill(self) -> None:
        """The first rows of all tables, in this thread."""
        connection = self._connect()
        with connection.cursor() as self._cursor:
            for table in self._tables.values():
                for _ in range(0, self._rows, 50):
                    self._insert(table, 50)
                self._look()  # children need to know their parents
        connection.commit()
        connection.close()

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        began, alive = time.monotonic(), time.monotonic()
        try:
            while not self._stopping.is_set():
                try:
                    connection = self._connect()
                except (psycopg.OperationalError, pymysql.MySQLError):
                    if time.monotonic() - alive > GIVE_UP:
                        raise
                    self._stopping.wait(0.2)
                    continue
                began = self._write(connection, began)
                alive = time.monotonic()
        except BaseException as e:  # told to whoever calls check() or stop()
            self.error = e

    def _write(self, connection: Any, began: float) -> float:
        """Until told to stop, or the connection is lost. Returns since when the rate is kept."""
        base = self.operations
        began = time.monotonic()
        try:
            while not self._stopping.is_set():
                with connection.cursor() as self._cursor:
                    self._transaction(connection)
                ahead = (self.operations - base) / self._rate - (time.monotonic() - began)
                if ahead > 0:
                    self._stopping.wait(min(ahead, 5.0))
                elif ahead < -5:  # too slow to keep the rate; no burst later
                    base, began = self.operations, time.monotonic()
        except (psycopg.OperationalError, psycopg.InterfaceError, pymysql.MySQLError, OSError) as e:
            self._require_lost(e)
            self.counts["cut off by the source"] += 1
        finally:
            with suppress(psycopg.Error, pymysql.MySQLError):
                connection.close()
        return began

    def _transaction(self, connection: Any) -> None:
        self._look()
        self._done = 0
        r = self._random
        try:
            if r.random() < 0.0005:
                self._cursor.execute("truncate table moments")
                self.counts["truncated"] += 1
            for _ in range(r.choice((1, 1, 1, 2, 3, 6))):
                self._deed()
            if r.random() < 0.1:
                kept = self._done
                self._cursor.execute("savepoint half")
                self._deed()
                self._cursor.execute("rollback to savepoint half")
                self._done = kept
                self.counts["rolled back to a savepoint"] += 1
            if r.random() < 0.06:
                connection.rollback()
                self.counts["rolled back"] += 1
                return
            connection.commit()
        except (psycopg.Error, pymysql.MySQLError) as e:
            why = _conflict(e)
            if why is None:
                raise
            connection.rollback()
            self.counts[why] += 1
            return
        self.counts["committed"] += 1
        self.operations += self._done

    def _require_lost(self, error: Exception) -> None:
        """Raise what is not the loss of the connection: then the soak itself is wrong."""
        if isinstance(error, pymysql.MySQLError):
            lost = bool(error.args) and error.args[0] in (0, 1053, 1927, 2003, 2006, 2013, 2014)
        else:
            lost = not isinstance(error, psycopg.Error) or error.sqlstate in (None, "57P01", "57P02", "57P03")
        if not lost:
            raise error

    # --- deeds --------------------------------------------------------------------------------------------------------

    def _deed(self) -> None:
        table = self._random.choice(list(self._tables.values()))
        special: dict[str, Callable[[Table], None]] = {
            "badges": self._trade_badges,
            "parents": self._family_matters,
            "children": self._family_matters,
            "tree": self._tend_tree,
            "visits": self._visit,
        }
        if table.name in special and self._random.random() < 0.6:
            special[table.name](table)
            return
        deeds = [self._some_inserts, self._update, self._change_key, self._delete, self._update_many, self._swap_keys]
        crowded = self._sizes[table.name] > self._rows
        weights = [4 if crowded else 9, 12, 4 if table.key else 0, 10 if crowded else 4, 0.2, 1 if table.key else 0]
        self._random.choices(deeds, weights)[0](table)

    def _some_inserts(self, table: Table) -> None:
        self._insert(table, self._random.choice((1, 2, 5, 20)))

    def _insert(self, table: Table, rows: int) -> None:
        columns = [c for c, kind in table.columns.items() if kind != "id" or self._random.random() < 0.05]
        one = f"({', '.join(['%s'] * len(columns))})"
        drawn = [self._draw(table, column) for _ in range(rows) for column in columns]
        self._execute(f"insert into {table.name} ({', '.join(columns)}) values {', '.join([one] * rows)}", drawn)

    def _update(self, table: Table) -> None:
        """Some columns of a few rows; the others, big texts among them, stay as they are."""
        if not table.key:
            self._visit(table)
            return
        chosen = self._random.sample(table.values, self._random.randint(1, len(table.values))) if table.values else []
        if chosen:
            self._set(table, chosen, self._some_keys(table, self._random.choice((1, 1, 3))))

    def _update_many(self, table: Table) -> None:
        """Most of a table in one statement."""
        if table.values:
            column = self._random.choice([c for c in table.values if table.columns[c] not in ("body", "bytes")])
            key = table.key[0] if table.key else column
            self._execute(f"update {table.name} set {column} = %s where {key} is not null", [self._draw(table, column)])

    def _change_key(self, table: Table) -> None:
        for key in self._some_keys(table, 1):
            new = [self._key_value(table, column) for column in table.key]
            if table.references:
                self._execute(f"update {table.name} set {table.references[0][0]} = null where id = %s", key)
            self._execute(
                f"update {table.name} set {', '.join(f'{c} = %s' for c in table.key)} where {table.where}",
                [*new, *key],
            )

    def _swap_keys(self, table: Table) -> None:
        """Two rows trade their keys within the transaction."""
        keys = self._some_keys(table, 2)
        if len(set(keys)) == 2:
            between = tuple(self._key_value(table, column) for column in table.key)
            sql = f"update {table.name} set {', '.join(f'{c} = %s' for c in table.key)} where {table.where}"
            for new, old in ((between, keys[0]), (keys[0], keys[1]), (keys[1], between)):
                self._execute(sql, [*new, *old])

    def _delete(self, table: Table) -> None:
        if not table.key:
            self._execute("delete from visits where millis = %s", [self._millis()])
            return
        for key in self._some_keys(table, self._random.choice((1, 2, 8))):
            if table.name == "parents":
                self._execute("delete from children where parent_id = %s", key)
            if table.name == "tree":
                self._execute("update tree set above = null where above = %s", key)
            self._execute(f"delete from {table.name} where {table.where}", key)

    def _trade_badges(self, table: Table) -> None:
        """Unique values go from row to row: traded, or taken over from a row that is gone or has another one now."""
        r = self._random
        keys = sorted(set(self._some_keys(table, 2)))
        if len(keys) < 2:
            return
        marks = ", ".join(["%s"] * len(keys))
        self._cursor.execute(
            f"select id, code, place, turn from badges where id in ({marks}) for update", [k[0] for k in keys]
        )
        found = self._cursor.fetchall()
        if len(found) < 2:
            return
        (one, code, place, turn), (two, other, _, _) = found[:2]
        match r.randrange(4):
            case 0:
                for id, new in ((one, self._draw(table, "code")), (two, code), (one, other)):
                    self._execute("update badges set code = %s where id = %s", [new, id])
            case 1:
                self._execute("delete from badges where id = %s", [one])
                self._execute(
                    "insert into badges (id, code, place, turn, label) values (%s, %s, %s, %s, %s)",
                    [self._draw(table, "id"), code, place, turn, self._draw(table, "label")],
                )
            case 2:
                self._execute("update badges set code = %s where id = %s", [self._draw(table, "code"), one])
                self._execute("update badges set code = %s, label = null where id = %s", [code, two])
            case _:
                self._execute("update badges set id = %s, turn = %s where id = %s",
                              [self._draw(table, "id"), self._draw(table, "turn"), one])  # fmt: skip
                self._execute("update badges set place = %s, turn = %s where id = %s", [place, turn, two])

    def _family_matters(self, _: Table) -> None:
        """A parent with children of its own, or a child that moves, or a whole family that goes."""
        parents, children = self._tables["parents"], self._tables["children"]
        match self._random.randrange(3):
            case 0:
                id = self._random.randint(10**12, 10**15)
                self._execute("insert into parents (id, name) values (%s, %s)", [id, self._draw(parents, "name")])
                for _child in range(self._random.randint(1, 4)):
                    self._execute(
                        "insert into children (parent_id, name, amount) values (%s, %s, %s)",
                        [id, self._draw(children, "name"), self._draw(children, "amount")],
                    )
                if self._random.random() < 0.2:  # and never was
                    self._execute("delete from children where parent_id = %s", [id])
                    self._execute("delete from parents where id = %s", [id])
            case 1:
                for key, parent in zip(self._some_keys(children, 3), self._some_keys(parents, 3), strict=False):
                    self._execute("update children set parent_id = %s where id = %s", [parent[0], key[0]])
            case _:
                for key in self._some_keys(parents, 1):
                    self._execute("delete from children where parent_id = %s", key)
                    self._execute("delete from parents where id = %s", key)

    def _tend_tree(self, table: Table) -> None:
        match self._random.randrange(3):
            case 0:
                above = self._some_keys(table, 1)
                for _ in range(3):  # each below the one before
                    id = self._draw(table, "id")
                    sql = "insert into tree (id, above, name) values (%s, %s, %s)"
                    self._execute(sql, [id, above[0][0] if above else None, self._draw(table, "name")])
                    above = [(id,)]
            case 1:
                for key, above_key in zip(self._some_keys(table, 2), self._some_keys(table, 2), strict=False):
                    self._execute("update tree set above = %s where id = %s", [above_key[0], key[0]])
            case _:
                self._delete(table)

    def _visit(self, table: Table) -> None:
        """Rows without a key, some of them twice the same."""
        match self._random.randrange(3):
            case 0:
                columns = list(table.columns)
                row = [self._draw(table, c) for c in columns]
                row[columns.index("millis")] = self._millis()
                sql = f"insert into visits ({', '.join(columns)}) values ({', '.join(['%s'] * len(columns))})"
                for _ in range(self._random.randint(1, 3)):
                    self._execute(sql, row)
            case 1:
                self._execute(
                    "update visits set path = %s where millis = %s", [self._draw(table, "path"), self._millis()]
                )
            case _:
                self._execute("delete from visits where millis = %s", [self._millis()])

    # --- values and keys ----------------------------------------------------------------------------------------------

    def _millis(self) -> int:
        return self._random.randint(-99, 99)

    def _draw(self, table: Table, column: str) -> Any:
        for tied, parent in table.references:
            if tied == column:
                known = self._keys.get(parent)
                return self._random.choice(known)[0] if known and self._random.random() < 0.8 else None
        if column not in table.fixed and self._random.random() < 0.1:
            return None
        kind = table.columns[column]
        value = KINDS[kind].draw(self._random)
        return format(value, "08b") if kind == "bit" and self._family == "postgres" else value

    def _key_value(self, table: Table, column: str) -> Any:
        return KINDS[table.columns[column]].draw(self._random)

    def _some_keys(self, table: Table, most: int) -> list[tuple[Any, ...]]:
        known = self._keys.get(table.name, [])
        return sorted(self._random.sample(known, min(most, len(known))))  # in order, or writers deadlock too often

    def _set(self, table: Table, columns: Sequence[str], keys: Sequence[tuple[Any, ...]]) -> None:
        sql = f"update {table.name} set {', '.join(f'{c} = %s' for c in columns)} where {table.where}"
        for key in keys:
            self._execute(sql, [*(self._draw(table, c) for c in columns), *key])

    def _execute(self, sql: str, arguments: Sequence[Any]) -> None:
        self._cursor.execute(sql, list(arguments))
        self._done += max(self._cursor.rowcount, 0)

    def _look(self) -> None:
        """Learn now and then which keys there are."""
        if time.monotonic() - self._looked < REFRESH and len(self._keys) == len(self._tables) and not self._filling:
            return
        anyhow = "random()" if self._family == "postgres" else "rand()"
        for table in self._tables.values():
            columns = ", ".join(table.key) or "millis"
            self._cursor.execute(f"select {columns} from {table.name} order by {anyhow} limit {SAMPLE}")
            self._keys[table.name] = [tuple(row) for row in self._cursor.fetchall()]
            self._cursor.execute(f"select count(*) from {table.name}")
            self._sizes[table.name] = self._cursor.fetchone()[0]
        self._looked = time.monotonic()

    @property
    def _filling(self) -> bool:
        return not self._thread.is_alive()

    def _connect(self) -> Any:
        if isinstance(self._server, Postgres):
            options = f"-c timezone=UTC -c search_path={SCHEMA} -c lock_timeout=20s"
            return psycopg.connect(self._server.dsn(self._database), options=options, connect_timeout=5)
        return pymysql.connect(
            host="127.0.0.1",
            port=self._server.port,
            user="root",
            password=self._server.password,
            database=SCHEMA,
            charset="utf8mb4",
            connect_timeout=5,
            read_timeout=60,
            init_command="set time_zone = '+00:00', innodb_lock_wait_timeout = 20",
        )


def _conflict(error: Exception) -> str | None:
    """How transactions of several writers come into each other's way; None for every other error."""
    if isinstance(error, pymysql.MySQLError):
        return _CONFLICTS.get(error.args[0]) if error.args else None
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return _STATES.get(state or "")
