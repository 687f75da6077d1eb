"""Tables of the source that somebody else has locked: nobody waits for ever, and the error says for what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.servers.postgres import Postgres
from tests.unit.postgres.rig import Rig, session
from whimbrel.connectors.postgres import ENGINE, locks
from whimbrel.connectors.postgres.checks import source as checks_source
from whimbrel.connectors.postgres.source.reading import PostgresSource
from whimbrel.errors import SourceInterrupted
from whimbrel.model.chunk import Chunk, Format

TABLE = "create table t (id int primary key, v text check (v <> '')); create index on t (lower(v));"


@contextmanager
def waits_a_second(match: str) -> Iterator[None]:
    """What the block does ends with a retryable error that names the table, soon after the second it may wait."""
    began = time.monotonic()
    with pytest.raises(SourceInterrupted, match=match) as caught:
        yield
    assert 0.9 < time.monotonic() - began < 5
    assert caught.value.retryable
    assert "end" in caught.value.how_to_fix


def test_a_locked_table_is_named_and_not_waited_for_for_long(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LOCK_SECONDS", 1)
    monkeypatch.setattr(checks_source, "LOCKED_SECONDS", 1)
    with (
        Rig(server, TABLE, "t") as rig,
        closing(rig.open_snapshot(capture=False)) as view,
        closing(PostgresSource(rig.endpoint, rig.job.operation)) as source,
        closing(source.open_reader(rig.job, view.token)) as reader,
        session(server, rig.source) as holder,
    ):
        table, name = rig.tables[0], rig.names[0]
        holder.execute("lock table t")
        pid = holder.info.backend_pid
        with waits_a_second(r"public\.t stayed locked"):
            reader.extract(table, table.columns, Chunk(name, 0, None, 0), Format.COPY_TEXT, lambda _: None)
        for ask in (
            lambda: source.reflect(rig.names),
            lambda: source.plan(table, 1000, 1 << 20),
            lambda: source.prepare_changes(rig.job, rig.tables),
        ):
            with waits_a_second(rf"public\.t is locked by backend {pid} \(postgres, \d+ s\)"):
                ask()
        found = {c.id: c for c in ENGINE.checks.run(rig.endpoint, "source", "replication", rig.names)}
        assert found["postgres.types"].status == "warn"
        assert f"backend {pid}" in found["postgres.types"].message
        assert found["postgres.replica_identity"].status == "ok"  # the rest is looked at all the same
        holder.rollback()
        assert source.plan(table, 1000, 1 << 20)
