"""Without its driver the engine says which extra has it, whatever it is asked."""

from __future__ import annotations

import sys

import pytest

from whimbrel.connectors.databricks import ENGINE
from whimbrel.errors import DriverMissing
from whimbrel.model.job import Endpoint


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Endpoint("t", "databricks", {})
    monkeypatch.delitem(sys.modules, "databricks.sql", raising=False)
    monkeypatch.setitem(sys.modules, "databricks", None)
    for ask in (
        lambda: ENGINE.test(there),
        lambda: ENGINE.target(there, "op"),
        lambda: ENGINE.open_comparison(there, "op", "target"),
        lambda: ENGINE.checks,
    ):
        with pytest.raises(DriverMissing) as missing:
            ask()
        assert "whimbrel[databricks]" in missing.value.how_to_fix
