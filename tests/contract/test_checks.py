"""What is looked at before a migration, and what a person is told to run for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.engines import Side
from whimbrel.connectors.registry import engine
from whimbrel.errors import ConnectionRefused, InvalidRequest
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

DOCUMENTED = Path("docs/prerequisites.md").read_text()
MODES = ("data", "replication", "data+replication")
ROLES: tuple[Literal["source", "target"], ...] = ("source", "target")
NOWHERE = [TableName("contract", "nowhere"), TableName("contract", 'odd"`name')]


def test_a_server_that_tests_run_on_fails_no_check_and_each_is_documented(side: Side) -> None:
    checks = engine(side.type).checks
    for mode in MODES:
        found = checks.run(side.endpoint("here"), "target", mode, [])
        ids = [c.id for c in found]
        assert ids, mode
        assert len(set(ids)) == len(ids)
        assert [c for c in found if c.status == "fail"] == []
        assert [id for id in ids if f"`{id}`" not in DOCUMENTED] == []
        assert [c.id for c in found if (c.status == "ok") != (c.remedy == "")] == []


def test_what_is_to_be_run_is_told_without_a_connection_and_without_a_secret(side: Side) -> None:
    parameters = {k: "a secret" if "pass" in k or "key" in k else v for k, v in side.endpoint("x").parameters.items()}
    far = Endpoint("far", side.type, {**parameters, "host": "192.0.2.1", "port": 1})
    found = engine(side.type)
    for role in ROLES:
        for mode in MODES:
            if role == "source" and not found.capabilities.source:
                with pytest.raises(InvalidRequest):
                    found.checks.statements(far, role, mode, NOWHERE)
                continue
            said = found.checks.statements(far, role, mode, NOWHERE)
            assert said
            assert not any("a secret" in s.sql + s.why for s in said)
            assert all(s.sql and s.why for s in said)


def test_an_unknown_mode_is_refused(side: Side) -> None:
    checks = engine(side.type).checks
    with pytest.raises(InvalidRequest, match="everything"):
        checks.statements(side.endpoint("x"), "target", "everything", NOWHERE)
    with pytest.raises(InvalidRequest, match="everything"):
        checks.run(side.endpoint("x"), "target", "everything", NOWHERE)


def test_a_server_that_is_not_there_is_told_and_not_checked(side: Side) -> None:
    with pytest.raises(ConnectionRefused):
        engine(side.type).checks.run(side.nowhere(), "target", "data", [])
