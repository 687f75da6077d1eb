"""The binlog's statements: definitions that change, TRUNCATE, formats that hide rows, XA transactions."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.servers.mysql import MySQL
from tests.unit.mysql.moving import SOURCE, TARGET, captured, make, now, reflected, rows_of
from whimbrel.connectors.mysql.connection import connect, execute
from whimbrel.connectors.mysql.source import log
from whimbrel.errors import LayoutChanged, LogFormatRefused, SourceInterrupted
from whimbrel.model.job import Job


def test_truncate_and_harmless_ddl(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, v INT);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client(
        "INSERT INTO t VALUES (1,1); CREATE INDEX i ON t (v); ALTER TABLE t ADD INDEX j (v, id), COMMENT 'x';"
        "ANALYZE TABLE t; TRUNCATE t; CREATE TABLE other (id INT); ALTER TABLE other ADD c INT; DROP TABLE other;"
        "INSERT INTO t VALUES (2,2)",
        SOURCE,
    )
    segments = captured(job, [table], start)
    kinds = [type(step).__name__ for step in segments[0].steps]
    assert kinds == ["TableChanges", "Truncate", "TableChanges"]
    assert segments[0].counts[table.name].truncates == 1


def test_truncate_is_seen_however_it_is_spelled(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    spelled = [
        *("TRUNCATE TABLE`t`", "TRUNCATE`t`", "truncate/*x*/table/*!50000 `t`*/", f"TRUNCATE TABLE`{SOURCE}`.`t`"),
        *(f"TRUNCATE {SOURCE} . t -- end\n", f"/*!TRUNCATE*/ {SOURCE}.`t`", f"TRUNCATE /*!99999 x */ {SOURCE}.t"),
        *("SET sql_mode = 'ANSI_QUOTES'", 'TRUNCATE TABLE"t"', f'TRUNCATE "{SOURCE}"."t"'),
        *(["SET STATEMENT lock_wait_timeout=9 FOR TRUNCATE`t`"] if server.flavor == "mariadb" else []),
    ]
    with closing(connect(job.source.parameters, "writer", database=SOURCE)) as session:
        for sql in spelled:
            execute(session, sql)
    assert captured(job, [table], start)[0].counts[table.name].truncates == len(spelled) - 1


@pytest.mark.parametrize(
    "ddl",
    [
        "ALTER TABLE t ADD COLUMN c INT",
        "DROP TABLE`t`",
        'SET sql_mode = \'ANSI_QUOTES\'; ALTER TABLE"t"DROP"v"',
        "CREATE TABLE fresh (id INT); ALTER TABLE t RENAME old, ALGORITHM=INPLACE",
        "ALTER TABLE t MODIFY v BIGINT",
        "ALTER TABLE t ADD INDEX i (id), DROP COLUMN v",
        "DROP TABLE t",
        "RENAME TABLE t TO t2",
        "CREATE TABLE p (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (9));"
        "ALTER TABLE p EXCHANGE PARTITION p0 WITH TABLE t",
        f"USE mysql; RENAME TABLE `{SOURCE}`.`t` TO {SOURCE}.t2",
        "DROP DATABASE move_src",
    ],
)
def test_a_changed_layout_stops_the_stream_and_is_named(server: MySQL, job: Job, ddl: str) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, v INT);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client(f"INSERT INTO t VALUES (1, 1); {ddl}", SOURCE)
    with pytest.raises(LayoutChanged, match=r"move_src\.t"):
        captured(job, [table], start)


@pytest.mark.parametrize("now_is", ["id INT PRIMARY KEY, w INT", "id INT PRIMARY KEY, v BIGINT", "id INT PRIMARY KEY"])
def test_rows_of_another_layout_than_reflected(server: MySQL, job: Job, now_is: str) -> None:
    make(server, f"CREATE TABLE t ({now_is});")
    start = now(job)
    server.client("INSERT INTO t (id) VALUES (1)", SOURCE)
    actual = reflected(job, SOURCE)[0]
    server.client("DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY, v INT)", SOURCE)
    known = reflected(job, SOURCE)[0]
    assert known.columns != actual.columns
    with pytest.raises(LayoutChanged, match="the binlog has"):
        captured(job, [known], start)


def test_a_statement_of_a_client_with_another_character_set(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE `tablé` (id INT PRIMARY KEY); INSERT INTO `tablé` VALUES (1);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    with closing(connect(job.source.parameters, "latin1", database=SOURCE)) as session:
        session.set_character_set("latin1")
        execute(session, "TRUNCATE `tablé`")
    assert captured(job, [table], start)[0].counts[table.name].truncates == 1


def test_statement_format_on_a_captured_table(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE free (id INT);"
         "CREATE TRIGGER unseen AFTER INSERT ON free FOR EACH ROW INSERT INTO t VALUES (NEW.id);")  # fmt: skip
    table = reflected(job, SOURCE, "t")[0]
    start = now(job)
    server.client("SET SESSION binlog_format = STATEMENT; CREATE TABLE move_dst.far AS SELECT 1 AS a;"
                  "INSERT INTO move_dst.far VALUES (2)", TARGET)  # fmt: skip
    assert captured(job, [table], start)[-1].position.order == now(job).order
    for written in ("free", "t"):
        start = now(job)
        server.client(f"SET SESSION binlog_format = STATEMENT; INSERT INTO {written} VALUES (1)", SOURCE)
        with pytest.raises(LogFormatRefused, match=r"move_src\.t"):
            captured(job, [table], start)
        server.client("DELETE FROM t", SOURCE)


def test_partial_rows_are_refused(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, j JSON, v INT); INSERT INTO t VALUES (1, '{\"a\": 1}', 1);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client("SET SESSION binlog_row_image = MINIMAL; UPDATE t SET v = 2", SOURCE)
    with pytest.raises(LogFormatRefused, match="binlog_row_image"):
        captured(job, [table], start)
    if server.flavor == "mysql":
        start = now(job)
        server.client(
            "SET SESSION binlog_row_value_options = PARTIAL_JSON; UPDATE t SET j = JSON_SET(j, '$.a', 2)", SOURCE
        )
        with pytest.raises(LogFormatRefused, match="JSON"):
            captured(job, [table], start)


def test_xa_transactions(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE free (id INT);")
    table = reflected(job, SOURCE, "t")[0]
    start = now(job)
    server.client("XA START 'a'; INSERT INTO free VALUES (1); XA END 'a'; XA PREPARE 'a'; XA COMMIT 'a'", SOURCE)
    server.client("XA START 'b'; INSERT INTO t VALUES (1); XA END 'b'; XA COMMIT 'b' ONE PHASE", SOURCE)
    assert [row[1] for row in rows_of(captured(job, [table], start))] == ["1"]
    server.client("XA START 'c'; INSERT INTO t VALUES (2); XA END 'c'; XA PREPARE 'c'; XA COMMIT 'c'", SOURCE)
    with pytest.raises(LogFormatRefused, match="XA"):
        captured(job, [table], start)


def test_xa_transactions_prepared_before_the_start(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE free (id INT);")
    table = reflected(job, SOURCE, "t")[0]
    prepare = "XA START '{0}','b',3; INSERT INTO {1} VALUES (7); XA END '{0}','b',3; XA PREPARE '{0}','b',3"
    waiting = []  # a prepared transaction holds its table, also against later tests
    try:
        waiting.append("other")
        server.client(prepare.format("other", "free"), SOURCE)
        log.check_capture(job.source.parameters, "check", [table])
        waiting.append("ours")
        server.client(prepare.format("ours", "t"), SOURCE)
        with pytest.raises(SourceInterrupted, match=rf"XA transaction .* changed {SOURCE}\.t:") as caught:
            log.check_capture(job.source.parameters, "check", [table])
        assert "XA RECOVER" in caught.value.how_to_fix
        start = now(job)
        server.client("FLUSH BINARY LOGS")  # it is found in an older file, too
        server.client(f"XA COMMIT '{waiting.pop(0)}','b',3; INSERT INTO t VALUES (1)", SOURCE)
        assert [row[1] for row in rows_of(captured(job, [table], start))] == ["1"]
    finally:
        for name in waiting:
            server.client(f"XA COMMIT '{name}','b',3")
    with pytest.raises(LogFormatRefused, match=rf"prepared earlier and committed at .* changed {SOURCE}\.t"):
        captured(job, [table], start)
    log.check_capture(job.source.parameters, "check", [table])
