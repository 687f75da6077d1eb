"""Owners meet where nothing waits for a lock; and what goes wrong on order leaves nothing, and is told by code, thing
and remedy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.contract.bench import Bench, position
from tests.contract.firebolt import DATABASE, bench, ours, stand
from tests.servers.firebolt import Firebolt
from whimbrel.connectors.registry import engine
from whimbrel.errors import (
    Fenced,
    HostUnreachable,
    TargetInterrupted,
    WhimbrelError,
)
from whimbrel.model.change import INSERT, UPDATE

__all__ = ["bench", "stand"]  # fixtures


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
