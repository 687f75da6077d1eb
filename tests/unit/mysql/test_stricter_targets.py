"""A target that tells fewer rows apart than the source: each row is put in its own place, or refused by name.

What is left behind is read with the server's own client.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.mysql import MySQL
from tests.staged import staged
from tests.unit.mysql.moving import SOURCE, TARGET, Applying, captured, contents, make, now, reflected
from whimbrel.connectors.mysql.target.load import MySQLLoader
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.connectors.protocols import CheckResult
from whimbrel.errors import ValueRefused
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.fitting import check_fit

Follow = Callable[..., list[str]]

USERS = "id INT PRIMARY KEY, email VARCHAR(80), v INT"
EXACT, FOLDED = "COLLATE utf8mb4_bin", "COLLATE utf8mb4_general_ci"


@pytest.fixture
def follow(server: MySQL, job: Job, target: MySQLTarget) -> Iterator[Follow]:
    """Make a table ``t`` on both sides, each with these rows, run statements on the source, apply what the log has of
    each of them by itself; the target's rows."""
    opened: list[Applying] = []

    def run(source_ddl: str, target_ddl: str, rows: str, *statements: str) -> list[str]:
        for database, ddl in ((SOURCE, source_ddl), (TARGET, target_ddl)):
            server.create_database(database)
            server.client(f"CREATE TABLE t ({ddl}; INSERT INTO t VALUES {rows}", database)
        tables = reflected(job, SOURCE)
        applying = Applying(job, target, tables)
        opened.append(applying)
        for sql in statements:
            start = now(job)
            server.client(sql, SOURCE)
            applying(captured(job, tables, start))
        return contents(server, TARGET, "t")

    yield run
    for applying in opened:
        applying.close()


# By name: the source's table, the target's, rows of both, what then happens, and the key that the refusal names.
STRICTER = {
    "a unique key of the target's own": (
        USERS + ")",
        f"{USERS}, UNIQUE KEY by_email (email)) {FOLDED}",
        "(1,'bob@x',1),(2,'alice@x',2)",
        "INSERT INTO t VALUES (3,'BOB@x',3)",
        "by_email",
    ),
    "the same, met by an update": (
        USERS + ")",
        f"{USERS}, UNIQUE KEY by_email (email)) {FOLDED}",
        "(1,'bob@x',1),(2,'alice@x',2)",
        "UPDATE t SET email = 'Bob@X' WHERE id = 2",
        "by_email",
    ),
    "a unique key of both, folded by the target": (
        f"{USERS}, UNIQUE KEY by_email (email)) {EXACT}",
        f"{USERS}, UNIQUE KEY by_email (email)) {FOLDED}",
        "(1,'bob@x',1)",
        "INSERT INTO t VALUES (3,'BOB@x',3)",
        "by_email",
    ),
    "a prefix": (
        USERS + ")",
        f"{USERS}, UNIQUE KEY begins (email(3)))",
        "(1,'bob@x',1)",
        "INSERT INTO t VALUES (3,'bob@y',3)",
        "begins",
    ),
    "padding": (
        f"{USERS}, UNIQUE KEY by_email (email)) COLLATE utf8mb4_nopad",
        f"{USERS}, UNIQUE KEY by_email (email)) {EXACT}",
        "(1,'bob',1)",
        "INSERT INTO t VALUES (3,'bob ',3)",
        "by_email",
    ),
    "a key that the target folds": (
        f"k VARCHAR(20) PRIMARY KEY, v INT) {EXACT}",
        f"k VARCHAR(20) PRIMARY KEY, v INT) {FOLDED}",
        "('abc',1)",
        "INSERT INTO t VALUES ('ABC',2)",
        "PRIMARY",
    ),
    "two rows of one batch that the target folds": (
        f"k VARCHAR(20) PRIMARY KEY, v INT) {EXACT}",
        f"k VARCHAR(20) PRIMARY KEY, v INT) {FOLDED}",
        "('q',1)",
        "INSERT INTO t VALUES ('abc',1),('ABC',2)",
        "PRIMARY",
    ),
    "a table that is all key": (
        f"a INT, k VARCHAR(20), PRIMARY KEY (a, k)) {EXACT}",
        f"a INT, k VARCHAR(20), PRIMARY KEY (a, k)) {FOLDED}",
        "(1,'abc')",
        "INSERT INTO t VALUES (1,'ABC')",
        "PRIMARY",
    ),
    "another primary key": (
        USERS + ")",
        "id INT UNIQUE, email VARCHAR(80) PRIMARY KEY, v INT)",
        "(1,'a',1)",
        "INSERT INTO t VALUES (2,'A',2)",
        "PRIMARY",
    ),
}


