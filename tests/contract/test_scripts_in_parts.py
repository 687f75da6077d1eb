"""A transaction of the source that passes what one script takes: in parts that can be written again, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.contract.bench import MISSING, position
from tests.contract.scripts import Make, applied, bench, slices, stand
from whimbrel.connectors.bigquery import applier as module
from whimbrel.connectors.bigquery.connection import BigQuerySession
from whimbrel.errors import ReplicationFailed, TargetInterrupted
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment

__all__ = ["bench", "stand"]  # fixtures
LONGEST = 1  # character: a script takes what one slice has for one table, and no more


@contextmanager
def scripts(dies: int = 0) -> Iterator[list[list[str]]]:
    """The statements of each script that is sent; the one of this number, from 1, is not."""
    real, sent = BigQuerySession.script, []

    def script(session: BigQuerySession, statements: Any, *args: Any) -> Any:
        sent.append(list(statements))
        if len(sent) == dies:
            raise TargetInterrupted("killed")
        return real(session, statements, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BigQuerySession, "script", script)
        yield sent


def test_more_tables_than_a_transaction_takes(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The position comes with the last of them, and so do tables without a key; killed between, it ends the same."""
    monkeypatch.setattr(module, "MOST_TABLES", 3)
    b = bench(("id",), ("id",), ("id",), ())
    steps = [b.segment((INSERT, ("1", "a", None)), number=n).steps for n in range(4)]
    both = Segment(0, tuple(s for step in steps for s in step), position(2), True, 1, 0, {}, 0)
    with scripts(dies=2), pytest.raises(TargetInterrupted):
        applied(b, b.applier(), [both])
    there = [len(b.rows(n)) for n in range(4)]
    assert (sum(there) in (1, 2), there[3], b.ledger.position()) == (True, 0, None)
    applied(b, b.applier(), [both])
    assert [b.rows(n) for n in range(4)] == [["1|a|NULL"]] * 4
    assert b.ledger.position() == position(2)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SCRIPT", LONGEST)


@pytest.mark.usefixtures("short")
def test_slices_of_one_table_that_no_script_holds(bench: Make) -> None:
    """Killed between the parts, and written again: it ends as the source has it."""
    b = bench()
    b.put(("1", "one", "1"), ("2", "two", "2"), ("3", "three", "3"))
    parts = slices(
        b,
        [(UPDATE, ("1", "ONE", "1")), (INSERT, ("4", "four", "4")), (DELETE, ("3", None, None))],
        [(UPDATE, ("4", MISSING, "44")), (UPDATE, ("1", MISSING, "11")), (UPDATE, ("2", MISSING, "22"))],
        [(UPDATE_BEFORE, ("4", None, None)), (UPDATE, ("40", "forty", "44")), (DELETE, ("1", None, None))],
    )
    with scripts(dies=3) as sent, pytest.raises(TargetInterrupted):
        applied(b, b.applier(), parts)
    assert (b.rows(), b.ledger.position()) == (["1|ONE|11", "2|two|22", "4|four|44"], None)
    b.at_source = {b"40": (b"40", b"forty", b"44"), b"2": (b"2", b"two", b"22")}
    with scripts() as sent:
        applied(b, b.applier(), parts)
    assert (b.rows(), b.ledger.position()) == (["2|two|22", "40|forty|44"], position(2))
    assert len(sent) == 4  # the last has the position alone


@pytest.mark.usefixtures("short")
def test_rows_that_borrow_from_under_their_old_key_do_not_come_in_parts(bench: Make) -> None:
    """Written again they would borrow from whoever has that key by then."""
    b = bench()
    b.put(("1", "one", "1"), ("2", "two", "2"))
    moves = slices(
        b,
        [(UPDATE_BEFORE, ("1", None, None)), (UPDATE, ("9", MISSING, "1"))],
        [(UPDATE_BEFORE, ("2", None, None)), (UPDATE, ("1", MISSING, "2"))],
    )
    with pytest.raises(ReplicationFailed, match=rf"{b.targets[0].name}") as refused:
        applied(b, b.applier(), moves)
    assert "REPLICA IDENTITY FULL" in refused.value.how_to_fix
    assert (b.rows(), b.ledger.position()) == (["1|one|1", "2|two|2"], None)


@pytest.mark.usefixtures("short")
def test_rows_without_a_key_do_not_come_in_parts(bench: Make) -> None:
    b = bench(())
    b.put(("1", "one", "1"))
    parts = slices(b, *([(INSERT, (str(n), "new", None))] for n in range(2, 5)))
    with pytest.raises(ReplicationFailed, match=rf"{b.targets[0].name}") as refused:
        applied(b, b.applier(), parts)
    assert "Begin the migration anew" in refused.value.how_to_fix
    assert (b.rows(), b.ledger.position()) == (["1|one|1"], None)
