"""The check makes a publication and a slot for a moment, says what stands in the way, and leaves nothing."""

from __future__ import annotations

import pytest

from tests.servers.postgres import Postgres
from tests.unit.postgres.rig import session
from whimbrel.connectors.postgres.checks import slot as checks_slot
from whimbrel.connectors.postgres.checks.checking import CHECKS
from whimbrel.connectors.protocols import CheckResult
from whimbrel.model.job import Endpoint


def trials(server: Postgres, **other: str) -> dict[str, CheckResult]:
    endpoint = Endpoint("s", "postgres", {**server.parameters("postgres"), **other})
    found = CHECKS.run(endpoint, "source", "replication", [])
    assert server.psql("select count(*) from pg_publication where pubname like 'whimbrel_check%'").strip() == "0"
    assert (
        server.psql("select count(*) from pg_replication_slots where slot_name like 'whimbrel_check%'").strip() == "0"
    )
    return {c.id: c for c in found if c.id.endswith("_trial")}


def test_both_are_made_and_nothing_stays(postgres18: Postgres) -> None:
    found = trials(postgres18)
    assert {c.id: c.status for c in found.values()} == {
        "postgres.publication_trial": "ok",
        "postgres.slot_trial": "ok",
    }
    endpoint = Endpoint("s", "postgres", postgres18.parameters("postgres"))
    assert not [c for c in CHECKS.run(endpoint, "source", "data", []) if c.id.endswith("_trial")]


def test_a_role_whose_transactions_only_read_by_default_is_tried_as_the_change_phase_will(postgres18: Postgres) -> None:
    """Our sessions write whatever is the role's default, so that is no reason to refuse."""
    postgres18.psql("create role reads superuser login password 'r'")
    postgres18.psql("alter role reads set default_transaction_read_only = on")
    try:
        found = trials(postgres18, user="reads", password="r")
        assert {c.status for c in found.values()} == {"ok"}
    finally:
        postgres18.psql("drop role reads")


def test_a_wait_for_others_has_a_bound(postgres18: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_slot, "SECONDS", 1.0)
    with session(postgres18, "postgres") as writing:
        writing.execute("select pg_current_xact_id()")
        found = trials(postgres18)
        assert found["postgres.slot_trial"].status == "warn"
        assert found["postgres.slot_trial"].message.startswith("not tested: ")
        writing.rollback()
