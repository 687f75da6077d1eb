"""On continuous integration a server that can be had anywhere must be there: a run that skips it proves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import running_end
from tests.servers.fleet import Fleet, Missing


class Empty(Fleet):
    """A machine that has no server at all."""

    def __init__(self, chosen: frozenset[str]) -> None:
        self._chosen = chosen

    def get(self, name: str) -> Any:
        raise Missing("it is not installed")


ALL = frozenset({"postgres15", "postgres18", "mariadb", "mysql", "bigquery"})


@pytest.mark.parametrize(
    ("on_ci", "name", "chosen", "fails"),
    [
        ("1", "postgres15", ALL, True),
        ("true", "postgres18", ALL, True),
        ("1", "mariadb", ALL, True),
        ("1", "mysql", ALL, False),
        ("1", "bigquery", ALL, False),
        ("1", "mariadb", ALL - {"mariadb"}, False),
        ("", "mariadb", ALL, False),
        (None, "mariadb", ALL, False),
    ],
)
def test_a_missing_server_is_skipped_or_fails(
    monkeypatch: pytest.MonkeyPatch, on_ci: str | None, name: str, chosen: frozenset[str], fails: bool
) -> None:
    if on_ci is None:
        monkeypatch.delenv("CI", raising=False)
    else:
        monkeypatch.setenv("CI", on_ci)
    told = pytest.fail.Exception if fails else pytest.skip.Exception
    with pytest.raises(told, match=f"{name}: it is not installed"):
        running_end(Empty(chosen), name)
