"""Changes of one database applied to another; both are read with the server's own client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest

from tests.servers.mysql import MySQL
from tests.unit.mysql.moving import SOURCE, TARGET, Applying, captured, contents, make, now, reflected
from whimbrel.connectors.mysql.target.apply import MySQLApplier
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.errors import LoaderFailed, ValueRefused
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment, TableChanges
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

Move = Callable[..., list[Segment]]


@pytest.fixture
def move(server: MySQL, job: Job, target: MySQLTarget) -> Iterator[Move]:
    """Make tables, run statements on the first database, apply the changes to the second, compare them."""
    opened: list[Applying] = []

    def run(ddl: str, sql: str, *, before: str = "", limit: int = 1 << 30, again: bool = False) -> list[Segment]:
        make(server, ddl + before)
        tables = reflected(job, SOURCE)
        start = now(job)
        server.client(sql, SOURCE)
        applying = Applying(job, target, tables)
        opened.append(applying)
        segments = captured(job, tables, start, limit)
        applying(segments)
        if again:
            applying(segments)
        for table in tables:
            name = table.name.table
            assert contents(server, TARGET, name) == contents(server, SOURCE, name), name
        assert applying.ledger.position() == segments[-1].position
        return segments

    yield run
    for applying in opened:
        applying.close()


ITEMS = "CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(40), amount DECIMAL(10,2), at DATETIME(3));"
ROWS = "INSERT INTO items VALUES (1,'a',1.50,NOW()),(2,'b',NULL,NULL),(3,'c',-3.25,'2026-11-23 13:00:00.125');"


def test_inserts_updates_and_deletes_arrive(move: Move) -> None:
    segments = move(
        ITEMS,
        "INSERT INTO items VALUES (4,'tab\\there',4,NULL),(5,'',5,NULL); UPDATE items SET amount = 9.99 WHERE id = 1;"
        "DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (6,'x',6,NULL); DELETE FROM items WHERE id = 6;"
        "DELETE FROM items WHERE id = 3; INSERT INTO items VALUES (3,'again',0,NULL);",
        before=ROWS,
    )
    counts = segments[0].counts[TableName(SOURCE, "items")]
    assert (counts.inserts, counts.updates, counts.deletes) == (4, 1, 3)


def test_keys_move_and_swap(move: Move) -> None:
    move(
        ITEMS,
        "BEGIN; UPDATE items SET id = 9 WHERE id = 1; UPDATE items SET id = 1 WHERE id = 2;"
        "UPDATE items SET id = 2 WHERE id = 9; COMMIT; UPDATE items SET id = id + 100; UPDATE items SET name = 'n'",
        before=ROWS,
    )


def test_a_composite_key_and_a_unique_key_that_stands_for_one(move: Move) -> None:
    move(
        "CREATE TABLE c (a INT, b VARCHAR(10) COLLATE utf8mb4_bin, v INT, PRIMARY KEY (a, b));"
        "CREATE TABLE q (code BINARY(4) NOT NULL, v INT, UNIQUE KEY (code));"
        "INSERT INTO c VALUES (1,'x',1),(1,'X',2),(2,'x',3); INSERT INTO q VALUES (0x01000000,1),(0x0102,2);",
        "UPDATE c SET v = v + 10 WHERE b = 'X'; UPDATE c SET b = 'y' WHERE a = 2; DELETE FROM c WHERE a=1 AND b='x';"
        "UPDATE q SET v = 5; UPDATE q SET code = 0x0300 WHERE v = 5 AND code = 0x01000000; DELETE FROM q WHERE v = 2",
    )


def test_a_case_insensitive_key_changes_its_case(move: Move) -> None:
    move(
        "CREATE TABLE k (k VARCHAR(10) PRIMARY KEY, v INT) COLLATE utf8mb4_general_ci;"
        "INSERT INTO k VALUES ('a',1),('b',2);",
        "UPDATE k SET k = 'A' WHERE k = 'a'; DELETE FROM k WHERE k = 'b'; INSERT INTO k VALUES ('B', 3)",
    )


def test_a_table_without_a_key_keeps_its_duplicates(move: Move) -> None:
    move(
        "CREATE TABLE nk (a INT, b VARCHAR(10), f FLOAT, d DOUBLE, j JSON, t TIME(2), x BIT(9), y BLOB);"
        "INSERT INTO nk VALUES " + ",".join(["(1,'a',0.1,0.1,'{\"k\":1}','1:2:3.45',b'101',0x00ff)"] * 5) + ";"
        "INSERT INTO nk VALUES (NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),(NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),"
        "(2,'A',1e20,-1e-300,'[1,2]','-0:00:00.5',b'1',''),(2,'a',1e20,-1e-300,'[1,2]','-0:00:00.5',b'1','');",
        "DELETE FROM nk WHERE a = 1 LIMIT 2; DELETE FROM nk WHERE a IS NULL LIMIT 1;"
        "DELETE FROM nk WHERE a = 2 AND BINARY b = 'A'; UPDATE nk SET b = 'é' WHERE a = 2;"
        "INSERT INTO nk VALUES (1,'a',0.1,0.1,'{\"k\":1}','1:2:3.45',b'101',0x00ff);"
        "INSERT INTO nk VALUES (7,'z',3.14159274,1,NULL,NULL,0,'q');"
        "UPDATE nk SET d = d * 2 WHERE a = 1 LIMIT 1",
    )


def test_triggers_of_the_target_are_refused(server: MySQL, job: Job, target: MySQLTarget) -> None:
    make(server, ITEMS)
    tables, loaded = reflected(job, SOURCE), reflected(job, TARGET)
    server.client("CREATE TRIGGER twice BEFORE INSERT ON items FOR EACH ROW SET NEW.amount = NEW.amount * 2", TARGET)
    with pytest.raises(LoaderFailed, match=rf"{TARGET}\.twice"):
        MySQLApplier(job.target.parameters, job, tables, loaded)
    with pytest.raises(LoaderFailed, match=rf"{TARGET}\.twice"):
        target.finisher.prepare(loaded)


def test_truncate_keeps_its_place(move: Move) -> None:
    segments = move(
        ITEMS,
        "INSERT INTO items VALUES (10,'gone',1,NULL); TRUNCATE TABLE items; INSERT INTO items VALUES (11,'new',1,NULL)",
        before=ROWS,
    )
    assert segments[0].counts[TableName(SOURCE, "items")].truncates == 1


def test_generated_columns_are_left_to_the_target(move: Move) -> None:
    move(
        "CREATE TABLE g (id INT PRIMARY KEY, v INT, a INT AS (v * 2) VIRTUAL, b INT AS (v * 3) STORED, w INT);",
        "INSERT INTO g (id, v, w) VALUES (1,10,7),(2,NULL,8); UPDATE g SET v = 11 WHERE id = 1",
    )


def test_parents_and_children_in_one_batch(move: Move) -> None:
    move(
        "CREATE TABLE p (id INT PRIMARY KEY);"
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id));"
        "INSERT INTO p VALUES (1),(2); INSERT INTO c VALUES (1,1),(2,2);",
        "BEGIN; DELETE FROM c WHERE p = 1; DELETE FROM p WHERE id = 1; INSERT INTO p VALUES (3);"
        "INSERT INTO c VALUES (3,3); COMMIT",
    )


def test_a_large_transaction_is_applied_in_slices_and_committed_as_one(move: Move, server: MySQL) -> None:
    rows = ",".join(f"({n},'{'x' * 30}',{n},NULL)" for n in range(100, 6100))
    segments = move(ITEMS, f"BEGIN; INSERT INTO items VALUES {rows}; DELETE FROM items WHERE id < 2000; COMMIT",
                    before=ROWS, limit=64 * 1024)  # fmt: skip
    assert sum(not s.ends_transaction for s in segments) >= 2
    assert sum(s.transactions for s in segments) == 1


def test_an_error_leaves_nothing_and_the_applier_usable(server: MySQL, job: Job, target: MySQLTarget) -> None:
    make(server, "CREATE TABLE v (id INT PRIMARY KEY, t VARCHAR(40));")
    server.client("ALTER TABLE v MODIFY t VARCHAR(3)", TARGET)
    tables = reflected(job, SOURCE)
    start = now(job)
    server.client("INSERT INTO v VALUES (1,'ok'),(2,'far too long')", SOURCE)
    segments = captured(job, tables, start)
    with closing(Applying(job, target, tables)) as applying:
        with pytest.raises(ValueRefused, match="column t") as refused:
            applying(segments)
        assert "far too long" not in str(refused.value.to_json())
        assert contents(server, TARGET, "v") == [""]
        server.client("ALTER TABLE v MODIFY t VARCHAR(40)", TARGET)
    with closing(Applying(job, target, tables)) as applying:
        applying(segments)
    assert contents(server, TARGET, "v") == contents(server, SOURCE, "v")


# --- values that the source left out (PostgreSQL's TOAST) -------------------------------------------------------------


def _toast(job: Job) -> tuple[Table, Table]:
    source = reflected(job, SOURCE, "d")[0]
    return source, reflected(job, TARGET, "d")[0]


def _changes(table: Table, rows: list[tuple[int, tuple[bytes | None, ...], tuple[bool, ...]]]) -> TableChanges:
    columns = [c.name for c in table.loaded_columns]
    data = [pa.array([row[1][n] for row in rows], pa.binary()) for n in range(len(columns))]
    masks = {
        name: pa.array([row[2][n] for row in rows]) for n, name in enumerate(columns) if any(row[2][n] for row in rows)
    }
    ops = pa.array(np.array([row[0] for row in rows], dtype=np.uint8))
    return TableChanges(table.name, ops, pa.RecordBatch.from_arrays(data, names=columns), masks)


def test_values_left_out_are_filled_from_the_target_or_fetched(
    server: MySQL, job: Job, target: MySQLTarget, opened: Callable[..., object]
) -> None:
    make(server, "CREATE TABLE d (id INT PRIMARY KEY, n INT, t LONGTEXT NOT NULL, b LONGBLOB);")
    server.client("INSERT INTO d VALUES (1,1,'one',0x01),(2,2,'two',0x0200),(3,3,'three',NULL)", TARGET)
    source, there = _toast(job)
    kept, none = (False, False, True, True), (False,) * 4
    step = _changes(
        source,
        [
            (UPDATE, (b"1", b"10", None, None), kept),
            (UPDATE_BEFORE, (b"2", None, None, None), none),
            (UPDATE, (b"20", b"20", None, None), kept),
            (UPDATE, (b"7", b"70", None, None), kept),  # not on the target, still at the source
            (UPDATE, (b"8", b"80", None, None), kept),  # on neither
            (INSERT, (b"9", b"9", b"nine", b"\x00\xff"), none),
            (DELETE, (b"3", None, None, None), none),
        ],
    )
    asked: list[list[bytes]] = []

    def refetch(table: TableName, keys: pa.RecordBatch) -> pa.RecordBatch:
        asked.append(keys.column("id").to_pylist())
        row = (b"7", b"71", b"seven", b"\x07")
        return pa.RecordBatch.from_arrays(
            [pa.array([v], pa.binary()) for v in row], names=[c.name for c in source.loaded_columns]
        )

    position = Position("postgres", "x", "0/1", (1,))
    segment = Segment(1, (step,), position, True, 1, 0, {}, 0)
    with closing(target.ledger(job.migration)) as ledger:
        epoch = ledger.claim()
        with closing(MySQLApplier(job.target.parameters, job, [source], [there])) as applier:
            applier.apply(segment, refetch)
            applier.commit(epoch, position)
        assert ledger.position() == position
    assert asked == [[b"7", b"8"]]
    assert server.client("SELECT id, n, t, HEX(b) FROM d ORDER BY id", TARGET).splitlines() == [
        "1\t10\tone\t01",
        "7\t71\tseven\t07",
        "9\t9\tnine\t00FF",
        "20\t20\ttwo\t0200",
    ]
