"""What a slot retains, as psql sees it, and the warnings on the way to losing it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from tests.servers.postgres import Postgres, running
from tests.servers.process import wait_until
from tests.unit.postgres.rig import Rig
from tests.unit.postgres.test_snapshot import TABLE
from whimbrel.connectors.postgres.source import slots
from whimbrel.connectors.postgres.source.reading import PostgresSource
from whimbrel.connectors.protocols import Retained

SEGMENT = 16 << 20


def write_log(rig: Rig, segments: int) -> None:
    """Quickly: a segment that is left early counts whole."""
    for _ in range(segments):
        rig.sql("select pg_logical_emit_message(false, 'test', 'x'); select pg_switch_wal()")


def retained(source: PostgresSource, rig: Rig) -> Retained:
    found = source.retained(rig.job)
    assert found is not None
    kept = "select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) from pg_replication_slots"
    assert abs(found.bytes - int(rig.sql(kept))) < SEGMENT / 16  # the server logs a little by itself
    return found


def settings(server: Postgres, **values: str) -> None:
    for name, value in values.items():
        server.psql(f"alter system set {name} = '{value}'")
    server.psql("select pg_reload_conf()")

    def read() -> bool:
        shown = {name: server.psql(f"show {name}") for name in values}
        return shown == values

    wait_until(read, 10, f"{values} to be read")


def test_a_slot_on_its_way_to_being_lost() -> None:
    with running("18") as server, Rig(server, TABLE, "t") as rig:
        # So much log before a checkpoint comes by itself that none loses the slot in the middle of the test.
        settings(server, min_wal_size="32MB", max_wal_size="2GB", max_slot_wal_keep_size="96MB")
        source = PostgresSource(rig.endpoint, rig.job.operation)
        with closing(source):
            assert source.retained(rig.job) is None
            slots.prepare_changes(rig.endpoint, rig.job, rig.tables)
            assert retained(source, rig).state == "reserved"
            write_log(rig, 4)
            near = retained(source, rig)
            assert near.state == "limited"
            assert "is lost once the source has written another" in str(near.warning)
            write_log(rig, 5)
            over = retained(source, rig)
            assert over.state == "unreserved"
            assert "next checkpoint" in str(over.warning)
            settings(server, max_slot_wal_keep_size="-1", max_wal_size="32MB")
            wait_until(lambda: retained(source, rig).state == "extended", 10, "our session to see the same")
            assert "nothing limits it" in str(retained(source, rig).warning)
            wait_until(
                lambda: caught_up(source, rig) == Retained(0, "reserved", None, "whimbrel_" + rig.job.migration),
                20,
                "the log to be let go",
            )


def caught_up(source: PostgresSource, rig: Rig) -> Retained:
    """After letting the slot pass all log there is; the server lets go of it a checkpoint later."""
    rig.sql("select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from pg_replication_slots")
    rig.sql("checkpoint")
    return replace(retained(source, rig), bytes=0)
