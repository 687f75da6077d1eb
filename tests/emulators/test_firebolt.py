"""The stand-in refuses what DuckDB alone would take; owners meet where nothing waits for a lock; and what goes wrong on
order leaves nothing, and is told by code, thing and remedy."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from tests.contract.bench import Bench, position, table
from tests.engines import side_of
from tests.servers.firebolt import CLIENT, LOCATION, SECRET, Firebolt
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.protocols import Scope
from whimbrel.connectors.registry import engine
from whimbrel.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseMissing,
    Fenced,
    HostUnreachable,
    TargetInterrupted,
    TargetPermissionDenied,
    ValueRefused,
    WhimbrelError,
)
from whimbrel.model.change import INSERT, UPDATE
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, ColumnType, Table

errors = pytest.importorskip("firebolt.utils.exception")
DATABASE = "faulty"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stand(firebolt: Firebolt) -> Firebolt:
    firebolt.create_database(DATABASE)
    return firebolt


@pytest.fixture
def bench(stand: Firebolt, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(side_of(stand, "firebolt", DATABASE, "public"), [table("t")], tmp_path, f"faulty{next(_numbers)}")
    try:
        yield made
    finally:
        stand.no_faults()
        made.drop_tables()
        made.close()


def ours(stand: Firebolt) -> list[str]:
    """Tables of ours that are not the ledger's."""
    kept = {"progress", "tables", "chunks", "loaded", "owned"}
    found = stand.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'", DATABASE)
    return [name for (name,) in found if name.removeprefix("whimbrel_") not in kept and name.startswith("whimbrel_")]


# --- the stand-in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("CREATE TABLE x (a SMALLINT)", "unsupported data type"),
        ("CREATE TABLE x (a VARCHAR(10))", "unsupported data type"),
        ("CREATE TABLE x (a NUMERIC(39, 0))", "invalid precision"),
        ("CREATE TABLE x (a INT PRIMARY KEY)", "constraint"),
        ("CREATE TABLE x (a INT, UNIQUE (a))", "constraint|syntax"),
        ("CREATE TEMPORARY TABLE x (a INT)", "TEMPORARY"),
        ("CREATE TABLE x (a INT NULL) PRIMARY INDEX a", "takes NULL"),
        ("CREATE TABLE x (a INT NOT NULL) PRIMARY INDEX b", "no column b"),
        ("COMMENT ON TABLE m IS 'x'", "syntax error"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT * FROM nowhere", "does not exist"),
        ("INSERT INTO m VALUES (NULL)", "null mismatch"),
        ("COMMIT", "no transaction is in progress"),
        (
            "MERGE INTO m AS t USING (SELECT 1 AS a UNION ALL SELECT 1) AS s ON t.a = s.a "
            "WHEN MATCHED THEN UPDATE SET a = s.a",
            "second time",
        ),
    ],
)
def test_what_firebolt_does_not_take_is_refused(stand: Firebolt, sql: str, why: str) -> None:
    stand.run("CREATE TABLE IF NOT EXISTS m (a INT NOT NULL)", DATABASE)
    stand.run("DELETE FROM m WHERE TRUE", DATABASE)
    stand.run("INSERT INTO m VALUES (1)", DATABASE)
    with pytest.raises(errors.FireboltError, match=why):
        stand.run(sql, DATABASE)


def test_a_delete_without_a_condition_does_nothing_as_in_core(stand: Firebolt) -> None:
    stand.run("CREATE TABLE IF NOT EXISTS public.d (a INT NOT NULL)", DATABASE)
    stand.run("INSERT INTO public.d VALUES (1)", DATABASE)
    for sql in ('DELETE FROM "public"."d"', "TRUNCATE TABLE public.d"):
        stand.run(sql, DATABASE)
        assert stand.query("SELECT COUNT(*) FROM public.d", DATABASE) == [(1,)]
    stand.run('DELETE FROM "public"."d" WHERE 1 = 1', DATABASE)
    assert stand.query("SELECT COUNT(*) FROM public.d", DATABASE) == [(0,)]


