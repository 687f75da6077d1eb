"""The stand-in behaves as Snowflake does where fakesnow alone would not; each of these tests fails without its mend."""

from __future__ import annotations

import datetime
import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.servers.snowflake import PASSWORD, USER, Snowflake

errors = pytest.importorskip("snowflake.connector.errors")
_numbers = itertools.count(1)
SHORT = 0.3  # seconds in which a statement that waits for nobody is through, and one that waits is not


@pytest.fixture(scope="module")
def stand(snowflake: Snowflake) -> Snowflake:
    snowflake.create_database("MENDS")
    return snowflake


class Clients:
    """Connections to a schema of this test's own, by number, and one that looks from outside."""

    def __init__(self, stand: Snowflake, stack: ExitStack) -> None:
        self.stand, self._stack = stand, stack
        self.schema = f"T{next(_numbers)}"
        stand.run(f"CREATE SCHEMA {self.schema}", "MENDS")
        self._open: dict[int, Any] = {}

    def __getitem__(self, number: int) -> Any:
        if number not in self._open:
            session = self.stand.session("MENDS", self.schema)
            self._open[number] = self._stack.enter_context(session)
        return self._open[number]

    def do(self, number: int, *statements: str) -> list[tuple[Any, ...]]:
        """Run them in that session; the rows of the last."""
        found: list[tuple[Any, ...]] = []
        for sql in statements:
            found = self[number].cursor().execute(sql).fetchall()
        return found

    def seen(self, sql: str) -> list[tuple[Any, ...]]:
        return self.do(0, sql)


@pytest.fixture
def clients(stand: Snowflake) -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(stand, stack)


class Beside(threading.Thread):
    """Statements of another session, which may have to wait."""

    def __init__(self, clients: Clients, number: int, *statements: str) -> None:
        super().__init__(daemon=True)
        self.error: BaseException | None = None
        self._work = lambda: clients.do(number, *statements)
        clients[number]
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except errors.Error as e:
            self.error = e

    def waits(self) -> bool:
        self.join(SHORT)
        return self.is_alive()

    def done(self, seconds: float = 10) -> None:
        self.join(seconds)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


# --- values and names -------------------------------------------------------------------------------------------------


def test_null_timestamps_are_null_and_old_ones_exact(clients: Clients) -> None:
    clients.do(1, "CREATE TABLE t (n NUMBER(38,0), a TIMESTAMP_NTZ(6), z TIMESTAMP_TZ(6))")
    clients.do(1, "INSERT INTO t VALUES (1, NULL, NULL)")
    clients.do(1, "INSERT INTO t VALUES (2, '1900-01-02 03:04:05.678901', '1960-01-01 00:00:00+00:00')")
    old = datetime.datetime(1900, 1, 2, 3, 4, 5, 678901), datetime.datetime(1960, 1, 1, tzinfo=datetime.UTC)
    assert clients.seen("SELECT a, z FROM t ORDER BY n") == [(None, None), old]


def test_numbers_keep_38_digits(clients: Clients) -> None:
    clients.do(1, "CREATE TABLE t (n NUMBER(38,0))", f"INSERT INTO t VALUES ({10**38 - 1})")
    assert clients.seen("SELECT n FROM t") == [(10**38 - 1,)]


def test_hexadecimal_numbers(clients: Clients) -> None:
    sql = "SELECT TO_NUMBER(SUBSTR(SHA2(x, 256), 1, 15), 'XXXXXXXXXXXXXXX') FROM (SELECT 'a' AS x)"
    assert clients.seen(sql) == [(912392414677810140,)]


def test_the_case_of_a_name_counts(clients: Clients) -> None:
    clients.do(1, 'CREATE TABLE "item" ("id" NUMBER(38,0), plain NUMBER(38,0))', 'INSERT INTO "item" VALUES (1, 2)')
    assert clients.seen('SELECT "id", plain, "PLAIN" FROM "item"') == [(1, 2, 2)]
    with pytest.raises(errors.ProgrammingError, match="does not exist or not authorized") as refused:
        clients.do(1, "DELETE FROM item")
    assert refused.value.errno == 2003
    with pytest.raises(errors.ProgrammingError, match="invalid identifier 'ID'") as refused:
        clients.do(1, 'UPDATE "item" SET plain = 1 WHERE id = 1')
    assert refused.value.errno == 904
    assert clients.seen('SELECT "id", plain FROM "item"') == [(1, 2)]


