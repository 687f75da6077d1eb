"""Where a transaction is one script, sent as one job: what comes of it when the way there or back is broken.

Rows are brought into tables of ours before the script begins; what a killed worker leaves of them nobody reads.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.contract.bench import MISSING, Bench, Row, position, table
from tests.engines import side_of
from tests.servers.bigquery import BigQuery
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.protocols import Applier
from whimbrel.connectors.registry import engine
from whimbrel.errors import Fenced, TargetFull, TargetInterrupted, ValueRefused
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment, Truncate

DATASET = "scripted"
_numbers = itertools.count(1)
MOST = 40  # jobs of the longest story here
STEPS = [pytest.param(5, marks=pytest.mark.long), pytest.param(1, marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def stand(bigquery: BigQuery) -> BigQuery:
    bigquery.create_database(DATASET)
    return bigquery


@pytest.fixture
def bench(stand: BigQuery, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*keys: Sequence[str]) -> Bench:
        tables = [table(f"t{n}", key=key) for n, key in enumerate(keys or [("id",)])]
        made.append(Bench(side_of(stand, "bigquery", DATASET, DATASET), tables, tmp_path, f"script{next(_numbers)}"))
        return made[-1]

    yield make
    for b in made:
        with closing(b):
            b.target.cleanup(b.job)
            b.drop_tables()
    stand.order("none")
    assert stand.staged(DATASET) == []


def slices(b: Bench, *parts: Sequence[tuple[int, Row]]) -> list[Segment]:
    """One transaction of the first table that comes in so many slices."""
    of, builder, made = b.tables[0], SegmentBuilder(position(1)), []
    builder.begin()
    for number, changes in enumerate(parts):
        for op, row in changes:
            buffer = builder.buffer(of.name, tuple(c.name for c in of.columns))
            for column, value in zip(buffer.columns, row, strict=True):
                if value is MISSING:
                    column.unchanged()
                elif value is None:
                    column.null()
                else:
                    column.put(str(value).encode())
            buffer.row(op)
        if number == len(parts) - 1:
            builder.commit(position(2), 1)
        made.append(builder.cut())
    return made


def applied(b: Bench, applier: Applier, segments: Sequence[Segment]) -> None:
    """As one transaction."""
    for segment in segments:
        applier.apply(segment, b.refetch)
    applier.commit(b.epoch, segments[-1].position)


def test_a_transaction_in_slices_is_one(bench: Callable[..., Bench]) -> None:
    """Values that a slice leaves out are those of the slice before it, or of the table as it will be by then."""
    b = bench()
    b.put(("1", "one", "1"), ("2", "two", "2"), ("3", "three", "3"))
    b.at_source = {b"8": (b"8", b"eight", b"88")}
    parts = slices(
        b,
        [(UPDATE, ("1", "ONE", "1")), (INSERT, ("4", "four", "4")), (DELETE, ("3", None, None))],
        [(UPDATE, ("4", MISSING, "44")), (UPDATE, ("1", MISSING, "11")), (UPDATE, ("2", MISSING, "22"))],
        [(UPDATE_BEFORE, ("4", None, None)), (UPDATE, ("40", MISSING, "44")), (UPDATE, ("8", MISSING, "88"))],
    )
    assert [p.ends_transaction for p in parts] == [False, False, True]
    applied(b, b.applier(), parts)
    assert b.rows() == ["1|ONE|11", "2|two|22", "40|four|44", "8|eight|88"]
    assert (b.refetched, b.ledger.position()) == ([[b"8"]], position(2))


def test_rows_without_a_key_in_slices_keep_their_number(bench: Callable[..., Bench]) -> None:
    b = bench(())
    b.put(*[("1", "same", "1")] * 3)
    parts = slices(
        b,
        [(DELETE, ("1", "same", "1")), (INSERT, ("2", None, None)), (INSERT, ("2", None, None))],
        [(DELETE, ("1", "same", "1")), (DELETE, ("2", None, None)), (INSERT, ("1", "same", "1"))],
    )
    applied(b, b.applier(), parts)
    assert b.rows() == ["1|same|1", "1|same|1", "2|NULL|NULL"]


@pytest.mark.long
def test_an_emptied_table_has_what_comes_after(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.put(("1", "gone", "1"), ("2", "gone", "2"))
    applier = b.applier()
    before, after = slices(b, [(INSERT, ("9", "gone too", None))], [(INSERT, ("2", "new", None))])
    emptied = Segment(0, (Truncate((b.name,)),), position(2), False, 0, 0, {}, 0)
    applied(b, applier, [before, emptied, after])
    assert b.rows() == ["2|new|NULL"]


def test_more_tables_than_a_transaction_takes(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """The position comes with the last of them, and so do tables without a key; killed between, it ends the same."""
    from whimbrel.connectors.bigquery import applier as module
    from whimbrel.connectors.bigquery.connection import BigQuerySession

    monkeypatch.setattr(module, "MOST_TABLES", 3)
    b = bench(("id",), ("id",), ("id",), ())
    steps = [b.segment((INSERT, ("1", "a", None)), number=n).steps for n in range(4)]
    both = Segment(0, tuple(s for step in steps for s in step), position(2), True, 1, 0, {}, 0)
    real, sent = BigQuerySession.script, []

    def second_dies(session: BigQuerySession, *args: Any) -> Any:
        sent.append(args)
        if len(sent) == 2:
            raise TargetInterrupted("killed")
        return real(session, *args)

    with monkeypatch.context() as patch:
        patch.setattr(BigQuerySession, "script", second_dies)
        with pytest.raises(TargetInterrupted):
            applied(b, b.applier(), [both])
    there = [len(b.rows(n)) for n in range(4)]
    assert (sum(there) in (1, 2), there[3], b.ledger.position()) == (True, 0, None)
    applied(b, b.applier(), [both])
    assert [b.rows(n) for n in range(4)] == [["1|a|NULL"]] * 4
    assert b.ledger.position() == position(2)


@pytest.mark.long
def test_lanes_that_commit_at_once_come_one_after_the_other(bench: Callable[..., Bench]) -> None:
    b = bench()
    plan = b.plan(3)
    files = [b.staged((str(n), "a", None), name=f"lane{n}") for n in range(3)]
    loaders = [b.another_loader() for _ in plan]
    work = [
        threading.Thread(target=b.load, args=(chunk, file), kwargs={"loader": loader})
        for chunk, file, loader in zip(plan, files, loaders, strict=True)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(120)
    assert b.rows() == ["0|a|NULL", "1|a|NULL", "2|a|NULL"]
    assert b.ledger.state().tables[b.name].loaded == {0: 1, 1: 1, 2: 1}


@pytest.mark.long
def test_two_that_claim_at_once_never_get_one_epoch(bench: Callable[..., Bench]) -> None:
    b, found = bench(), []
    ledgers = [b.target.ledger(b.job.migration) for _ in range(3)]
    work = [threading.Thread(target=lambda one=one: found.append(one.claim())) for one in ledgers]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(120)
    for one in ledgers:
        one.close()
    assert sorted(found) == [b.epoch + 1, b.epoch + 2, b.epoch + 3]


def test_two_first_claims_at_once_are_one_after_the_other(bench: Callable[..., Bench], stand: BigQuery) -> None:
    """Both see that nothing is there; each script is held up behind what it has seen."""
    b, found = bench(), []
    ledgers = [b.target.ledger(f"{b.job.migration}-at-once") for _ in range(2)]
    stand.order("job", holds="BEGIN TRANSACTION", seconds=0.5, times=2)
    work = [threading.Thread(target=lambda one=one: found.append(one.claim())) for one in ledgers]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(120)
    first, second = sorted(found)
    assert second == first + 1
    with closing(ledgers[0]), closing(ledgers[1]):
        assert ledgers[0].state().epoch == second
        ledgers[0].set_position(second, position(1))
        with pytest.raises(Fenced):
            ledgers[1].set_position(first, position(2))
        assert ledgers[0].position() == position(1)
        ledgers[0].remove()


@pytest.mark.parametrize(
    "reason",
    ["rateLimitExceeded", *(pytest.param(r, marks=pytest.mark.long) for r in ("jobRateLimitExceeded",))],
)
def test_a_job_that_is_throttled_is_sent_again(bench: Callable[..., Bench], stand: BigQuery, reason: str) -> None:
    b = bench()
    stand.order("job", reason=reason, holds="MERGE INTO", times=2)
    b.apply(b.applier(), b.segment((INSERT, ("1", "a", "1"))))
    assert (b.rows(), b.ledger.position()) == (["1|a|1"], position(2))


@pytest.mark.parametrize(
    ("reason", "again"), [("rateLimitExceeded", True), pytest.param("backendError", False, marks=pytest.mark.long)]
)
def test_a_job_that_fails_while_it_is_waited_for(
    bench: Callable[..., Bench], stand: BigQuery, reason: str, again: bool
) -> None:
    """Its failure is not that of the question, which would be asked for two minutes again."""
    b = bench()
    stand.order("job", reason=reason, holds="MERGE INTO", seconds=1.5)  # its request is answered within a second
    began = time.monotonic()
    with nullcontext() if again else pytest.raises(TargetInterrupted, match=reason):
        b.apply(b.applier(), b.segment((INSERT, ("1", "a", "1"))))
    assert time.monotonic() - began < 60
    assert (b.rows(), b.ledger.position()) == ((["1|a|1"], position(2)) if again else ([], None))


def test_no_request_waits_without_end(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.transport.requests import AuthorizedSession

    b, real, bounds = bench(), AuthorizedSession.request, {}

    def request(http: Any, method: str, url: str, *args: Any, **named: Any) -> Any:
        bounds[(method, url)] = named.get("timeout")
        return real(http, method, url, *args, **named)

    monkeypatch.setattr(AuthorizedSession, "request", request)
    (chunk,) = b.plan()
    assert b.load(chunk, b.staged(("1", "a", None)), loader=b.another_loader()) == 1
    session = b.target.connect()  # type: ignore[attr-defined]
    with closing(session):
        assert [len(block) for block in session.stream("SELECT * FROM UNNEST(GENERATE_ARRAY(1, 7000)) AS n")] == [
            5000,
            2000,
        ]
    assert any("/queries/" in url for _, url in bounds)
    assert {asked: bound for asked, bound in bounds.items() if not bound} == {}


@pytest.mark.long
def test_a_quota_that_is_used_up_is_told_at_once(bench: Callable[..., Bench], stand: BigQuery) -> None:
    b = bench()
    stand.order("job", reason="quotaExceeded", holds="MERGE INTO")
    with pytest.raises(TargetFull, match="quota"):
        b.apply(b.applier(), b.segment((INSERT, ("1", "a", "1"))))
    assert (b.rows(), b.ledger.position()) == ([], None)


def test_a_request_whose_answer_is_lost_is_no_second_job(
    bench: Callable[..., Bench], stand: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a load and of a script: each is sent again, and the one that is there is taken for what it is."""
    from google.cloud.bigquery import Client
    from requests.exceptions import ConnectionError as Broken

    b = bench(())
    lost: list[str] = []
    real_load, real_query = Client.load_table_from_file, Client._call_api

    def load(client: Any, *args: Any, **named: Any) -> Any:
        job = real_load(client, *args, **named)
        if not lost:
            lost.append("load")
            args[0].seek(0)
            stand.order("request", status=404, reason="notFound", method="GET", holds="/jobs/")  # for a moment
            return real_load(client, *args, **named)
        return job

    def call(client: Any, retry: Any, *args: Any, **named: Any) -> Any:
        sent = named.get("method") == "POST" and str(named.get("path", "")).endswith("/jobs")
        if sent and "script" not in lost and "INSERT INTO" in str(named.get("data")):
            lost.append("script")

            def twice() -> Any:
                if lost.count("script") == 1:
                    lost.append("script")
                    real_query(client, None, *args, **named)
                    raise Broken("the answer is lost")
                return real_query(client, None, *args, **named)

            return retry(twice)() if retry else twice()
        return real_query(client, retry, *args, **named)

    monkeypatch.setattr(Client, "load_table_from_file", load)
    monkeypatch.setattr(Client, "_call_api", call)
    b.apply(b.applier(), b.segment((INSERT, ("1", "a", "1"))))
    assert lost == ["load", "script", "script"]
    assert (b.rows(), b.ledger.position()) == (["1|a|1"], position(2))