def test_of_two_writers_of_one_row_one_is_undone_whatever_columns_they_write(stand: Firebolt) -> None:
    stand.run("CREATE TABLE IF NOT EXISTS public.w (id INT NOT NULL, a INT NULL, b INT NULL)", DATABASE)
    stand.run("INSERT INTO public.w VALUES (1, 0, 0), (2, 0, 0)", DATABASE)
    with stand.session(DATABASE, autocommit=False) as one, stand.session(DATABASE, autocommit=False) as other:
        one.cursor().execute("UPDATE public.w SET a = 1 WHERE id = 1")
        other.cursor().execute("UPDATE public.w SET a = 2 WHERE id = 2")  # rows of their own: no conflict
        one.commit()
        with pytest.raises(errors.FireboltError, match="conflict"):
            other.cursor().execute("UPDATE public.w SET b = 2 WHERE id = 1")
    with stand.session(DATABASE, autocommit=False) as one, stand.session(DATABASE, autocommit=False) as other:
        one.cursor().execute("UPDATE public.w SET a = 5 WHERE id = 1")
        other.cursor().execute("UPDATE public.w SET b = 6 WHERE id = 1")
        other.commit()
        with pytest.raises(errors.FireboltError, match="conflict"):
            one.commit()
    assert stand.query("SELECT * FROM public.w ORDER BY id", DATABASE) == [(1, 1, 6), (2, 0, 0)]


# --- owners -----------------------------------------------------------------------------------------------------------


def test_first_claims_at_once_are_two_epochs_of_one_row(stand: Firebolt, bench: Bench) -> None:
    epochs: list[int] = []
    together = threading.Barrier(4)

    def claim() -> None:
        with closing(bench.target.ledger("contended")) as ledger:
            together.wait()
            epochs.append(ledger.claim())

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(epochs)) == 4
    sql = "SELECT epoch FROM public.whimbrel_progress WHERE migration = 'contended'"
    assert stand.query(sql, DATABASE) == [(max(epochs),)]