@pytest.mark.parametrize("case", STRICTER)
def test_a_row_that_the_target_takes_for_another_is_refused_by_name(server: MySQL, follow: Follow, case: str) -> None:
    source, target, rows, sql, key = STRICTER[case]
    exact = _nopad(server)
    with pytest.raises(ValueRefused, match=rf"{TARGET}\.t: .* unique key {key} \(") as refused:
        follow(source.replace("utf8mb4_nopad", exact), target, rows, sql)
    assert refused.value.details["key"] == key
    assert contents(server, TARGET, "t") == sorted(
        ["", *(r.replace(",", "\t").replace("'", "") for r in rows.strip("()").split("),("))]
    )


def _nopad(server: MySQL) -> str:
    return "utf8mb4_nopad_bin" if server.flavor == "mariadb" else "utf8mb4_0900_bin"


def checked(job: Job) -> CheckResult:
    """What the check says about keys, of everything in the first database on its way into the second."""
    whole = replace(job, tables=(TableName(SOURCE, "*"),), schema_rename={SOURCE: TARGET})
    [found] = [c for c in check_fit(whole, data=True, changes=True) if c.id == "target.keys"]
    return found


def test_the_check_names_what_makes_a_target_stricter(server: MySQL, job: Job) -> None:
    cases = {f"t{n}": case for n, case in enumerate(STRICTER.values())}
    for database, side in ((SOURCE, 0), (TARGET, 1)):
        server.create_database(database)
        ddl = [f"CREATE TABLE {t} ({case[side]}".replace("utf8mb4_nopad", _nopad(server)) for t, case in cases.items()]
        server.client(";".join(ddl), database)
    found = checked(job)
    assert found.status == "warn"
    for table, (*_, key) in cases.items():
        if STRICTER["two rows of one batch that the target folds"] != cases[table]:
            assert re.search(rf"{TARGET}\.{table}\b[^;]*unique key {key}\b", found.message), (table, found.message)
    server.client("DROP TABLE t0; CREATE TABLE t0 (id INT, email VARCHAR(80), v INT, KEY (id))", TARGET)
    assert f"{TARGET}.t0: has no unique key on id" in checked(job).message


def test_a_target_that_we_have_made_is_none_that_is_stricter(server: MySQL, job: Job, target: MySQLTarget) -> None:
    make(
        server,
        f"CREATE TABLE a (k VARCHAR(20) PRIMARY KEY, u VARCHAR(20) {FOLDED}, UNIQUE KEY begins (u(3))) {EXACT};"
        "CREATE TABLE b (a INT, b INT, u VARCHAR(9) CHARACTER SET latin1 UNIQUE, PRIMARY KEY (b, a), UNIQUE (a, b, u));"
        "CREATE TABLE c (v INT); CREATE TABLE d (v VARCHAR(9) NOT NULL UNIQUE, e ENUM('x') UNIQUE);",
    )
    assert (checked(job).status, checked(job).message) == ("ok", "existing tables tell rows apart as the source does")
    tables = reflected(job, SOURCE)
    server.create_database(TARGET)
    assert checked(job).status == "ok"
    for statement in target.render(tables, {SOURCE: TARGET}, server.flavor).tables:
        server.client(statement)
    assert checked(job).status == "ok"


def test_what_is_deleted_is_the_row_itself_and_none_that_the_target_takes_for_it(follow: Follow) -> None:
    """The key that was there for a moment only is deleted, as it might have been there before."""
    folded = [f"k VARCHAR(20) PRIMARY KEY, v INT) {collation}" for collation in (EXACT, FOLDED)]
    gone = "BEGIN; INSERT INTO t VALUES ('ABC',2); DELETE FROM t WHERE k = 'ABC'; UPDATE t SET v = 5; COMMIT"
    assert follow(*folded, "('abc',1),('d',1)", gone) == ["", "abc\t5", "d\t5"]


