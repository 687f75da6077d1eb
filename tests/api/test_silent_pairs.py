"""A server that lets the pair checks in, and then says nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from api import connectors
from tests.unit import test_far_ends as far_ends
from whimbrel.catalog.records import EndpointRecord
from whimbrel.connectors.registry import engine
from whimbrel.model.names import TableName


def prepares(line: Any) -> None:
    """A MySQL that makes all of a session, and answers no question."""
    far_ends.lets_in(line)
    last = b""
    while b"GET_LOCK" not in last:
        last = far_ends.read(line)
        line.sendall(far_ends.packet(1, far_ends.OK))


@pytest.mark.parametrize(("kind", "talk"), [("postgres", far_ends.postgres_answers_once), ("mysql", prepares)])
def test_it_is_given_up_and_fails_the_check(monkeypatch: pytest.MonkeyPatch, kind: str, talk: Any) -> None:
    monkeypatch.setattr(connectors, "PAIR_SECONDS", 1.0)
    with far_ends.far_end(talk) as end:
        given = far_ends.postgres_parameters(end) if kind == "postgres" else far_ends.mysql_parameters(end)
        side = EndpointRecord("silent", kind, dict(engine(kind).parse(kind, given)))
        began = time.monotonic()
        found = connectors.run_pair_checks(side, side, "data", [TableName("a", "b")], {})
        assert time.monotonic() - began < 10
    assert [(check["id"], check["status"]) for check in found] == [("connection", "fail")]
    assert "did not answer" in found[0]["message"]