@pytest.fixture
def amid(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have something done while the next file is being loaded, in the midst of the transaction."""
    from whimbrel.connectors.firebolt.stage import UploadStage

    read = UploadStage._read

    def order(work: Callable[[], Any]) -> None:
        left = [work]

        def interrupted(self: Any, *args: Any) -> None:
            read(self, *args)
            if left:
                left.pop()()

        monkeypatch.setattr(UploadStage, "_read", interrupted)

    return order


def test_a_load_in_hand_when_somebody_claims_leaves_nothing(bench: Bench, amid: Callable[..., None]) -> None:
    (chunk,) = bench.plan()

    def claim() -> None:
        with closing(bench.target.ledger(bench.job.migration)) as newer:
            assert newer.claim() == bench.epoch + 1

    amid(claim)
    with pytest.raises(Fenced):
        bench.load(chunk, bench.staged(("1", "a", None)))
    assert (bench.rows(), bench.ledger.state().tables[bench.name].loaded) == ([], {})


def test_lanes_do_not_undo_each_other(stand: Firebolt, bench: Bench, amid: Callable[..., None]) -> None:
    first, second = bench.plan(2)
    lane, file = bench.another_loader(), bench.staged(("2", "b", None), name="second")
    amid(lambda: bench.load(second, file, loader=lane))
    before = len(stand.statements(bench.job.operation))
    bench.load(first, bench.staged(("1", "a", None)))
    assert bench.rows() == ["1|a|NULL", "2|b|NULL"]
    assert "ROLLBACK" not in stand.statements(bench.job.operation)[before:]


def test_a_load_in_hand_when_the_operation_is_cleaned_up_is_undone_and_done_again(
    stand: Firebolt, bench: Bench, amid: Callable[..., None]
) -> None:
    (chunk,) = bench.plan()
    amid(lambda: bench.target.cleanup(bench.job))
    bench.load(chunk, bench.staged(("1", "a", None)))
    assert bench.rows() == ["1|a|NULL"]
    assert "ROLLBACK" in stand.statements(bench.job.operation)


def test_a_repair_that_changes_came_before_writes_nothing(bench: Bench) -> None:
    applier, holder = bench.applier(), bench.holder()
    bench.apply(applier, bench.segment((INSERT, ("1", "old", None))))
    holder.hold()
    holder.apply(bench.segment((UPDATE, ("1", "repaired", None))), bench.refetch)
    holder.rollback()
    holder.hold()
    holder.apply(bench.segment((UPDATE, ("1", "repaired", None))), bench.refetch)
    bench.apply(applier, bench.segment((UPDATE, ("1", "new", None)), at=3))
    with pytest.raises(TargetInterrupted, match="another transaction"):
        holder.release()
    assert (bench.rows(), bench.ledger.position()) == (["1|new|NULL"], position(3))


# --- what goes wrong --------------------------------------------------------------------------------------------------


STATEMENTS = ("^BEGIN", "^CREATE TABLE", "^MERGE", "^UPDATE.*progress", "^DROP TABLE", "^COMMIT")
FAULTS = [(kind, match) for match in STATEMENTS for kind in ("statement", "ended", "answered")]
FIRST = {("statement", "^BEGIN"), ("ended", "^UPDATE.*progress"), ("answered", "^COMMIT"), ("ended", "^COMMIT")}


@pytest.mark.parametrize(
    ("kind", "match"), [pytest.param(*f, marks=() if f in FIRST else pytest.mark.long) for f in FAULTS]
)
def test_whatever_fails_in_a_batch_it_is_there_once_and_with_its_position(
    stand: Firebolt, bench: Bench, kind: str, match: str
) -> None:
    """A statement refused, a transaction ended from outside, an answer lost: the rest does not run by itself."""
    bench.put(("1", "old", "1"))
    applier = bench.applier()
    one = bench.segment((UPDATE, ("1", "new", "1")), (INSERT, ("2", "two", None)))
    stand.order(kind, match=match, error="Query was canceled")
    failed = kind != "ended" or match not in ("^BEGIN",)
    if failed:
        with pytest.raises(TargetInterrupted):
            bench.apply(applier, one)
        committed = (kind, match) == ("answered", "^COMMIT")
        expected = (["1|new|1", "2|two|NULL"], one.position) if committed else (["1|old|1"], None)
        assert (bench.rows(), bench.ledger.position()) == expected
        if kind != "answered" or match != "^BEGIN":
            assert ours(stand) == [], "staging tables go with their transaction"
    bench.apply(applier, one)
    assert (bench.rows(), bench.ledger.position()) == (["1|new|1", "2|two|NULL"], one.position)
    assert ours(stand) == []


CONFLICT = (
    "Failed to commit transaction, error: 'detected 1 conflicts with 1 transactions on transaction commit', code: 9"
)


def test_what_a_conflict_has_undone_is_done_again_in_place_and_at_last_told(stand: Firebolt, bench: Bench) -> None:
    (chunk,) = bench.plan()
    stand.order("statement", match="^COMMIT", error=CONFLICT, times=2)
    bench.load(chunk, bench.staged(("1", "a", None)))
    stand.order("statement", match="^COMMIT", error=CONFLICT, times=2)
    bench.apply(bench.applier(), bench.segment((INSERT, ("2", "b", None))))
    stand.order("statement", match="^COMMIT", error=CONFLICT)
    bench.ledger.table_finished(bench.epoch, bench.name)
    assert bench.rows() == ["1|a|NULL", "2|b|NULL"]
    assert bench.ledger.position() == position(2)
    stand.order("statement", match="^COMMIT", error=CONFLICT, times=99)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whimbrel.connectors.firebolt.writing.pause_after", lambda attempt: None)
        with pytest.raises(TargetInterrupted):
            bench.apply(bench.applier(), bench.segment((INSERT, ("3", "c", None)), at=3))
    stand.no_faults()
    assert (len(bench.rows()), bench.ledger.position()) == (2, position(2))


@pytest.mark.parametrize("kind", ["answered", "upload"])
@pytest.mark.parametrize("upsert", [False, True])
def test_a_load_cut_anywhere_brings_its_rows_once(stand: Firebolt, bench: Bench, kind: str, upsert: bool) -> None:
    file = bench.staged(("1", "a", None), ("2", "b", "2"))
    for match in ("^COMMIT", "READ_PARQUET") if kind == "answered" else ("",):
        (chunk,) = bench.plan()
        bench.loader.truncate(bench.epoch, bench.name, bench.targets[0].name)
        stand.order(kind, match=match, status=0)
        with pytest.raises(TargetInterrupted):
            bench.load(chunk, file, upsert=upsert, loader=bench.another_loader())
        assert bench.load(chunk, file, upsert=upsert, loader=bench.another_loader()) == 2
        assert bench.rows() == ["1|a|NULL", "2|b|2"]
        assert ours(stand) == []


def test_a_commit_that_was_given_up_and_comes_in_late_doubles_no_row(
    stand: Firebolt, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is lost on the way; it comes in while the lane, in the same epoch, brings the file anew."""
    from whimbrel.connectors.firebolt.connection import FireboltSession
    from whimbrel.connectors.firebolt.stage import UploadStage

    (chunk,) = bench.plan()
    under_way: list[dict[str, str]] = []
    commit, rollback, put = FireboltSession.commit, FireboltSession.rollback, UploadStage.put

    def lost(self: Any) -> None:
        under_way.append(self.name_of_transaction())
        raise TargetInterrupted("the answer is lost")

    def given_up(self: Any) -> None:
        self.in_transaction = False  # the link is dead, so that no ROLLBACK gets there
        self._forget()

    with monkeypatch.context() as patch:
        patch.setattr(FireboltSession, "commit", lost)
        patch.setattr(FireboltSession, "rollback", given_up)
        with pytest.raises(TargetInterrupted):
            bench.load(chunk, bench.staged(("1", "a", None)))

    def late(self: Any, *args: Any) -> str:
        settings = {"database": DATABASE, **under_way.pop()} if under_way else None
        if settings:
            httpx.post(stand.url, params=settings, content="COMMIT").raise_for_status()
        return put(self, *args)

    monkeypatch.setattr(UploadStage, "put", late)
    again = bench.another_loader()
    with pytest.raises(TargetInterrupted, match="given up"):
        bench.load(chunk, bench.staged(("1", "a", None)), loader=again)
    assert bench.load(chunk, bench.staged(("1", "a", None)), loader=again) == 1
    assert bench.rows() == ["1|a|NULL"]
    assert (commit, rollback) == (FireboltSession.commit, FireboltSession.rollback)


def test_a_session_whose_far_end_is_silent_is_cut(bench: Bench) -> None:
    from whimbrel.connectors import live_sessions
    from whimbrel.connectors.firebolt.connection import connect

    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        closing(connect(bench.job.target.parameters, "quiet")) as one,
    ):
        one._plain.engine_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        heard: list[BaseException] = []

        def ask() -> None:
            try:
                one.query("SELECT 1")
            except WhimbrelError as e:
                heard.append(e)

        thread = threading.Thread(target=ask)
        thread.start()
        held, _ = silent.accept()
        with closing(held):
            held.recv(1)
            assert live_sessions.cut("quiet", ["target"]) == 1
            thread.join(20)
        assert [type(e) for e in heard] == [TargetInterrupted]


