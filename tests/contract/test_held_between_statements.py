"""Where a statement is a transaction: a repair that comes and goes between an applier's look and its statement makes it
write nothing. It is sent again then, and not taken for done."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.bench import Bench, position, table
from tests.engines import side_of
from tests.servers.databricks import Databricks
from whimbrel.model.change import DELETE, INSERT, UPDATE, Segment, Truncate

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stand(databricks: Databricks) -> Databricks:
    databricks.create_database("held")
    return databricks


@pytest.fixture
def bench(stand: Databricks, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(side_of(stand, "databricks", "held", "repaired"), [table("t")], tmp_path, f"held{next(_numbers)}")
    with closing(made):
        yield made
        made.drop_tables()


def emptied(b: Bench) -> Segment:
    return Segment(0, (Truncate((b.name,)),), position(2), True, 1, 0, {}, 0)


STORIES = {
    "emptied": (emptied, []),
    "deletes only": (lambda b: b.segment((DELETE, ("1", None, None))), ["2|two|2"]),
    "puts": (lambda b: b.segment((INSERT, ("3", "three", None)), (UPDATE, ("1", "new", "1"))), None),
}


@pytest.mark.parametrize("story", STORIES)
def test_what_a_short_repair_fenced_off_is_written_after_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, story: str
) -> None:
    from whimbrel.connectors.databricks.connection import DatabricksSession

    b, (made, left) = bench, STORIES[story]
    b.put(("1", "one", "1"), ("2", "two", "2"))
    real, sent = DatabricksSession._affected, []

    def met(session: DatabricksSession, sql: str) -> Any:
        if not sql.startswith((f"MERGE INTO `{b.side.schema}`", f"DELETE FROM `{b.side.schema}`")):
            return real(session, sql)
        sent.append(sql)
        if len(sent) > 2:  # two repairs, one after the other
            return real(session, sql)
        with closing(b.holder()) as holder:
            holder.hold()
            done = real(session, sql)
            holder.rollback()
        return done

    segment = made(b)
    with closing(b.applier()) as applier, monkeypatch.context() as patch:
        patch.setattr(DatabricksSession, "_affected", met)
        b.apply(applier, segment)
    assert len(sent) == 3
    assert b.rows() == (left if left is not None else ["1|new|1", "2|two|2", "3|three|NULL"])
    assert b.ledger.position() == position(2)


def test_what_finds_nothing_to_write_after_a_repair_is_sent_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from whimbrel.connectors.databricks.connection import DatabricksSession

    b, real, sent = bench, DatabricksSession._affected, []
    holder = b.holder()
    holder.hold()
    holder.release()

    def seen(session: DatabricksSession, sql: str) -> Any:
        sent.append(sql)
        return real(session, sql)

    with closing(b.applier()) as applier, monkeypatch.context() as patch:
        patch.setattr(DatabricksSession, "_affected", seen)
        b.apply(applier, emptied(b), b.segment((DELETE, ("1", None, None)), at=3))
    assert len([s for s in sent if s.startswith(("MERGE", "DELETE"))]) == 2