@pytest.mark.long
def test_a_load_that_comes_late_fills_nothing(bench: Callable[..., Bench], stand: BigQuery) -> None:
    """Its table is gone with the operation; nobody makes it again."""
    from google.cloud import bigquery

    from whimbrel.connectors.bigquery.stage import BigQueryStage

    b = bench()
    session = b.target.connect()  # type: ignore[attr-defined]
    with closing(session):
        stage, columns = BigQueryStage(b.job.operation), [("id", "INT64")]
        name = stage.make(session, columns)
        stage.clear(session)
        with pytest.raises(Exception, match=r"(?i)not found|refused"):
            stage.load(session, b.staged(("1", "a", None)).path, name, columns)
    assert stand.staged(DATASET) == []
    assert bigquery is not None


@pytest.mark.long
def test_a_hold_that_has_run_out_writes_nothing_and_keeps_nobody(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    from whimbrel.connectors.bigquery import ledger as module

    b = bench()
    b.put(("1", "a", "1"))
    monkeypatch.setattr(module, "HOLD_SECONDS", 0)
    holder = b.holder()
    holder.hold()
    holder.apply(b.segment((UPDATE, ("1", "old", "0"))), b.refetch)
    b.apply(b.applier(), b.segment((DELETE, ("1", None, None))))
    with pytest.raises(TargetInterrupted, match="had ended"):
        holder.release()
    assert (b.rows(), b.ledger.position()) == ([], position(2))


@pytest.mark.long
def test_who_applies_waits_for_a_repair_and_writes_all_of_its_batch(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.put(("1", "a", "1"), ("2", "b", "2"))
    holder, applier = b.holder(), b.applier()
    holder.hold()
    done = threading.Thread(target=b.apply, args=(applier, b.segment((DELETE, ("1", None, None)))))
    done.start()
    done.join(3)
    assert done.is_alive()
    assert b.rows() == ["1|a|1", "2|b|2"]
    holder.apply(b.segment((UPDATE, ("2", "mended", "2"))), b.refetch)
    holder.release()
    done.join(60)
    assert (b.rows(), b.ledger.position()) == (["2|mended|2"], position(2))


@pytest.mark.long
def test_a_key_that_is_there_twice_is_told_by_table(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.put(("1", "a", "1"), ("1", "b", "1"))
    with pytest.raises(ValueRefused, match=rf"{b.targets[0].name}"):
        b.apply(b.applier(), b.segment((UPDATE, ("1", "c", "1"))))
    assert (b.rows(), b.ledger.position()) == (["1|a|1", "1|b|1"], None)


def test_a_dataset_with_a_collation_is_refused(stand: BigQuery) -> None:
    """In its tables 'A' and 'a' would be one key."""
    from google.cloud import bigquery

    name = f"{DATASET}_collated"
    where = {"projectId": stand.client.project, "datasetId": name}
    made = {"datasetReference": where, "defaultCollation": "und:ci"}
    stand.client.create_dataset(bigquery.Dataset.from_api_repr(made))
    checks = engine("bigquery").checks.run(side_of(stand, "bigquery", name, name).endpoint("x"), "target", "data", [])
    told = next(c for c in checks if c.id == "bigquery.collation")
    assert (told.status, name in told.message) == ("fail", True)
    stand.client.delete_dataset(name)


# --- killed after any job ---------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a worker does not survive."""


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """All sessions of this process die with their n-th request within the block: it is done, and nothing after it."""
    from google.cloud.bigquery import Client

    real_call, real_load = Client._call_api, Client.load_table_from_file

    @contextmanager
    def until(limit: int) -> Iterator[list[int]]:
        left = [limit]

        def counted(real: Any) -> Any:
            def request(*args: Any, **named: Any) -> Any:
                if left[0] <= 0:
                    raise Killed
                done = real(*args, **named)
                left[0] -= 1
                if left[0] <= 0:
                    raise Killed
                return done

            return request

        with monkeypatch.context() as patch:
            patch.setattr(Client, "_call_api", counted(real_call))
            patch.setattr(Client, "load_table_from_file", counted(real_load))
            yield left

    return until


@pytest.mark.parametrize("step", STEPS)
def test_rows_are_loaded_once(bench: Callable[..., Bench], mortal: Callable[[int], Any], step: int) -> None:
    """Without a key, where nothing but the record stops a second load."""
    b = bench(())
    plan, number = b.plan(MOST), -1
    for number in range(MOST):
        file = b.staged((str(number), "a", None), name=f"rows{number}")
        with mortal(1 + number * step) as left, suppress(Killed), closing(b.target.open_loader(b.job)) as loader:
            b.load(plan[number], file, loader=loader)
        b.target.end_sessions(b.target.connect(), b.job)  # type: ignore[attr-defined]
        b.epoch = b.ledger.claim()
        b.load(plan[number], b.staged((str(number), "a", None), name=f"again{number}"), loader=b.another_loader())
        if left[0] > 0:
            break
    assert left[0] > 0
    assert number * step > 5, "the sweep has seen every request of a load"
    assert b.rows() == sorted(f"{n}|a|NULL" for n in range(number + 1))


@pytest.mark.parametrize("step", STEPS)
def test_changes_end_as_the_source_has_them(
    bench: Callable[..., Bench], mortal: Callable[[int], Any], step: int
) -> None:
    b = bench(("id",), ())
    b.at_source = {b"1": (b"1", b"two", b"2")}
    moves = b.segment(
        (UPDATE_BEFORE, ("1", None, None)),
        (UPDATE, ("9", MISSING, "1")),
        (UPDATE_BEFORE, ("2", None, None)),
        (UPDATE, ("1", MISSING, "2")),
        (DELETE, ("3", None, None)),
    )
    keyless = b.segment((DELETE, ("5", "x", None)), (INSERT, ("6", "y", None)), number=1)
    both = Segment(0, (*moves.steps, *keyless.steps), position(2), True, 1, 0, {}, 0)
    for limit in range(1, MOST * step, step):
        for name in ("t0", "t1"):
            b.side.change(f"delete from {name}")
        b.put(("1", "one", "1"), ("2", "two", "2"), ("3", "three", None))
        b.side.change("insert into t1 values (5, 'x', null), (5, 'x', null)")
        b.ledger.clear(b.epoch, "op")
        with mortal(limit) as left, suppress(Killed), closing(b.target.open_applier(b.job, b.tables, b.targets)) as one:
            b.apply(one, both)
        b.target.end_sessions(b.target.connect(), b.job)  # type: ignore[attr-defined]
        b.epoch = b.ledger.claim()
        if b.ledger.position() is None:
            b.apply(b.applier(), both)
        assert b.rows() == ["1|two|2", "9|one|1"], f"killed after request {limit}"
        assert b.rows(1) == ["5|x|NULL", "6|y|NULL"], f"killed after request {limit}"
        if left[0] > 0:
            return
    raise AssertionError("no attempt came through")


@pytest.mark.long
def test_a_late_script_of_an_older_owner_writes_nothing(bench: Callable[..., Bench], stand: BigQuery) -> None:
    """It waits in the service, and runs after the migration was taken over."""
    b = bench()
    (chunk,) = b.plan()
    stand.order("job", holds="INSERT INTO `scripted`.`t0`", seconds=6)
    refused: list[BaseException] = []

    def late() -> None:
        try:
            b.load(chunk, b.staged(("1", "a", None)))
        except Fenced as e:
            refused.append(e)

    old = threading.Thread(target=late)
    old.start()
    old.join(3)
    with closing(b.target.ledger(b.job.migration)) as newer:
        epoch = newer.claim()
    old.join(60)
    assert len(refused) == 1
    assert b.rows() == []
    b.epoch = epoch
    assert b.load(chunk, b.staged(("1", "a", None), name="again"), loader=b.another_loader()) == 1
    assert b.rows() == ["1|a|NULL"]
