"""SingleStore ends transactions and connections where it likes: what was not recorded is not there, and what was is
there once. The target is fed by hand, as in the contract."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.contract.bench import Bench, position
from tests.faults.singlestore import MOST, made, stand
from tests.servers.singlestore import SingleStore
from whimbrel.codecs.tablines import lines
from whimbrel.connectors.registry import engine
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.errors import LoaderFailed, TargetInterrupted, ValueRefused
from whimbrel.model.change import INSERT

__all__ = ["made", "stand"]  # fixtures


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
