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


def by_module_and_pair(config: pytest.Config, log: Any) -> ByModuleAndPair:
    return ByModuleAndPair(config, log)
