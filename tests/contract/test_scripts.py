"""Where a transaction is one script, sent as one job: slices, parts, and who comes after whom.

Rows are brought into tables of ours before the script begins; what a killed worker leaves of them nobody reads.
"""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from tests.contract.bench import MISSING, position
from tests.contract.scripts import DATASET, Make, applied, bench, slices, stand
from tests.servers.bigquery import BigQuery
from whimbrel.connectors.bigquery.connection import job_prefix
from whimbrel.connectors.bigquery.ledger import PROGRESS
from whimbrel.errors import Fenced, TargetInterrupted
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment, Truncate

__all__ = ["bench", "stand"]  # fixtures


def test_a_transaction_in_slices_is_one(bench: Make) -> None:
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


def test_rows_without_a_key_in_slices_keep_their_number(bench: Make) -> None:
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
def test_an_emptied_table_has_what_comes_after(bench: Make) -> None:
    b = bench()
    b.put(("1", "gone", "1"), ("2", "gone", "2"))
    applier = b.applier()
    before, after = slices(b, [(INSERT, ("9", "gone too", None))], [(INSERT, ("2", "new", None))])
    emptied = Segment(0, (Truncate((b.name,)),), position(2), False, 0, 0, {}, 0)
    applied(b, applier, [before, emptied, after])
    assert b.rows() == ["2|new|NULL"]


@pytest.mark.long
def test_lanes_that_commit_at_once_come_one_after_the_other(bench: Make, stand: BigQuery) -> None:
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
    sent = stand.statements(job_prefix(b.job.operation, "target"))
    assert sum("INSERT INTO `scripted`" in sql for sql in sent) == 3  # none was sent again: they wait in a line


@pytest.mark.long
def test_two_that_claim_at_once_never_get_one_epoch(bench: Make) -> None:
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


def test_two_first_claims_at_once_are_one_after_the_other(bench: Make, stand: BigQuery) -> None:
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


@pytest.mark.long
def test_a_hold_that_has_run_out_writes_nothing_and_keeps_nobody(bench: Make, stand: BigQuery) -> None:
    b = bench()
    b.put(("1", "a", "1"))
    holder = b.holder()
    holder.hold()
    own = f"{DATASET}_whimbrel"
    for table in stand.client.list_tables(own):
        if table.table_id.startswith(PROGRESS):
            stand.query(f"UPDATE `{own}`.`{table.table_id}` SET held_until = TIMESTAMP '2020-01-01' WHERE TRUE")
    holder.apply(b.segment((UPDATE, ("1", "old", "0"))), b.refetch)
    b.apply(b.applier(), b.segment((DELETE, ("1", None, None))))
    with pytest.raises(TargetInterrupted, match="had ended"):
        holder.release()
    assert (b.rows(), b.ledger.position()) == ([], position(2))


def test_a_hold_that_comes_late_is_taken_again(bench: Make, stand: BigQuery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time counts from when the service began, which may have been long before it was done."""
    from whimbrel.connectors.bigquery import ledger as module

    monkeypatch.setattr(module, "HOLD_SECONDS", 10)
    b = bench()
    stand.order("job", holds="SET holder", after=6)
    holder = b.holder()
    holder.hold()
    sent = [sql for sql in stand.statements(job_prefix(b.job.operation, "target")) if "SET holder" in sql]
    assert len(sent) == 2
    holder.release()


@pytest.mark.long
def test_who_applies_waits_for_a_repair_and_writes_all_of_its_batch(bench: Make) -> None:
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
