"""What capturing needs of a server, and that nothing of it stays behind."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.servers.postgres import Postgres, running
from tests.unit.postgres.rig import Rig, backends, session
from tests.unit.postgres.test_snapshot import ODD, ROWS, TABLE
from whimbrel.connectors.postgres.connection import connect
from whimbrel.connectors.postgres.source import publication, slots
from whimbrel.connectors.postgres.source.schema import reflect
from whimbrel.errors import (
    InvalidRequest,
    LogDisabled,
    PositionForeign,
    ReplicaIdentityMissing,
    SlotBlocked,
    SlotsExhausted,
    SourcePermissionDenied,
    WhimbrelError,
)


def test_cleanup_leaves_nothing_and_can_be_repeated(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        opened = rig.open_snapshot()
        stream = rig.open_changes(opened.position)
        assert backends(server, rig.job.operation) == 3  # the snapshot, the stream and its watch
        slots.cleanup(rig.endpoint, rig.job)
        slots.cleanup(rig.endpoint, rig.job)
        assert backends(server, rig.job.operation) == 0
        assert server.psql("select count(*) from pg_replication_slots") == "0"
        assert rig.sql("select count(*) from pg_publication") == "0"
        stream.close()
        opened.close()


def test_prepare_changes_twice_keeps_the_start(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        first = slots.prepare_changes(rig.endpoint, rig.job, rig.tables)
        rig.sql(ROWS.format(10))
        assert slots.prepare_changes(rig.endpoint, rig.job, rig.tables) == first
        assert slots.holds(rig.connection, rig.job.migration, first)
        assert not slots.holds(rig.connection, rig.job.migration, slots.position_at("other/1", first.order[0]))
        assert not slots.holds(rig.connection, "another", first)
        rig.follow(first)


def test_a_table_added_later_waits_for_transactions_that_the_publication_missed(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "WAIT_SECONDS", 0.5)
    with Rig(server, TABLE + "create table later (id int primary key)", "t", "later") as rig:
        slots.prepare_changes(rig.endpoint, rig.job, rig.tables[:1])
        with session(server, rig.source) as writer:
            writer.execute("insert into later values (1)")
            with pytest.raises(SlotBlocked):
                slots.prepare_changes(rig.endpoint, rig.job, rig.tables)


def test_tables_that_cannot_be_captured_are_named(server: Postgres) -> None:
    ddl = """
        create table good (id int primary key); create table bare (id int);
        create table whole (id int); alter table whole replica identity full;
        create table nothing (id int primary key); alter table nothing replica identity nothing;
        create table other (id int primary key, code int not null unique);
        alter table other replica identity using index other_code_key;
        create table by_index (code int not null unique);
        alter table by_index replica identity using index by_index_code_key;
        create unlogged table forgetful (id int primary key);
        create table parted (id int primary key) partition by range (id);
        create table silent partition of parted for values from (0) to (9);
        alter table silent replica identity nothing;
    """
    names = ("good", "bare", "whole", "nothing", "other", "by_index", "forgetful", "parted")
    with Rig(server, ddl, *names) as rig:
        good, bare, whole, nothing, other, by_index, forgetful, parted = rig.tables
        slots.check_capture(rig.connection, [good, whole, by_index])
        with pytest.raises(ReplicaIdentityMissing) as refused:
            slots.check_capture(rig.connection, [good, bare, whole, nothing, other, by_index])
        assert refused.value.extra["tables"] == ["public.bare", "public.nothing", "public.other"]
        with pytest.raises(LogDisabled, match=r"public\.forgetful"):
            slots.check_capture(rig.connection, [forgetful])
        with pytest.raises(ReplicaIdentityMissing, match=r"public\.silent"):
            slots.check_capture(rig.connection, [parted])
        rig.sql("alter table silent replica identity default")
        slots.check_capture(rig.connection, [parted])


def test_missing_rights_are_named(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        role = f"plain_{rig.source}"
        rig.sql(f"create role {role} login; grant select on t to {role}")
        with closing(connect({**rig.endpoint.parameters, "user": role}, "rights")) as connection:
            with pytest.raises(SourcePermissionDenied, match=role):
                slots.check_capture(connection, rig.tables)
            rig.sql(f"alter role {role} replication")
            with pytest.raises(SourcePermissionDenied, match=r"public\.t"):
                slots.check_capture(connection, rig.tables)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"wal_level": "replica"}, LogDisabled), ({"max_replication_slots": 0}, LogDisabled)],
)
def test_a_server_that_cannot_stream_says_why(settings: dict[str, object], expected: type[WhimbrelError]) -> None:
    with running("15", **settings) as server, Rig(server, TABLE, "t") as rig:
        with pytest.raises(expected, match=next(iter(settings))):
            rig.open_snapshot()
        assert rig.sql("select count(*) from pg_publication") == "0"


@pytest.mark.parametrize("setting", ["max_replication_slots", "max_wal_senders"])
def test_a_server_without_a_free_slot_or_sender_says_so(setting: str) -> None:
    with (
        running("15", **{setting: 1}) as server,
        Rig(server, TABLE, "t") as rig,
        Rig(server, TABLE, "t") as other,
        closing(other.open_changes(other.start())),
        pytest.raises(SlotsExhausted),
    ):
        rig.open_snapshot()


def test_a_slot_of_another_database_is_left_alone(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        name = publication.capture_name(rig.job.migration)
        rig.target_sql(f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
        try:
            with pytest.raises(PositionForeign, match=rig.target):
                rig.open_snapshot()
            slots.cleanup(rig.endpoint, rig.job)
            assert server.psql("select count(*) from pg_replication_slots") == "1"
        finally:
            rig.target_sql(f"select pg_drop_replication_slot('{name}')")


def test_names_stay_within_what_slots_may_be_called() -> None:
    names = ["orders", "Orders", "or-ders", "or.ders", "x" * 54, "x" * 55, "x" * 200, "ü"]
    made = [publication.capture_name(n) for n in names]
    assert made[0] == "whimbrel_orders"
    assert len(set(made)) == len(made)
    assert all(len(m) <= 63 and m.isascii() and m == m.lower() for m in made)
    assert not any(set(m) - set("abcdefghijklmnopqrstuvwxyz0123456789_") for m in made)


def test_positions_read_back_and_others_are_refused(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        now = slots.current_position(rig.connection)
        read = slots.parse_position(rig.connection, now.text)
        assert (read.server, read.text, read.order) == (now.server, now.text, now.order)
        rig.sql("insert into t values (1, '')")
        assert now < slots.current_position(rig.connection)
        for wrong in ("", "0", "binlog.000001:4", "0/g", "123456789/0"):
            with pytest.raises(InvalidRequest):
                slots.parse_position(rig.connection, wrong)


def test_reflection_of_the_rig_is_what_the_tests_think(server: Postgres) -> None:
    with Rig(server, ODD, 'Odd "t') as rig:
        assert [c.name for c in reflect(rig.connection, rig.names)[0].columns if c.generated] == ["twice"]