def test_keys_are_written_down_and_not_enforced(clients: Clients) -> None:
    clients.do(1, 'CREATE TABLE p (a NUMBER(38,0), "b" VARCHAR(20), v VARCHAR UNIQUE, PRIMARY KEY (a, "b"))')
    clients.do(1, "CREATE TABLE c (a NUMBER(38,0) REFERENCES p (a))", "INSERT INTO c VALUES (77)")
    for _ in range(2):
        clients.do(1, "INSERT INTO p VALUES (1, 'x', 'same')")
    assert clients.seen("SELECT COUNT(*) FROM p") == [(2,)]
    listed = clients.seen("SHOW PRIMARY KEYS IN TABLE p")
    assert [(row[3], row[4], row[5]) for row in listed] == [("P", "A", 1), ("P", "b", 2)]
    with pytest.raises(errors.Error, match="NOT NULL") as refused:
        clients.do(1, "INSERT INTO p VALUES (NULL, 'y', 'z')")
    assert refused.value.errno == 100072


# --- files ------------------------------------------------------------------------------------------------------------


def test_rows_come_from_a_file_put_into_a_stage(clients: Clients, tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "Name": ["a", None], "raw": [b"\0\xff", None]})
    pq.write_table(table, tmp_path / "rows.parquet")
    clients.do(1, "CREATE TEMPORARY STAGE lane", 'CREATE TABLE t ("id" NUMBER(38,0), "Name" VARCHAR, "raw" BINARY)')
    (put,) = clients.do(1, f"PUT file://{tmp_path}/rows.parquet @lane/one/ AUTO_COMPRESS=FALSE")
    assert put[6] == "UPLOADED"
    copy = (
        "COPY INTO t FROM @lane/one/rows.parquet FILE_FORMAT = (TYPE = PARQUET BINARY_AS_TEXT = FALSE) "
        "MATCH_BY_COLUMN_NAME = CASE_SENSITIVE PURGE = FALSE FORCE = FALSE ON_ERROR = ABORT_STATEMENT"
    )
    assert clients.do(1, copy)[0][1] == "LOADED"
    assert clients.seen("SELECT * FROM t ORDER BY 1") == [(1, "a", b"\0\xff"), (2, None, None)]
    assert clients.do(1, copy)[0][1] == "LOAD_SKIPPED"
    assert clients.do(1, "REMOVE @lane/one/") == [("one/rows.parquet", "removed")]
    assert clients.do(1, "LIST @lane") == []


def test_a_load_that_is_rolled_back_leaves_no_trace(clients: Clients, tmp_path: Path) -> None:
    pq.write_table(pa.table({"N": [1, 2, 3]}), tmp_path / "n.parquet")
    clients.do(1, "CREATE TEMPORARY STAGE lane", "CREATE TABLE t (n NUMBER(38,0))", "CREATE TABLE done (chunk VARCHAR)")
    clients.do(1, f"PUT file://{tmp_path}/n.parquet @lane AUTO_COMPRESS=FALSE")
    copy = "COPY INTO t FROM @lane/n.parquet FILE_FORMAT = (TYPE = PARQUET) MATCH_BY_COLUMN_NAME = CASE_SENSITIVE"
    clients.do(1, "BEGIN", copy, "INSERT INTO done VALUES ('one')", "ROLLBACK")
    assert clients.seen("SELECT COUNT(*) FROM t") == [(0,)]
    clients.do(1, "BEGIN", copy, "INSERT INTO done VALUES ('one')", "COMMIT")
    assert clients.seen("SELECT (SELECT COUNT(*) FROM t), (SELECT COUNT(*) FROM done)") == [(3, 1)]


# --- MERGE ------------------------------------------------------------------------------------------------------------

MERGE = (
    'MERGE INTO t USING (SELECT column1 AS k, column2 AS op, column3 AS v FROM VALUES {0}) AS s ON t."k" = s.k '
    "WHEN MATCHED AND s.op = 'D' THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v "
    "WHEN NOT MATCHED AND s.op <> 'D' THEN INSERT (\"k\", v) VALUES (s.k, s.v)"
)