def test_an_engine_whose_transactions_are_not_what_is_needed_is_told_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whimbrel.connectors.firebolt.connection import FireboltSession

    monkeypatch.setattr(FireboltSession, "takes", lambda *_: True)
    found = {c.id: c for c in engine("firebolt").checks.run(bench.job.target, "target", "data", [])}
    assert found["firebolt.transactions"].status == "fail"
    assert "runs by itself" in found["firebolt.transactions"].message


def test_throttling_is_waited_for(stand: Firebolt, bench: Bench) -> None:
    stand.order("http", status=429, retry_after=1, times=2)
    bench.apply(bench.applier(), bench.segment((INSERT, ("1", "a", None))))
    assert bench.rows() == ["1|a|NULL"]


def test_an_engine_that_is_stopped_is_told_with_what_to_do(stand: Firebolt, bench: Bench) -> None:
    applier = bench.applier()
    stand.order("http", status=503, error="Engine 'loads' is stopped")
    with pytest.raises(TargetInterrupted, match="stopped") as told:
        bench.apply(applier, bench.segment((INSERT, ("1", "a", None))))
    assert "AUTO_START" in told.value.how_to_fix
    assert bench.rows() == []
    stand.order("http", status=503, error="Engine 'loads' is stopped")
    with pytest.raises(HostUnreachable, match="stopped") as met:
        engine("firebolt").test(bench.job.target)
    assert met.value.retryable


