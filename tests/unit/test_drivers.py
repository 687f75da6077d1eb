"""Without its driver an engine says which extra has it, whatever it is asked."""

from __future__ import annotations

import sys

import pytest

from whimbrel.connectors.registry import engine
from whimbrel.errors import DriverMissing
from whimbrel.model.job import Endpoint


@pytest.mark.parametrize(
    ("type", "module"),
    [
        ("databricks", "databricks"),
        ("firebolt", "firebolt"),
        ("snowflake", "snowflake"),
        ("singlestore", "singlestoredb"),
        ("bigquery", "google.cloud.bigquery"),
        ("spanner", "google.cloud.spanner_v1"),
    ],
)
def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch, type: str, module: str) -> None:
    there, asked = Endpoint("t", type, {}), engine(type)
    for name in [n for n in sys.modules if n == module or n.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    for ask in (
        lambda: asked.test(there),
        lambda: asked.target(there, "op"),
        lambda: asked.open_comparison(there, "op", "target"),
        lambda: asked.checks,
    ):
        with pytest.raises(DriverMissing) as missing:
            ask()
        assert f"whimbrel[{type}]" in missing.value.how_to_fix
