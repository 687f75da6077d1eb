"""SingleStore ends transactions and connections where it likes: what was not recorded is not there, and what was is
there once. The target is fed by hand, as in the contract; workers die in the process."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.contract.bench import MISSING, Bench, position, table
from tests.engines import side_of
from tests.servers.certificates import authority
from tests.servers.process import Process, free_port, wait_until
from tests.servers.singlestore import ROOT, SingleStore
from whimbrel.codecs.tablines import lines
from whimbrel.connectors.registry import engine
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.errors import AuthenticationFailed, LoaderFailed, TargetInterrupted, TlsFailed, ValueRefused
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment
from whimbrel.model.job import Endpoint

_numbers = itertools.count(1)
MOST = 80  # statements of the longest story here
STEPS = [14, pytest.param(1, marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def stand(singlestore: SingleStore) -> SingleStore:
    side_of(singlestore, "singlestore", "faults", "faults").drop_leftovers()
    return singlestore


@pytest.fixture
def made(stand: SingleStore, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Benches; what was ordered to go wrong is taken back behind the test."""
    benches: list[Bench] = []

    def make(key: tuple[str, ...] = ("id",)) -> Bench:
        side = side_of(stand, "singlestore", "faults", "faults")
        benches.append(Bench(side, [table("t", key=key)], tmp_path, f"faults{next(_numbers)}"))
        return benches[-1]

    yield make
    stand.clear_orders()
    for bench in benches:
        bench.close()
        bench.drop_tables()


# --- transactions that are ended from outside -------------------------------------------------------------------------


class Ending:
    """Ends the transaction that is open before its statement with this number; ``None`` only counts."""

    def __init__(self, bench: Bench, how: str) -> None:
        assert isinstance(bench.target, SqlTarget)
        self._target, self._job, self._how = bench.target, bench.job, how
        self._own = bench.target.connect()
        self.statements, self.at = 0, -1

    def before(self, session: Any) -> None:
        if session.in_transaction and session is not self._own:
            if self.statements == self.at:
                if self._how == "rolled back":
                    session._link.query("ROLLBACK")
                else:
                    self._target.end_sessions(self._own, self._job)
            self.statements += 1

    def close(self) -> None:
        self._own.close()


@contextmanager
def ending(bench: Bench, how: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ending]:
    from whimbrel.connectors.singlestore.connection import SingleStoreSession

    found = Ending(bench, how)

    def spying(real: Callable[..., Any]) -> Callable[..., Any]:
        def statement(session: Any, *args: Any) -> Any:
            found.before(session)
            return real(session, *args)

        return statement

    with closing(found), monkeypatch.context() as patch:
        for name in ("execute", "query", "load"):
            patch.setattr(SingleStoreSession, name, spying(getattr(SingleStoreSession, name)))
        yield found


def at_every_statement(found: Ending, work: Callable[[], None]) -> int:
    """How often ``work``, which may be repeated, was refused; it is repeated then, and must come through."""
    found.statements, found.at = 0, -1
    work()
    refused = 0
    for moment in range(found.statements):
        found.statements, found.at = 0, moment
        try:
            work()
        except TargetInterrupted:
            refused += 1
            found.at = -1
            work()
    return refused


