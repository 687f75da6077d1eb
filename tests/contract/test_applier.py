"""Segments into tables: with their position or not at all, and as the source has its rows in the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pyarrow as pa
import pytest

from tests.contract.bench import KEYLESS, MISSING, SCHEMA, Bench, position, table
from whimbrel.errors import Fenced, TargetInterrupted, ValueRefused
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, ColumnType, Table

Make = Callable[..., Bench]


def test_the_position_commits_with_the_rows(bench: Make) -> None:
    b = bench(table("t"))
    applier = b.applier()
    applier.apply(b.segment((INSERT, ("1", "a", "1"))), b.refetch)
    applier.rollback()
    assert (b.rows(), b.ledger.position()) == ([], None)
    one = b.segment((INSERT, ("1", "a", "1")))
    applier.apply(one, b.refetch)
    assert (b.rows(), b.ledger.position()) == ([], None), "nothing shows before the commit"
    applier.commit(b.epoch, one.position)
    assert (b.rows(), b.ledger.position()) == (["1|a|1"], position(2))
    applier.commit(b.epoch, position(9))
    assert b.ledger.position() == position(9), "which goes on where nothing was written"


def test_an_older_owner_cannot_commit(bench: Make) -> None:
    b = bench(table("t"))
    applier, one = b.applier(), b.segment((INSERT, ("1", "a", "1")))
    applier.apply(one, b.refetch)
    with closing(b.target.ledger(b.job.migration)) as other:
        newer = other.claim()
    with pytest.raises(Fenced):
        applier.commit(b.epoch, one.position)
    assert (b.rows(), b.ledger.position()) == ([], None)
    b.epoch = newer
    b.apply(applier, one)
    assert (b.rows(), b.ledger.position()) == (["1|a|1"], one.position)


def test_a_segment_applied_twice_ends_the_same(bench: Make) -> None:
    b = bench(table("t"))
    b.put(("1", "a", None), ("2", "b", "2"), ("3", "c", "3"))
    applier = b.applier()
    one = b.segment(
        (INSERT, ("4", "tab", "4")),
        (UPDATE_BEFORE, ("1", None, None)),
        (UPDATE, ("20", "moved", None)),
        (DELETE, ("2", None, None)),
        (INSERT, ("6", "short-lived", None)),
        (DELETE, ("6", None, None)),
        (DELETE, ("3", None, None)),
        (INSERT, ("3", "again", "0")),
        (UPDATE, ("4", "", "44")),
    )
    for _ in range(2):
        b.apply(applier, one)
        assert b.rows() == ["20|moved|NULL", "3|again|0", "4||44"]


def test_keys_move_and_swap(bench: Make) -> None:
    b = bench(table("t"))
    b.put(("1", "one", "1"), ("2", "two", "2"))
    moves = [("1", "9"), ("2", "1"), ("9", "2")]
    changes = [
        change
        for old, new in moves
        for change in ((UPDATE_BEFORE, (old, None, None)), (UPDATE, (new, MISSING, MISSING)))
    ]
    b.apply(b.applier(), b.segment(*changes))
    assert b.rows() == ["1|two|2", "2|one|1"]
    assert b.refetched == []


def test_unique_values_swap_between_rows(bench: Make) -> None:
    b = bench(table("t", unique=True))
    b.put(("1", "a", None), ("2", "b", None), ("3", "c", None))
    b.apply(
        b.applier(),
        b.segment(
            (UPDATE, ("1", "-", None)),
            (UPDATE, ("2", "a", None)),
            (UPDATE, ("1", "b", None)),
            (DELETE, ("3", None, None)),
            (INSERT, ("4", "c", None)),
        ),
    )
    assert b.rows() == ["1|b|NULL", "2|a|NULL", "4|c|NULL"]


def test_values_left_out_are_kept_or_asked_of_the_source(bench: Make) -> None:
    b = bench(table("t"))
    b.put(("1", "one", "1"), ("2", "two", "2"), ("3", "three", None))
    b.at_source = {b"7": (b"7", b"seven", b"70")}
    b.apply(
        b.applier(),
        b.segment(
            (UPDATE, ("1", MISSING, "10")),
            (UPDATE_BEFORE, ("2", None, None)),
            (UPDATE, ("20", MISSING, "20")),
            (UPDATE, ("7", MISSING, "70")),  # not on the target, still at the source
            (UPDATE, ("8", MISSING, "80")),  # on neither
            (INSERT, ("9", "nine", None)),
            (DELETE, ("3", None, None)),
        ),
    )
    assert b.rows() == ["1|one|10", "20|two|20", "7|seven|70", "9|nine|NULL"]
    assert [sorted(asked) for asked in b.refetched] == [[b"7", b"8"]]  # type: ignore[type-var]


def test_a_change_of_a_row_that_nobody_has_any_more_touches_no_other(bench: Make) -> None:
    """All that a batch has for its table: nothing is left to write, and that is not the same as an empty table."""
    b = bench(table("t"))
    b.put(("1", "one", "1"))
    b.apply(b.applier(), b.segment((UPDATE, ("8", MISSING, "80"))))
    assert (b.rows(), b.ledger.position()) == (["1|one|1"], position(2))


@KEYLESS
def test_of_equal_rows_exactly_as_many_go_as_were_deleted(bench: Make) -> None:
    b = bench(table("t", key=()))
    b.put(*[("1", "same", "1")] * 5, ("1", None, "1"), (None, None, None), (None, None, None))
    image = ("1", "same", "1")
    one = b.segment(
        (DELETE, image),
        (DELETE, image),
        (UPDATE_BEFORE, image),
        (UPDATE, ("2", "same", "1")),
        (DELETE, (None, None, None)),
        (INSERT, ("7", None, None)),
        (DELETE, ("7", None, None)),
    )
    b.apply(b.applier(), one)
    assert b.rows() == ["1|NULL|1", *["1|same|1"] * 2, "2|same|1", "NULL|NULL|NULL"]


@KEYLESS
def test_rows_that_are_one_on_the_target_go_as_often_as_at_the_source(bench: Make) -> None:
    """Documents that differ in blanks only may be one there, and so may zeros that differ in their sign."""
    document, number = ColumnType(pa.string(), "json", Annotation.JSON), ColumnType(pa.float64(), "double precision")
    columns = (Column("doc", document), Column("n", number))
    b = bench(Table(TableName(SCHEMA, "t"), columns))
    wide, narrow = '{"a": 1}', '{"a":1}'
    rows = [(wide, "1"), (narrow, "1"), (narrow, "1"), (narrow, "0"), (wide, "-0"), (narrow, "-0")]
    applier = b.applier()
    b.apply(applier, b.segment(*((INSERT, row) for row in rows)))
    assert len(b.rows()) == 6
    b.apply(applier, b.segment(*((DELETE, rows[n]) for n in (0, 1, 3, 4)), at=3))
    left = sorted(float(row.rpartition("|")[2]) for row in b.rows())
    assert [str(n) for n in left] == ["0.0" if b.side.type == "mariadb" else "-0.0", "1.0"]  # where zero has no sign


@KEYLESS
def test_a_row_that_is_not_there_as_the_source_had_it_stops_with_its_table(bench: Make) -> None:
    b = bench(table("t", key=()))
    b.put(("1", "x", None))
    with pytest.raises(ValueRefused, match=rf"{b.targets[0].name}"):
        b.apply(b.applier(), b.segment(*[(DELETE, ("1", "x", None))] * 2))
    assert (b.rows(), b.ledger.position()) == (["1|x|NULL"], None)


def test_an_error_leaves_nothing_and_the_applier_usable(bench: Make) -> None:
    b = bench(table("t"))
    applier = b.applier()
    secret = "a secret that is no number"
    with pytest.raises(ValueRefused, match=r"column n") as refused:
        b.apply(applier, b.segment((INSERT, ("1", "ok", "1")), (INSERT, ("2", "bad", secret))))
    assert secret not in str(refused.value.to_json())
    assert (b.rows(), b.ledger.position()) == ([], None)
    applier.rollback()
    b.apply(applier, b.segment((INSERT, ("1", "ok", "1"))))
    assert b.rows() == ["1|ok|1"]


@pytest.mark.differs("firebolt", pytest.fail.Exception, "nothing waits for a lock: of two that hold one is undone")
def test_who_holds_writes_alone_and_moves_no_position(bench: Make) -> None:
    b = bench(table("t"))
    b.apply(b.applier(), b.segment((INSERT, ("1", "a", "1"))))
    one, other = b.holder(), b.holder()
    one.hold()
    with pytest.raises(TargetInterrupted):
        other.hold()
    one.apply(b.segment((INSERT, ("2", "b", "2"))), b.refetch)
    one.rollback()
    assert b.rows() == ["1|a|1"]
    other.hold()
    other.apply(b.segment((INSERT, ("3", "c", "3"))), b.refetch)
    other.release()
    assert (b.rows(), b.ledger.position()) == (["1|a|1", "3|c|3"], position(2))
