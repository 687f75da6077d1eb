"""Where the load of a file and its record are two transactions: a load that was under way when its worker died may come
in at any time. It brings nothing once the table is emptied, or its rows have come another way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.bench import Bench, table
from tests.engines import side_of
from tests.servers.databricks import Databricks
from whimbrel.connectors.staged import StagedFile

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stand(databricks: Databricks) -> Databricks:
    databricks.create_database("late")
    return databricks


@pytest.fixture
def bench(stand: Databricks, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(side_of(stand, "databricks", "late", "loads"), [table("t")], tmp_path, f"late{next(_numbers)}")
    with closing(made):
        yield made
        made.drop_tables()


class Killed(BaseException):
    """A worker ends with its statement on the way."""


class Late:
    """A load that was sent by a worker which has died since, and comes in when it is told to; its file is on the volume
    by then, as it had read it before."""

    def __init__(self, b: Bench, file: StagedFile, monkeypatch: pytest.MonkeyPatch) -> None:
        from whimbrel.connectors.databricks.stage import DatabricksStage

        self.b, self.file = b, file
        self.sent: list[tuple[str, str, Any]] = []

        def sent(stage: Any, session: Any, name: str, table: str, columns: Any) -> int:
            self.sent.append((name, table, columns))
            raise Killed

        chunk = b.plan(2)[0]
        with monkeypatch.context() as patch:
            patch.setattr(DatabricksStage, "load", sent)
            with pytest.raises(Killed):
                b.load(chunk, file)
        b.epoch = b.ledger.claim()

    def comes(self) -> None:
        from whimbrel.connectors.databricks.connection import connect

        stage: Any = self.b.target.stage()  # type: ignore[attr-defined]
        (sent,) = self.sent
        with closing(connect(self.b.job.target.parameters, self.b.job.operation)) as session:
            stage.put_as(session, self.file.path, sent[0])
            stage.load(session, *sent)
            stage.remove(session, sent[0])


def test_a_table_that_was_emptied_stays_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench
    late = Late(b, b.staged(("1", "a", None), ("2", "b", "7")), monkeypatch)
    before = b.ledger.state().tables[b.name]
    assert (before.loaded, before.started) == ({}, True), "nothing is recorded, but something may come"
    b.loader.truncate(b.epoch, b.name, b.targets[0].name)
    assert not b.ledger.state().tables[b.name].started
    late.comes()
    assert b.rows() == []


def test_rows_that_came_by_their_keys_are_there_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench
    late = Late(b, b.staged(("1", "a", None), ("2", "b", "7"), name="late"), monkeypatch)
    chunk = b.ledger.state().tables[b.name].chunks[0]
    assert b.load(chunk, b.staged(("1", "new", None), ("3", "c", "9")), upsert=True) == 2
    late.comes()
    assert b.rows() == ["1|new|NULL", "3|c|9"]


def test_an_attempt_that_was_cut_is_loaded_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench
    file = b.staged(("1", "a", None), ("2", "b", "7"))
    late = Late(b, file, monkeypatch)
    chunk = b.ledger.state().tables[b.name].chunks[0]
    late.comes()
    assert b.load(chunk, file) == 2
    late.comes()
    assert b.rows() == ["1|a|NULL", "2|b|7"]