def test_merge_within_a_transaction(clients: Clients) -> None:
    clients.do(1, 'CREATE TABLE t ("k" NUMBER(38,0), v VARCHAR)', "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    counts = clients.do(1, "BEGIN", MERGE.format("(1, 'U', 'new'), (2, 'D', ''), (3, 'U', 'c'), (4, 'D', '')"))
    assert counts == [(1, 1, 1)]
    assert clients.seen("SELECT * FROM t ORDER BY 1") == [(1, "a"), (2, "b")]
    clients.do(1, "COMMIT")
    assert clients.seen("SELECT * FROM t ORDER BY 1") == [(1, "new"), (3, "c")]


def test_merge_refuses_two_rows_for_one(clients: Clients) -> None:
    clients.do(1, 'CREATE TABLE t ("k" NUMBER(38,0), v VARCHAR)', "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    for twice in ("(1, 'U', 'x'), (1, 'U', 'y')", "(1, 'U', 'x'), (1, 'D', '')"):
        with pytest.raises(errors.ProgrammingError, match="Duplicate row detected") as refused:
            clients.do(1, MERGE.format(twice))
        assert refused.value.errno == 100090
    assert clients.seen("SELECT * FROM t ORDER BY 1") == [(1, "a"), (2, "b")]
    clients.do(1, MERGE.format("(1, 'D', ''), (1, 'D', '')"))
    assert clients.seen("SELECT * FROM t") == [(2, "b")]


# --- transactions -----------------------------------------------------------------------------------------------------


def test_definitions_commit(clients: Clients) -> None:
    clients.do(1, "CREATE TABLE t (n NUMBER(38,0))")
    clients.do(1, "BEGIN", "INSERT INTO t VALUES (1)", "CREATE TABLE u (n NUMBER(38,0))", "INSERT INTO t VALUES (2)")
    clients.do(1, "ROLLBACK")
    assert clients.seen("SELECT n FROM t ORDER BY 1") == [(1,), (2,)]


def test_a_statement_that_fails_leaves_the_transaction_as_it_was(clients: Clients) -> None:
    clients.do(1, "CREATE TABLE t (n NUMBER(38,0) NOT NULL)", "BEGIN", "INSERT INTO t VALUES (1)")
    with pytest.raises(errors.Error, match="NOT NULL"):
        clients.do(1, "INSERT INTO t VALUES (2), (NULL)")
    clients.do(1, "INSERT INTO t VALUES (3)", "COMMIT")
    assert clients.seen("SELECT n FROM t ORDER BY 1") == [(1,), (3,)]


def test_each_statement_sees_what_is_committed(clients: Clients) -> None:
    clients.do(1, "CREATE TABLE t (n NUMBER(38,0))", "CREATE TABLE u (n NUMBER(38,0))")
    clients.do(1, "BEGIN", "INSERT INTO t VALUES (1)")
    clients.do(2, "INSERT INTO u VALUES (7)")
    assert clients.do(1, "SELECT n FROM u") == [(7,)]
    clients.do(1, "INSERT INTO t SELECT n FROM u", "COMMIT")
    assert clients.seen("SELECT n FROM t ORDER BY 1") == [(1,), (7,)]


def test_changes_of_one_table_wait_for_each_other(clients: Clients) -> None:
    """Where the second began before the first committed too, and whatever it did before: it sees the first's row."""
    clients.do(1, "CREATE TABLE fence (epoch NUMBER(38,0))", "CREATE TABLE t (n NUMBER(38,0))")
    clients.do(1, "INSERT INTO fence VALUES (1)", "BEGIN", "UPDATE fence SET epoch = epoch + 1")
    clients.do(2, "BEGIN", "INSERT INTO t VALUES (2)")
    second = Beside(clients, 2, "UPDATE fence SET epoch = epoch * 10", "COMMIT")
    appending = Beside(clients, 3, "INSERT INTO fence VALUES (5)")
    appending.done()
    assert second.waits()
    clients.do(1, "COMMIT")
    second.done()
    assert clients.seen("SELECT epoch FROM fence ORDER BY 1") == [(20,), (50,)]
    assert clients.seen("SELECT n FROM t") == [(2,)]


def test_a_lock_is_waited_for_as_long_as_the_session_says(clients: Clients) -> None:
    clients.do(1, "CREATE TABLE t (n NUMBER(38,0))", "INSERT INTO t VALUES (1)", "BEGIN", "UPDATE t SET n = 2")
    with pytest.raises(errors.ProgrammingError, match="has locked table") as refused:
        clients.do(2, "ALTER SESSION SET LOCK_TIMEOUT = 1", "DELETE FROM t")
    assert refused.value.errno == 625
    clients.do(1, "COMMIT")
    assert clients.seen("SELECT n FROM t") == [(2,)]


def test_a_client_that_vanished_keeps_others_waiting_for_a_while_only(clients: Clients) -> None:
    clients.do(1, "CREATE TABLE t (n NUMBER(38,0))", "INSERT INTO t VALUES (1)", "BEGIN", "UPDATE t SET n = 99")
    other = Beside(clients, 2, "UPDATE t SET n = n + 1")
    assert other.waits()
    other.done(clients.stand.idle_seconds + 5)
    assert clients.seen("SELECT n FROM t") == [(2,)]
    with pytest.raises(errors.ProgrammingError, match="already rolled back"):
        clients.do(1, "COMMIT")


def test_a_session_is_ended_by_another(clients: Clients) -> None:
    clients.do(1, "CREATE TABLE t (n NUMBER(38,0))", "INSERT INTO t VALUES (1)")
    ((number,),) = clients.do(1, "SELECT CURRENT_SESSION()")
    clients.do(1, "BEGIN TRANSACTION NAME mine", "UPDATE t SET n = 99")
    assert clients.do(2, "SELECT CURRENT_TRANSACTION()") == [(None,)]
    clients.do(2, f"SELECT SYSTEM$ABORT_SESSION({number})", "UPDATE t SET n = n + 1")
    assert clients.seen("SELECT n FROM t") == [(2,)]
    assert [row for row in clients.do(2, "SHOW TRANSACTIONS") if row[3] == "MINE"] == []
    with pytest.raises(errors.Error, match="Session no longer exists"):
        clients.do(1, "COMMIT")


def test_a_transaction_is_ended_by_another(clients: Clients) -> None:
    clients.do(1, "CREATE TABLE t (n NUMBER(38,0))", "INSERT INTO t VALUES (1)")
    clients.do(1, "BEGIN NAME mine", "UPDATE t SET n = 99")
    (mine,) = [row[0] for row in clients.do(2, "SHOW TRANSACTIONS") if row[3] == "MINE"]
    clients.do(2, f"SELECT SYSTEM$ABORT_TRANSACTION({mine})", "UPDATE t SET n = n + 1")
    with pytest.raises(errors.ProgrammingError, match="already rolled back"):
        clients.do(1, "COMMIT")
    assert clients.seen("SELECT n FROM t") == [(2,)]


def test_a_session_that_ends_is_rolled_back(clients: Clients) -> None:
    clients.do(2, "CREATE TABLE t (n NUMBER(38,0))", "INSERT INTO t VALUES (1)")
    with clients.stand.session("MENDS", clients.schema) as leaving:
        leaving.cursor().execute("BEGIN")
        leaving.cursor().execute("UPDATE t SET n = 99")
    clients.do(2, "UPDATE t SET n = n + 1")
    assert clients.seen("SELECT n FROM t") == [(2,)]


# --- the process ------------------------------------------------------------------------------------------------------


def test_logins_are_checked(stand: Snowflake) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    def der(key: Any) -> bytes:
        found: bytes = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return found

    with pytest.raises(errors.DatabaseError, match="Incorrect username or password"):
        stand.connect(password="wrong")
    with pytest.raises(errors.DatabaseError, match="does not exist or not authorized"):
        stand.connect(role="NOBODY")
    right = serialization.load_pem_private_key(stand.private_key.encode(), None)
    with stand.session(password=None, private_key=der(right)) as session:
        assert session.cursor().execute("SELECT CURRENT_USER()").fetchall() == [(USER,)]
    wrong = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(errors.DatabaseError, match="JWT token is invalid"):
        stand.connect(password=None, private_key=der(wrong))


def test_what_a_login_names_must_be_there(stand: Snowflake) -> None:
    with stand.session("NOWHERE") as session:
        assert session.cursor().execute("SELECT CURRENT_DATABASE()").fetchall() == [(None,)]
        with pytest.raises(errors.ProgrammingError, match="current database"):
            session.cursor().execute("CREATE TABLE t (n NUMBER(38,0))")
    with stand.session("MENDS", "PUBLIC", warehouse="NOWHERE") as session:
        with pytest.raises(errors.ProgrammingError, match="No active warehouse") as refused:
            session.cursor().execute("SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES")
        assert refused.value.errno == 606


def test_every_statement_is_written_down(clients: Clients) -> None:
    ((number,),) = clients.do(1, "SELECT CURRENT_SESSION()")
    with pytest.raises(errors.ProgrammingError):
        clients.do(1, "SELECT nonsense FROM")
    mine = [sql for session, sql in clients.stand.statements() if session == int(number)]
    assert mine == ["SELECT CURRENT_SESSION()", "SELECT nonsense FROM"]
    log = (clients.stand.folder / "server.log").read_text() + (clients.stand.folder / "statements.jsonl").read_text()
    assert PASSWORD not in log


def test_what_was_committed_is_there_after_a_kill(tmp_path: Path, stand: Snowflake) -> None:
    own = Snowflake(tmp_path / "stand")
    own.start()
    try:
        own.create_database("KEPT")
        own.run('CREATE TABLE public.t ("n" NUMBER(38,0) PRIMARY KEY); CREATE STAGE public.s', "KEPT")
        own.run("INSERT INTO public.t VALUES (1)", "KEPT")
        session = own.connect("KEPT", "PUBLIC")
        session.cursor().execute("BEGIN")
        session.cursor().execute("INSERT INTO t VALUES (2)")
        own.kill()
        own.start()
        session.close()  # now, as the client would try for long where nobody answers
        assert own.query("SELECT * FROM public.t", "KEPT") == [(1,)]
        assert len(own.query("SHOW PRIMARY KEYS IN TABLE public.t", "KEPT")) == 1
        assert own.query("LIST @public.s", "KEPT") == []
    finally:
        own.stop()