# --- accounts and buckets ---------------------------------------------------------------------------------------------


@pytest.fixture
def account(stand: Firebolt, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An account's parameters; its tokens are given by the stand-in, not by a host of their own."""
    monkeypatch.setattr("firebolt.client.client.get_auth_endpoint", lambda url: url)
    return stand.of_account(DATABASE)


def test_logins(stand: Firebolt, account: dict[str, str]) -> None:
    def refused(**change: str) -> WhimbrelError:
        with pytest.raises(WhimbrelError) as told:
            engine("firebolt").test(Endpoint("t", "firebolt", {**account, **change}))
        assert SECRET not in str(told.value.to_json())
        return told.value

    assert engine("firebolt").test(Endpoint("t", "firebolt", account)).title.startswith("Firebolt 4")
    assert type(refused(client_secret="wrong")) is AuthenticationFailed
    assert type(refused(database="nowhere")) is DatabaseMissing
    for change in ({"account_name": "nobody"}, {"engine": "none"}):
        found = refused(**change)
        assert type(found) is ConnectionRefused
        assert next(iter(change)).partition("_")[0] in found.how_to_fix
    core = {**stand.parameters(DATABASE), "database": "nowhere"}
    with pytest.raises(DatabaseMissing):
        engine("firebolt").test(Endpoint("t", "firebolt", core))
    assert CLIENT


def test_a_login_waits_for_no_answer_without_end(account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for its token nor for USE, of which the driver has no bound."""
    from firebolt.client.http_backend import KeepaliveTransport

    bounds, real = [], KeepaliveTransport.handle_request

    def handle(transport: Any, request: Any) -> Any:
        bounds.append((str(request.url), request.extensions.get("timeout", {}).get("read")))
        return real(transport, request)

    monkeypatch.setattr(KeepaliveTransport, "handle_request", handle)
    engine("firebolt").test(Endpoint("t", "firebolt", account))
    assert len(bounds) > 3
    assert [url for url, read in bounds if read is None] == []


def test_a_token_that_ends_is_renewed_amid_a_transaction(tmp_path: Path, account: dict[str, str]) -> None:
    from whimbrel.connectors.firebolt.connection import connect

    brief = Firebolt(tmp_path / "brief", token_seconds=1).start()
    try:
        with closing(connect({**account, "api_endpoint": brief.url, "database": "firebolt"}, "brief")) as session:
            session.execute("CREATE TABLE public.t (a INT NULL)")
            session.begin()
            session.execute("INSERT INTO public.t VALUES (1)")
            threading.Event().wait(1.5)
            session.execute("INSERT INTO public.t VALUES (2)")
            session.commit()
            assert session.query("SELECT COUNT(*) FROM public.t") == [(2,)]
    finally:
        brief.stop()


def through_the_bucket(bench: Bench, account: dict[str, str]) -> Any:
    job = replace(bench.job, target=Endpoint("account", "firebolt", account))
    return bench.engine.target(job.target, job.operation), job


def test_files_come_through_a_bucket_and_leave_it(stand: Firebolt, bench: Bench, account: dict[str, str]) -> None:
    target, job = through_the_bucket(bench, account)
    first, second = bench.plan(2)
    with closing(target), closing(target.open_loader(job)) as loader:
        assert bench.load(first, bench.staged(("1", "a", None), ("2", "b", "2")), loader=loader) == 2
        assert bench.load(second, bench.staged(("2", "c", "3")), upsert=True, loader=loader) == 1
        assert bench.rows() == ["1|a|NULL", "2|c|3"]
        with closing(target.open_applier(job, bench.tables, bench.targets)) as applier:
            bench.apply(applier, bench.segment((INSERT, ("4", "d", None))))
        assert stand.staged() == []
        with closing(target.connect()) as session:
            target.stage().put(session, bench.staged(("9", "z", None)).path)
        assert len(stand.staged()) == 1
        target.cleanup(job)
        assert stand.staged() == []
        stand.order("upload", match="_s3", status=403, times=9)
        with pytest.raises(TargetPermissionDenied, match=r"s3://lake") as told:
            bench.load(bench.plan(1)[0], bench.staged(("5", "e", None)), loader=loader)
        assert "stage_credentials" in told.value.how_to_fix
    checks = engine("firebolt").checks
    stand.no_faults()
    assert {c.status for c in checks.run(job.target, "target", "data", [])} == {"ok"}


def test_an_account_without_a_bucket_is_told_to_give_one(account: dict[str, str]) -> None:
    bare = {k: v for k, v in account.items() if not k.startswith("stag")}
    found = {c.id: c for c in engine("firebolt").checks.run(Endpoint("t", "firebolt", bare), "target", "data", [])}
    assert found["firebolt.staging"].status == "fail"
    assert "staging_location" in found["firebolt.staging"].remedy
    missing = Endpoint("t", "firebolt", {**account, "staging_location": "nowhere"})
    found = {c.id: c for c in engine("firebolt").checks.run(missing, "target", "data", [])}
    assert "nowhere" in found["firebolt.staging"].message
    assert LOCATION


# --- values -----------------------------------------------------------------------------------------------------------

UTC_MICROS = pa.timestamp("us", tz="UTC")
EDGES: dict[str, tuple[ColumnType, list[bytes | None]]] = {
    "whole": (ColumnType(pa.int32(), "int"), [b"-2147483648", b"2147483647", b"0", None]),
    "tiny": (ColumnType(pa.int8(), "tinyint"), [b"-128", b"127", b"0", None]),
    "long": (ColumnType(pa.int64(), "bigint"), [b"-9223372036854775808", b"9223372036854775807", b"0", None]),
    "unsigned": (ColumnType(pa.uint64(), "bigint unsigned"), [b"18446744073709551615", b"0", b"1", None]),
    "wide": (ColumnType(pa.decimal128(38, 0), "numeric(38,0)"), [b"9" * 38, b"-" + b"9" * 38, b"0", None]),
    "deep": (ColumnType(pa.decimal128(38, 38), "numeric(38,38)"), [b"0." + b"9" * 38, b"0." + b"0" * 38, None, None]),
    "single": (ColumnType(pa.float32(), "real"), [b"3.4028235e+38", b"1e-45", b"0.1", b"NaN"]),
    "double": (ColumnType(pa.float64(), "double"), [b"1.7976931348623157e+308", b"5e-324", b"-0", b"Infinity"]),
    "text": (ColumnType(pa.string(), "text"), ["'\\\"\n\té\U0001d11e".encode(), b"", b" blank ", None]),
    "raw": (ColumnType(pa.binary(), "bytea"), [b"\x00\xff\\x41'", b"", bytes(range(256)), None]),
    "day": (ColumnType(pa.date32(), "date"), [b"0001-01-01", b"9999-12-31", b"1582-10-10", None]),
    "moment": (
        ColumnType(pa.timestamp("us"), "timestamp"),
        [b"0001-01-01 00:00:00.000000", b"9999-12-31 23:59:59.999999", b"1500-02-28 12:00:00.000001", None],
    ),
    "instant": (
        ColumnType(UTC_MICROS, "timestamptz"),
        [b"0001-01-01 00:00:00.000000+00", b"9999-12-31 23:59:59.999999+00", b"1970-01-01 00:00:00.000000+00", None],
    ),
    "flag": (ColumnType(pa.bool_(), "boolean"), [b"t", b"f", b"t", None]),
}
AS_TOLD = {b"3.4028235e+38": b"3.4028235e+38", b"NaN": b"nan", b"-0": b"-0.0", b"Infinity": b"inf"}


def test_edges_of_every_type_come_and_are_read_as_they_were(stand: Firebolt, tmp_path: Path) -> None:
    id = Column("id", ColumnType(pa.int64(), "bigint"), nullable=False)
    source = Table(TableName("contract", "edges"), (id, *(Column(n, type) for n, (type, _) in EDGES.items())), ("id",))
    bench = Bench(side_of(stand, "firebolt", DATABASE, "public"), [source], tmp_path, f"edges{next(_numbers)}")
    try:
        builder = SegmentBuilder(position(1))
        builder.begin()
        for number in range(4):
            buffer = builder.buffer(source.name, tuple(c.name for c in source.columns))
            buffer.columns[0].put(str(number).encode())
            for column, (_, values) in zip(buffer.columns[1:], EDGES.values(), strict=True):
                value = values[number]
                column.null() if value is None else column.put(value)
            buffer.row(INSERT)
        builder.commit(position(2), 1)
        bench.apply(bench.applier(), builder.cut())
        scope = Scope(bench.targets[0].name, tuple((c.name, "text") for c in source.columns), (("id", "integer"),))
        keys = pa.record_batch({"k0": ["0", "1", "2", "3"]})
        with closing(engine("firebolt").open_comparison(bench.job.target, "read", "target")) as comparison:
            images = comparison.images(scope, bench.targets[0].columns, keys)
        for name, (_, values) in EDGES.items():
            found = [image[name] for image in sorted(images.to_pylist(), key=lambda row: int(row["k0"]))]
            assert found == [AS_TOLD.get(v, v) if v is not None else None for v in values], name
        told = stand.query("SELECT text, raw, day, deep FROM public.edges WHERE id = 0", DATABASE)
        assert told == [("'\\\"\n\té\U0001d11e", b"\x00\xff\\x41'", date(1, 1, 1), Decimal("0." + "9" * 38))]
    finally:
        bench.drop_tables()
        bench.close()


@pytest.mark.parametrize(("column", "value"), [("text", b"nul\0"), ("day", b"10000-01-01"), ("day", b"0001-01-01 BC")])
def test_a_value_that_firebolt_cannot_hold_is_refused(
    stand: Firebolt, tmp_path: Path, column: str, value: bytes
) -> None:
    id = Column("id", ColumnType(pa.int64(), "bigint"), nullable=False)
    source = Table(TableName("contract", "beyond"), (id, Column(column, EDGES[column][0])), ("id",))
    bench = Bench(side_of(stand, "firebolt", DATABASE, "public"), [source], tmp_path, f"beyond{next(_numbers)}")
    try:
        builder = SegmentBuilder(position(1))
        builder.begin()
        buffer = builder.buffer(source.name, ("id", column))
        buffer.columns[0].put(b"1")
        buffer.columns[1].put(value)
        buffer.row(INSERT)
        builder.commit(position(2), 1)
        with pytest.raises(ValueRefused) as refused:
            bench.apply(bench.applier(), builder.cut())
        assert value.decode().rstrip("\0") not in str(refused.value.to_json())
        assert stand.query("SELECT COUNT(*) FROM public.beyond", DATABASE) == [(0,)]
    finally:
        bench.drop_tables()
        bench.close()