@pytest.mark.parametrize("how", ["rolled back", pytest.param("killed", marks=pytest.mark.long)])
def test_a_load_whose_transaction_is_ended_keeps_nothing(
    made: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Without a key, where nothing but the record stops a second load."""
    b = made(key=())
    chunks = iter(b.plan(MOST))
    file = b.staged(("1", "a", None), ("2", "b", "7"))
    rows: list[str] = []

    with ending(b, how, monkeypatch) as found:
        current = next(chunks)

        def load() -> None:
            with closing(b.target.open_loader(b.job)) as loader:
                assert b.load(current, file, loader=loader) == 2

        def once() -> None:
            nonlocal current
            try:
                load()
            except TargetInterrupted:
                assert b.rows() == sorted(rows), "nothing of it stays"
                raise
            rows.extend(["1|a|NULL", "2|b|7"])
            assert b.rows() == sorted(rows)
            current = next(chunks)

        refused = at_every_statement(found, once)
    assert refused >= 3
    assert sum(b.ledger.state().tables[b.name].loaded.values()) == len(rows)


@pytest.mark.parametrize("how", ["rolled back", pytest.param("killed", marks=pytest.mark.long)])
@pytest.mark.parametrize("key", [(), pytest.param(("id",), marks=pytest.mark.long)])
def test_changes_whose_transaction_is_ended_keep_nothing(
    made: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, how: str, key: tuple[str, ...]
) -> None:
    b = made(key)
    numbers = itertools.count(3)
    before = {"at": 2}
    lines: list[str] = []

    with ending(b, how, monkeypatch) as found:
        at = next(numbers)

        def once() -> None:
            nonlocal at
            segment = b.segment((INSERT, (str(at), "a", None)), at=at)
            with closing(b.applier()) as applier:
                try:
                    b.apply(applier, segment)
                except TargetInterrupted:
                    assert b.rows() == sorted(lines)
                    stored = b.ledger.position()
                    assert stored is None or stored == position(before["at"])
                    raise
            lines.append(f"{at}|a|NULL")
            assert b.rows() == sorted(lines)
            assert b.ledger.position() == position(at)
            before["at"] = at
            at = next(numbers)

        refused = at_every_statement(found, once)
    assert refused >= 3


# --- connections that are cut -----------------------------------------------------------------------------------------


def test_a_connection_that_is_cut_in_the_middle_of_a_file_leaves_nothing(
    made: Callable[..., Bench], stand: SingleStore
) -> None:
    b = made(key=())
    (chunk,) = b.plan()
    file = b.staged(*((str(n), "x" * 1000, None) for n in range(1000)))
    stand.order(kind="mid-load", match=r"LOAD DATA.*`t`", number=300_000)
    with pytest.raises(TargetInterrupted), closing(b.target.open_loader(b.job)) as loader:
        b.load(chunk, file, loader=loader)
    assert b.rows() == []
    with closing(b.target.open_loader(b.job)) as loader:
        assert b.load(chunk, file, loader=loader) == 1000
    assert len(b.rows()) == 1000


def test_a_commit_whose_answer_is_lost_is_not_done_again(made: Callable[..., Bench], stand: SingleStore) -> None:
    b = made(key=())
    (chunk,) = b.plan()
    file = b.staged(("1", "a", None), ("2", "b", "7"))
    stand.order(kind="answered", match="^COMMIT")
    with pytest.raises(TargetInterrupted), closing(b.target.open_loader(b.job)) as loader:
        b.load(chunk, file, loader=loader)
    with closing(b.target.open_loader(b.job)) as loader:
        assert b.load(chunk, file, loader=loader) == 2
    assert b.rows() == ["1|a|NULL", "2|b|7"]


def test_a_file_that_breaks_off_here_is_not_taken_for_a_whole_one(
    made: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    from whimbrel.connectors.singlestore import stage

    b = made(key=())
    (chunk,) = b.plan()
    file = b.staged(("1", "a", None), ("2", "b", "7"))

    def half(batch: Any) -> memoryview:
        return memoryview(bytes(lines(batch)).partition(b"\n")[0] + b"\n")

    def broken(self: Any, *args: Any) -> Iterator[memoryview]:
        yield memoryview(b"1\ta\t\\N\n")
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(stage.SingleStoreStage, "_blocks", broken)
        with pytest.raises(TargetInterrupted), closing(b.target.open_loader(b.job)) as loader:
            b.load(chunk, file, loader=loader)
        assert b.rows() == []
    with monkeypatch.context() as patch:
        patch.setattr(stage, "lines", half)
        with pytest.raises(Exception, match="2 rows were read, but the target counts 1"):
            b.load(chunk, file)
    assert b.rows() == []
    assert b.load(chunk, file) == 2


def test_a_server_that_asks_for_another_file_gets_none(made: Callable[..., Bench], stand: SingleStore) -> None:
    b = made()
    (chunk,) = b.plan()
    file = b.staged(("1", "a", None))
    stand.order(kind="asks", match=r"LOAD DATA.*`t`", text="/etc/hostname")
    with pytest.raises(LoaderFailed, match="a file of this machine"), closing(b.target.open_loader(b.job)) as loader:
        b.load(chunk, file, loader=loader)
    stand.order(kind="asks", match="^SELECT.*memsql_version", text="/etc/hostname")
    with pytest.raises(Exception, match=r"protocol|LOCAL|LOAD_LOCAL"):
        engine("singlestore").test(b.job.target)
    assert b.rows() == []


# --- values -----------------------------------------------------------------------------------------------------------


def test_keys_that_the_target_takes_for_one_are_refused_and_none_is_put_over_the_other(
    made: Callable[..., Bench], stand: SingleStore
) -> None:
    b = made()
    name = b.targets[0].name.table
    b.side.change(f"drop table {name}")
    b.side.change(f"create table {name} (id bigint, note varchar(20) collate utf8mb4_general_ci, n bigint, "
                  "primary key (id), shard key (id))")  # fmt: skip
    b.put(("1", "one", "1"))
    with pytest.raises(ValueRefused, match=rf"{b.targets[0].name}") as refused:
        b.apply(b.applier(), b.segment((INSERT, ("2", "x" * 21, None))))
    assert "xxx" not in json.dumps(refused.value.to_json())
    assert b.rows() == ["1|one|1"]
    assert b.ledger.position() is None


def test_a_lock_that_is_waited_for_in_vain_is_tried_again(made: Callable[..., Bench], stand: SingleStore) -> None:
    b = made()
    one = b.segment((INSERT, ("1", "a", "1")))
    stand.order(kind="refuse", match="^UPDATE.*progress", number=1205, text="Lock wait timeout exceeded")
    with closing(b.applier()) as applier:
        with pytest.raises(TargetInterrupted, match="lock"):
            b.apply(applier, one)
        assert (b.rows(), b.ledger.position()) == ([], None)
        b.apply(applier, one)
    assert (b.rows(), b.ledger.position()) == (["1|a|1"], one.position)


# --- workers that die -------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a worker does not survive."""


class Reaper:
    """Counts statements behind their execution; from ``limit`` on all that try are dead, and their connections cut."""

    def __init__(self, limit: int) -> None:
        self.left, self.dead = limit, False

    def counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def statement(link: Any, *args: Any, **named: Any) -> Any:
            if self.dead:
                link._force_close()
                raise Killed
            done = real(link, *args, **named)
            self.left -= 1
            if self.left <= 0:
                self.dead = True
                link._force_close()
                raise Killed
            return done

        return statement


@contextmanager
def mortal(monkeypatch: pytest.MonkeyPatch, limit: int) -> Iterator[Reaper]:
    """All connections of this process that are used within the block die with their n-th statement."""
    from whimbrel.connectors.singlestore.link import Link

    reaper = Reaper(limit)
    with monkeypatch.context() as patch:
        for name in ("query", "load"):
            patch.setattr(Link, name, reaper.counted(getattr(Link, name)))
        yield reaper


def changes(b: Bench) -> list[Segment]:
    return [
        b.segment(
            (UPDATE_BEFORE, ("1", None, None)),
            (UPDATE, ("20", "moved", None)),
            (DELETE, ("2", None, None)),
            (UPDATE, ("3", MISSING, "30")),
            (INSERT, ("4", "four", None)),
            at=2,
        ),
        b.segment((UPDATE, ("4", "again", "4")), (DELETE, ("20", None, None)), (INSERT, ("2", "two", None)), at=3),
    ]


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_statement_changes_are_there_once(
    made: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    b = made()
    migration = b.job.migration

    def followed() -> None:
        with closing(b.applier()) as applier:
            stored = b.ledger.position()
            b.apply(applier, *(s for s in changes(b) if stored is None or stored.order < s.position.order))

    for limit in range(1, MOST * step, step):
        b.side.change(f"delete from {b.targets[0].name.table}")
        b.put(("1", "one", "1"), ("2", "gone", "2"), ("3", "three", "3"))
        with closing(b.target.ledger(migration)) as ledger:
            b.epoch = ledger.claim()
            ledger.clear(b.epoch, "op")
        with mortal(monkeypatch, limit) as reaper, suppress(Killed), closing(b.target.ledger(migration)) as b.ledger:
            followed()
        b.ledger = b.target.ledger(migration)
        b.epoch = b.ledger.claim()
        followed()
        assert b.rows() == ["2|two|NULL", "3|three|30", "4|again|4"], f"killed after statement {limit}"
        assert b.ledger.position() == position(3)
        if not reaper.dead:
            break
    else:
        raise AssertionError("no attempt came through")
    assert limit > 30, "the sweep has seen every statement of two batches"


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_statement_rows_are_loaded_once(
    made: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    b = made(key=())
    plan = b.plan(MOST)
    for attempt in range(MOST):
        file = b.staged((str(attempt), "a", None), (str(-attempt - 1), None, "7"), name=f"rows{attempt}")
        limit = 1 + attempt * step
        with mortal(monkeypatch, limit) as reaper, suppress(Killed), closing(b.target.open_loader(b.job)) as loader:
            b.load(plan[attempt], file, loader=loader)
        with closing(b.target.open_loader(b.job)) as loader:
            assert b.load(plan[attempt], file, loader=loader) == 2
        if not reaper.dead:
            break
    else:
        raise AssertionError("no attempt came through")
    assert attempt * step > 8, "the sweep has seen every statement of a load"
    assert b.rows() == sorted(row for n in range(attempt + 1) for row in (f"{n}|a|NULL", f"{-n - 1}|NULL|7"))


def test_what_an_operation_left_open_is_ended(made: Callable[..., Bench], stand: SingleStore) -> None:
    b = made()
    applier = b.applier()
    applier.apply(b.segment((INSERT, ("1", "a", "1"))), b.refetch)
    assert b.target.at_work(b.job) == 0, "it waits for us"
    b.target.cleanup(b.job)
    b.target.cleanup(b.job)
    with pytest.raises(TargetInterrupted):
        applier.commit(b.epoch, position(2))
    assert (b.rows(), stand.query("select count(*) from faults.whimbrel_open")) == ([], [(0,)])
    noted = stand.query(f"select process_id from faults.whimbrel_sessions where operation = '{b.job.operation}'")
    assert len(noted) <= 1, "the target's own"


@pytest.mark.parametrize(("node", "address"), [(2, "root@localhost"), (1, "somebody@localhost"), (1, "root@elsewhere")])
def test_a_stranger_with_a_number_that_was_ours_is_left_alone(
    made: Callable[..., Bench], stand: SingleStore, node: int, address: str
) -> None:
    """It is of another aggregator, or its server has started again meanwhile."""
    b = made()
    with stand.session() as stranger, stranger.cursor() as cursor:
        cursor.execute("select connection_id()")
        number = cursor.fetchall()[0][0]
        noted = f"values ({node}, {number}, '{b.job.operation}', 'target', '{address}')"
        stand.query(f"insert into faults.whimbrel_sessions (node, process_id, operation, side, address) {noted}")
        b.target.cleanup(b.job)
        cursor.execute("select 1")
        assert cursor.fetchall()[0][0] == 1
    assert not stand.query(f"select node from faults.whimbrel_sessions where process_id = {number}"), "it is forgotten"


@pytest.mark.parametrize("seen", [True, False])
def test_a_stranger_who_is_where_ours_was_is_known_by_its_name(
    made: Callable[..., Bench], stand: SingleStore, seen: bool
) -> None:
    """Of the same account, address, aggregator and number, as after a restart. Where the server does not tell names,
    what was noted is believed."""
    b = made()
    if not seen:
        stand.order(kind="refuse", match="MV_CONNECTION_ATTRIBUTES", number=1142, text="SELECT command denied", times=9)
    with stand.session() as stranger, stranger.cursor() as cursor:
        cursor.execute("select connection_id()")
        number = cursor.fetchall()[0][0]
        where = f"from information_schema.PROCESSLIST where ID = {number}"
        address = stand.query(f"select concat(USER, '@', HOST) {where}")[0][0]
        noted = f"values (1, {number}, '{b.job.operation}', 'target', '{address}')"
        stand.query(f"insert into faults.whimbrel_sessions (node, process_id, operation, side, address) {noted}")
        b.target.cleanup(b.job)
        assert bool(stand.query(f"select ID {where}")) is seen


def test_what_was_noted_of_earlier_connections_keeps_nobody_out(made: Callable[..., Bench], stand: SingleStore) -> None:
    """A server that starts again counts from the beginning: the next numbers may all be noted already."""
    b = made()
    last = stand.query("select max(p.ID) from information_schema.MV_PROCESSLIST p")[0][0]
    stale = ", ".join(f"(1, {last + n}, 'gone', 'target', 'root@localhost')" for n in range(1, 100))
    stand.query(f"insert into faults.whimbrel_sessions (node, process_id, operation, side, address) values {stale}")
    try:
        assert isinstance(b.target, SqlTarget)
        with closing(b.target.connect()) as session:
            noted = f"select operation from faults.whimbrel_sessions where node = 1 and process_id = {session.number}"  # type: ignore[attr-defined]
            assert stand.query(noted) == [(b.job.operation,)]
        assert stand.query(noted) == []
    finally:
        stand.query("delete from faults.whimbrel_sessions where operation = 'gone'")


@pytest.mark.parametrize("heard", [True, False])
def test_a_cancelled_statement_ends(
    made: Callable[..., Bench], stand: SingleStore, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """Whether the server ends it when it is told to, or we give up the connection."""
    from whimbrel.connectors.singlestore import connection

    b = made()
    if not heard:
        monkeypatch.setattr(connection, "CANCEL_SECONDS", 0.5)
        stand.order(kind="refuse", match="KILL QUERY", number=1227, text="denied")
    with closing(connection.connect(b.job.target.parameters, b.job.operation)) as session:
        at_work = f"p.ID = {session.number} and p.INFO like '%SLEEP%'"
        here = f"select p.ID from information_schema.MV_PROCESSLIST p where {at_work}"
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(session.query, "SELECT SLEEP(60)")
            wait_until(lambda: bool(stand.query(here)), 20, "the statement to run")
            session.cancel()
            ended = asked.exception(20)
        assert heard or isinstance(ended, TargetInterrupted)
        with pytest.raises(TargetInterrupted):
            session.query("SELECT 1")
        assert f"KILL QUERY {session.number} 1" in stand.statements()


# --- the line ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encrypted(stand: SingleStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A second proxy before the same server, with TLS: its parameters, and the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("tls")
    trusted = authority(folder, "trusted")
    certificate, key = trusted.server(folder, "127.0.0.1")
    settings = {**json.loads((stand.folder / "settings.json").read_text()), "port": free_port()}
    settings |= {"certificate": str(certificate), "key": str(key), "statements": str(folder / "statements.jsonl")}
    (folder / "settings.json").write_text(json.dumps(settings))
    argv = [sys.executable, "-m", "tests.emulators.singlestore.serve", str(folder / "settings.json")]
    process = Process(argv, folder / "log", env={"PYTHONUNBUFFERED": "1"}, cwd=ROOT)
    process.start()
    given = {**stand.parameters(), "port": str(settings["port"]), "ssl_ca": str(trusted.ca)}

    def answers() -> bool:
        with suppress(Exception):
            engine("singlestore").test(Endpoint("tls", "singlestore", {**given, "ssl_mode": "verify_identity"}))
            return True
        return False

    wait_until(answers, 30, "the proxy with TLS")
    yield {**given, "other": str(authority(folder, "other").ca)}
    process.stop()


def titled(parameters: dict[str, Any], **more: Any) -> str:
    given = {k: v for k, v in {**parameters, **more}.items() if k != "other" and v is not None}
    found = engine("singlestore")
    return found.test(Endpoint("tls", "singlestore", found.parse("singlestore", given))).title


def test_the_line_is_as_safe_as_it_was_asked_for(encrypted: dict[str, Any], stand: SingleStore) -> None:
    for mode in ("verify_identity", "verify_ca", "required", "preferred", None):
        assert titled(encrypted, ssl_mode=mode).startswith("SingleStore 8")
    assert titled(encrypted, ssl_mode="required", ssl_ca=encrypted["other"]).startswith("SingleStore 8")
    for mode in ("verify_identity", "verify_ca"):
        with pytest.raises(TlsFailed):
            titled(encrypted, ssl_mode=mode, ssl_ca=encrypted["other"])
    with pytest.raises(TlsFailed):
        titled(encrypted, ssl_mode="verify_identity", host="localhost")
    with pytest.raises(AuthenticationFailed) as refused:
        titled(encrypted, ssl_mode="verify_identity", password="a wrong secret")
    assert "a wrong secret" not in str(refused.value.to_json())
    for mode in ("required", "verify_identity", None):
        with pytest.raises(TlsFailed, match="no TLS"):
            titled(stand.parameters(), ssl_mode=mode)
    for mode in ("preferred", "disabled"):
        assert titled(stand.parameters(), ssl_mode=mode).startswith("SingleStore 8")
