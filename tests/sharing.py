"""How processes share the tests: by module, and those of a pair of servers by pair, so that servers start once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.servers.fleet import SERVERS

_SERVER = "|".join(SERVERS)
_PAIR = re.compile(rf"\[((?:{_SERVER})-(?:{_SERVER}))")


class ByModuleAndPair(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        pair = _PAIR.search(nodeid)
        return nodeid.partition("::")[0] + (f" {pair[1]}" if pair else "")


# Where a scope of minutes begins last, all other processes wait for it at the end.
LONG_FIRST = (
    "tests/soak/test_soak",
    "tests/faults/test_kills",
    "tests/demo",
    "tests/unit/workflows",
    "tests/faults",
    "tests/suite",
    "tests/api",
)


def by_length(nodeid: str) -> int:
    """A key for sorting tests: those of long scopes before the others."""
    return next((n for n, start in enumerate(LONG_FIRST) if nodeid.startswith(start)), len(LONG_FIRST))


def by_module_and_pair(config: pytest.Config, log: Any) -> ByModuleAndPair:
    return ByModuleAndPair(config, log)