def test_a_key_may_change_its_spelling_and_a_freed_value_its_row(follow: Follow) -> None:
    """Within a batch, and against rows outside it."""
    ddl = [f"k VARCHAR(20) PRIMARY KEY, u VARCHAR(9) UNIQUE) {collation}" for collation in (EXACT, FOLDED)]
    rows = follow(
        *ddl,
        "('abc','a'),('d','b'),('e','c')",
        "UPDATE t SET k = 'ABC' WHERE k = 'abc'",
        "UPDATE t SET u = 'tmp' WHERE k = 'ABC'; UPDATE t SET u = 'a' WHERE k = 'd'",
        "UPDATE t SET u = 'b' WHERE k = 'ABC'",
        "BEGIN; UPDATE t SET u = NULL WHERE k = 'e'; UPDATE t SET u = 'c' WHERE k = 'd';"
        "UPDATE t SET u = 'a' WHERE k = 'e'; COMMIT",
        "BEGIN; DELETE FROM t WHERE k = 'd'; INSERT INTO t VALUES ('D','c'); COMMIT",
    )
    assert rows == ["", "ABC\tb", "D\tc", "e\ta"]


def test_a_target_without_the_source_s_key_gets_each_row_once(follow: Follow) -> None:
    rows = follow(
        USERS + ")",
        "id INT, email VARCHAR(80), v INT, KEY (id))",
        "(1,'a',1),(2,'b',2)",
        "UPDATE t SET v = v + 1; INSERT INTO t VALUES (3,'a',3); DELETE FROM t WHERE id = 2",
    )
    assert rows == ["", "1\ta\t2", "3\ta\t3"]


@pytest.mark.parametrize("case", ["a unique key of the target's own", "a key that the target folds", "a prefix"])
def test_rows_of_a_second_snapshot_are_put_over_none_but_their_own(
    server: MySQL, parameters: dict[str, object], job: Job, target: MySQLTarget, tmp_path: Path, case: str
) -> None:
    source_ddl, target_ddl, rows, _, key = STRICTER[case]
    for database, ddl in ((SOURCE, source_ddl), (TARGET, target_ddl)):
        server.create_database(database)
        server.client(f"CREATE TABLE t ({ddl}; INSERT INTO t VALUES {rows}", database)
    [source], [there] = reflected(job, SOURCE), reflected(job, TARGET)
    wide = len(source.columns) == 3
    own, another = (b"1\tbob@x\t7\n", b"3\tbob@y\t3\n") if wide else (b"abc\t7\n", b"ABC\t2\n")
    if case == "a unique key of the target's own":
        another = b"3\tBOB@x\t3\n"
    before = contents(server, TARGET, "t")
    with closing(target.ledger("m")) as ledger, closing(MySQLLoader(parameters, job)) as loader:
        epoch = ledger.claim()
        ledger.clear(epoch, job.operation)
        chunks = [Chunk(source.name, n, [n], 1, 1) for n in range(2)]
        ledger.save_plan(epoch, source, chunks)

        def load(number: int, content: bytes) -> int:
            file = tmp_path / str(number)
            file.write_bytes(content)
            whole = staged(file, content.count(b"\n"))
            columns = source.loaded_columns
            return loader.load(epoch, source, there, columns, chunks[number], Format.TAB_TEXT, whole, upsert=True)

        with pytest.raises(ValueRefused, match=rf"{TARGET}\.t: .* unique key {key} \(") as refused:
            load(0, own + another)
        assert refused.value.details["key"] == key
        assert contents(server, TARGET, "t") == before
        assert ledger.state().tables[source.name].loaded == {}
        assert load(1, own) == 1
    shown = own.decode().rstrip("\n")
    assert contents(server, TARGET, "t") == sorted([*(r for r in before if r[:3] != shown[:3] and r[:1] != "1"), shown])
