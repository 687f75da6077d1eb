"""The stand-in refuses what DuckDB alone would take; and what goes wrong on order is told by code, thing and remedy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contract.bench import MISSING, Bench, table
from tests.engines import side_of
from tests.servers.databricks import CLIENT, SECRET, Databricks
from whimbrel.connectors.registry import engine
from whimbrel.errors import (
    AuthenticationFailed,
    DatabaseMissing,
    HostUnreachable,
    TargetInterrupted,
    TargetPermissionDenied,
    WhimbrelError,
)
from whimbrel.model.change import INSERT, UPDATE, UPDATE_BEFORE
from whimbrel.model.job import Endpoint

errors = pytest.importorskip("databricks.sql.exc")
CATALOG = "faulty"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stand(databricks: Databricks) -> Databricks:
    databricks.create_database(CATALOG)
    databricks.run("CREATE SCHEMA `s`", CATALOG)
    databricks.run("CREATE VOLUME `s`.`v`", CATALOG)
    return databricks


@pytest.fixture
def bench(stand: Databricks, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(side_of(stand, "databricks", CATALOG, "moved"), [table("t")], tmp_path, f"faulty{next(_numbers)}")
    try:
        yield made
    finally:
        stand.no_faults()
        made.drop_tables()
        made.close()


# --- the stand-in -----------------------------------------------------------------------------------------------------


def put(stand: Databricks, folder: Path, name: str, rows: dict[str, Any]) -> None:
    pq.write_table(pa.table(rows), folder / name)
    with stand.session(CATALOG) as session, session.cursor() as cursor, (folder / name).open("rb") as stream:
        cursor.execute(f"PUT '__input_stream__' INTO '/Volumes/{CATALOG}/s/v/{name}' OVERWRITE", input_stream=stream)


def copied(stand: Databricks, table: str, name: str) -> int:
    rows = stand.query(
        f"COPY INTO {table} FROM '/Volumes/{CATALOG}/s/v' FILEFORMAT = PARQUET FILES = ('{name}') "
        "COPY_OPTIONS ('mergeSchema' = 'false')",
        CATALOG,
    )
    return int(rows[0][1])


def test_a_path_is_loaded_once_into_a_table_whatever_the_file_is_by_then(stand: Databricks, tmp_path: Path) -> None:
    for name in ("once", "other"):
        stand.run(f"CREATE TABLE `s`.`{name}` (`a` BIGINT, `b` STRING)", CATALOG)
    put(stand, tmp_path, "f.parquet", {"b": ["x", "y"], "a": [1, 2]})
    assert [copied(stand, "`s`.`once`", "f.parquet") for _ in range(2)] == [2, 0]
    put(stand, tmp_path, "f.parquet", {"a": [3], "b": ["z"]})
    assert [copied(stand, f"`s`.`{name}`", "f.parquet") for name in ("once", "other")] == [0, 1]
    stand.run("DELETE FROM `s`.`once`", CATALOG)
    assert copied(stand, "`s`.`once`", "f.parquet") == 0, "what was loaded once is, even where it is gone"
    put(stand, tmp_path, "g.parquet", {"a": ["1"], "b": ["z"]})
    with pytest.raises(errors.Error, match="DELTA_FAILED_TO_MERGE_FIELDS"):
        copied(stand, "`s`.`once`", "g.parquet")


def test_days_before_1582_are_taken_only_as_they_are_written(stand: Databricks, tmp_path: Path) -> None:
    from whimbrel.connectors.databricks.connection import connect
    from whimbrel.connectors.databricks.stage import DatabricksStage

    stand.run("CREATE TABLE `s`.`days` (`d` DATE, `t` TIMESTAMP_NTZ)", CATALOG)
    old = {"d": [date(1500, 2, 28), None], "t": [datetime(1, 1, 1), datetime(2026, 1, 1)]}
    put(stand, tmp_path, "old.parquet", old)
    with pytest.raises(errors.Error, match="ANCIENT_DATETIME"):
        copied(stand, "`s`.`days`", "old.parquet")
    with closing(connect(stand.parameters(CATALOG), "days")) as session:
        stage, name = DatabricksStage(f"/Volumes/{CATALOG}/s/v", "days"), f"/Volumes/{CATALOG}/s/v/old.parquet"
        assert stage.load(session, name, "`s`.`days`", ["d", "t"]) == 2
        read = session.query(f"SELECT MIN(d), MIN(t) FROM {stage.rows(name)}")
    loaded = stand.query("SELECT MIN(d), MIN(t) FROM `s`.`days`", CATALOG)
    assert read == loaded == [(date(1500, 2, 28), datetime(1, 1, 1))]


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("CREATE TABLE `s`.`x` (`a` TIME)", "UNSUPPORTED_DATATYPE"),
        ("CREATE TABLE `s`.`x` (`a` UINTEGER)", "PARSE_SYNTAX_ERROR|UNSUPPORTED_DATATYPE"),
        ("CREATE TABLE `s`.`x` (`a` DECIMAL(39, 0))", "DECIMAL_PRECISION"),
        ("CREATE TABLE `s`.`x` (`a b` INT)", "INVALID_CHARACTERS_IN_COLUMN_NAMES"),
        ("CREATE TABLE `s`.`x` (`a` INT, `A` INT)", "COLUMN_ALREADY_EXISTS"),
        ("CREATE TABLE `s`.`x` (`a` INT, UNIQUE (`a`))", "PARSE_SYNTAX_ERROR"),
        ("SELECT * FROM `s`.`nowhere`", "TABLE_OR_VIEW_NOT_FOUND"),
        ("BEGIN TRANSACTION", "TRANSACTION"),
        ("BEGIN ATOMIC INSERT INTO `s`.`x` VALUES (1); END", "TRANSACTION_NOT_SUPPORTED"),
        (
            "MERGE INTO `s`.`m` AS t USING (SELECT 1 AS a UNION ALL SELECT 1) AS s ON t.a = s.a "
            "WHEN MATCHED THEN UPDATE SET a = s.a",
            "MULTIPLE_SOURCE_ROW",
        ),
    ],
)
def test_what_databricks_does_not_take_is_refused(stand: Databricks, sql: str, name: str) -> None:
    stand.run("CREATE TABLE IF NOT EXISTS `s`.`m` AS SELECT 1 AS a", CATALOG)
    with pytest.raises(errors.Error, match=name):
        stand.run(sql, CATALOG)


def test_a_workspace_with_transactions_takes_no_copy_into_one(tmp_path: Path, databricks: Databricks) -> None:
    able = Databricks(tmp_path / "able", transactions=True)
    able.start()
    try:
        able.create_database(CATALOG)
        able.run("CREATE SCHEMA `s`", CATALOG)
        able.run("CREATE TABLE `s`.`a` (`n` INT) TBLPROPERTIES ('delta.feature.catalogManaged' = 'supported')", CATALOG)
        able.run("BEGIN ATOMIC INSERT INTO `s`.`a` VALUES (1); INSERT INTO `s`.`a` VALUES (2); END", CATALOG)
        with pytest.raises(errors.Error, match="COPY INTO is not supported"):
            able.run("BEGIN ATOMIC INSERT INTO `s`.`a` VALUES (3); COPY INTO `s`.`a` FROM 'x'; END", CATALOG)
        assert able.query("SELECT COUNT(*) FROM `s`.`a`", CATALOG) == [(2,)]
        found = engine("databricks").checks.run(
            Endpoint("t", "databricks", able.parameters(CATALOG)), "target", "data+replication", ()
        )
        said = {check.id: (check.status, check.message) for check in found}
        assert "has transactions" in said["databricks.transactions"][1]
        assert {status for status, _ in said.values()} == {"ok"}
    finally:
        able.stop()


# --- what goes wrong --------------------------------------------------------------------------------------------------


def refused_login(stand: Databricks, **change: Any) -> WhimbrelError:
    with pytest.raises(WhimbrelError) as refused:
        engine("databricks").test(Endpoint("t", "databricks", {**stand.parameters(CATALOG), **change}))
    return refused.value


def test_logins(stand: Databricks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(refused_login(stand, access_token="expired")) is AuthenticationFailed
    assert type(refused_login(stand, http_path="/sql/1.0/warehouses/nowhere")) is DatabaseMissing
    assert type(refused_login(stand, catalog="nowhere")) is DatabaseMissing
    given = {k: v for k, v in stand.parameters(CATALOG).items() if k != "access_token"}
    principal = {**given, "client_id": CLIENT, "client_secret": SECRET}
    assert engine("databricks").test(Endpoint("t", "databricks", principal)).title.startswith("Databricks SQL")
    wrong = {**principal, "client_secret": "wrong"}
    with pytest.raises(AuthenticationFailed, match="service principal"):
        engine("databricks").test(Endpoint("t", "databricks", wrong))


def test_a_warehouse_that_does_not_start_is_waited_for_with_a_bound(
    stand: Databricks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whimbrel.connectors.databricks import connection

    monkeypatch.setattr(connection, "START_SECONDS", 8)
    stand.order("http", status=503, times=50)
    try:
        found = refused_login(stand)
    finally:
        stand.no_faults()
    assert (type(found), found.retryable) == (HostUnreachable, True)
    assert "start" in found.message


def test_throttling_is_waited_for(stand: Databricks) -> None:
    stand.order("http", status=429, retry_after=1, times=1)
    engine("databricks").test(Endpoint("t", "databricks", stand.parameters(CATALOG)))


@pytest.mark.parametrize(
    ("fault", "leaf", "retryable"),
    [
        ({"kind": "upload", "status": 0}, TargetInterrupted, True),
        ({"kind": "upload", "status": 503}, TargetInterrupted, True),
        ({"kind": "upload", "status": 403}, TargetPermissionDenied, False),
        (
            {"kind": "statement", "match": "COPY INTO", "error": "OPERATION_CANCELED|by the service|HY008"},
            TargetInterrupted,
            True,
        ),
        (
            {"kind": "statement", "match": "COPY INTO", "error": "INSUFFICIENT_PERMISSIONS|no MODIFY|42501"},
            TargetPermissionDenied,
            False,
        ),
        ({"kind": "http", "status": 401, "times": 1}, TargetPermissionDenied, False),
    ],
    ids=["cut upload", "unserved upload", "denied upload", "cancelled", "no grant", "expired token"],
)
def test_a_load_that_is_refused_leaves_no_file_and_no_half_chunk(
    stand: Databricks, bench: Bench, fault: dict[str, Any], leaf: type[WhimbrelError], retryable: bool
) -> None:
    b = bench
    chunk = b.plan()[0]
    file = b.staged(("1", "a", None))
    with closing(b.target.open_loader(b.job)) as loader:
        stand.order(**fault)
        with pytest.raises(leaf) as refused:
            b.load(chunk, file, loader=loader)
        assert refused.value.retryable is retryable
        assert refused.value.how_to_fix
        stand.no_faults()
        assert (b.rows(), b.ledger.state().tables[b.name].loaded) == ([], {})
        assert not [f for f in stand.staged() if b.job.operation in f]
        assert b.load(chunk, file, loader=loader) == 1
    assert b.rows() == ["1|a|NULL"]


def interrupted(work: Callable[[], object]) -> None:
    with pytest.raises(TargetInterrupted) as lost:
        work()
    assert lost.value.retryable


def test_a_conflict_is_nothing_to_the_user_and_a_lost_answer_is_asked_for(stand: Databricks, bench: Bench) -> None:
    """A conflict has done nothing, and the statement is sent again. What is done without an answer is not: whoever sent
    it is told, and does it again from where the target stands."""
    b = bench
    chunk, file = b.plan()[0], b.staged(("1", "a", None))
    stand.order("statement", match="COPY INTO", error="DELTA_CONCURRENT_APPEND|files were added|2D521", times=2)
    stand.order("answered", match="COPY INTO")
    stand.order("answered", match="UPDATE `whimbrel`.`progress` SET state")
    before = len(stand.statements())
    with closing(b.target.open_loader(b.job)) as loader:
        interrupted(lambda: b.load(chunk, file, loader=loader))
        sent = [s for s in stand.statements()[before:] if s.startswith("COPY INTO")]
        assert len(sent) == 3, "two conflicts and one that was done"
        assert b.load(chunk, file, loader=loader) == 1
    stand.order("statement", match="MERGE", error="DELTA_CONCURRENT_DELETE_READ|files were deleted|2D521")
    stand.order("answered", match="SET position")
    segment = b.segment((INSERT, ("2", "b", "2")))
    with closing(b.applier()) as applier:
        interrupted(lambda: b.apply(applier, segment))
        b.apply(applier, segment)
    interrupted(lambda: b.ledger.data_complete(b.epoch))
    b.ledger.data_complete(b.epoch)
    assert b.rows() == ["1|a|NULL", "2|b|2"]
    assert b.ledger.state().data_complete


def test_values_that_were_left_out_survive_a_merge_whose_answer_is_lost(stand: Databricks, bench: Bench) -> None:
    """Sent again just like that, it would take them from rows that it has moved itself."""
    b = bench
    b.put(("1", "one", "1"), ("2", "two", "2"))
    b.at_source = {b"1": (b"1", b"two", b"2"), b"2": (b"2", b"one", b"1")}
    swapped = b.segment(
        (UPDATE_BEFORE, ("1", None, None)),
        (UPDATE, ("9", MISSING, "1")),
        (UPDATE_BEFORE, ("2", None, None)),
        (UPDATE, ("1", MISSING, "2")),
        (UPDATE_BEFORE, ("9", None, None)),
        (UPDATE, ("2", MISSING, "1")),
    )
    stand.order("answered", match=r"MERGE INTO `\w+`\.`t`")
    with closing(b.applier()) as applier:
        interrupted(lambda: b.apply(applier, swapped))
        b.apply(applier, swapped)
    assert b.rows() == ["1|two|2", "2|one|1"]


def test_what_the_driver_sends_twice_counts_once(stand: Databricks, bench: Bench) -> None:
    b = bench
    chunks = b.plan(3)
    columns = "plan, number, bounds, planned_rows, planned_bytes"
    stand.run(f"INSERT INTO `whimbrel`.`chunks` SELECT {columns} FROM `whimbrel`.`chunks`", CATALOG)
    assert b.ledger.state().tables[b.name].chunks == tuple(chunks)
    ledger: Any = b.ledger
    ledger.hold("mine")
    ledger.hold("mine")
    with pytest.raises(TargetInterrupted, match="another repair"):
        ledger.hold("other")
    ledger.release("mine")
    ledger.hold("other")
    ledger.release("other")
