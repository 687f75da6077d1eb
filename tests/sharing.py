"""How processes share the tests: by module, those of a pair of servers by pair, and those of a stand-in all together.

So servers start once, and what a stand-in was sent is read once.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.servers.fleet import SERVERS, STANDS

_SERVER = "|".join(SERVERS)
_PAIR = re.compile(rf"\[((?:{_SERVER})-(?:{_SERVER}))")
_STAND = re.compile(rf"\[[^\]]*\b({'|'.join(sorted(STANDS))})\b")
_ON_STANDS = ("tests/contract/", "tests/suite/test_warehouse.py", "tests/faults/test_warehouse.py")
_OF_ONE_STAND = {
    "tests/contract/test_accounts_of_firebolt.py": "firebolt",
    "tests/contract/test_database_of_singlestore.py": "singlestore",
    "tests/contract/test_held_between_statements.py": "databricks",
    "tests/contract/test_killed_between_statements.py": "databricks",
    "tests/contract/test_late_loads.py": "databricks",
    "tests/contract/test_scripts.py": "bigquery",
    "tests/contract/test_scripts_in_parts.py": "bigquery",
    "tests/contract/test_scripts_killed.py": "bigquery",
    "tests/contract/test_scripts_refused.py": "bigquery",
    "tests/contract/test_values_of_firebolt.py": "firebolt",
    "tests/contract/test_values_of_singlestore.py": "singlestore",
    "tests/faults/test_aborted.py": "snowflake",
    "tests/emulators/test_firebolt.py": "firebolt",
    "tests/faults/test_firebolt.py": "firebolt",
    "tests/faults/test_singlestore.py": "singlestore",
    "tests/faults/test_singlestore_line.py": "singlestore",
    "tests/faults/test_singlestore_workers.py": "singlestore",
}


class ByModuleAndPair(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        stand = _STAND.search(nodeid) if nodeid.startswith(_ON_STANDS) else None
        if stand or module in _OF_ONE_STAND:
            return f"stand-in {stand[1] if stand else _OF_ONE_STAND[module]}"
        pair = _PAIR.search(nodeid)
        return module + (f" {pair[1]}" if pair else "")


# Where a scope of minutes begins last, all other processes wait for it at the end.
LONG_FIRST = (
    "tests/soak/test_soak",
    "tests/contract",  # with all that is asked of a stand-in
    "tests/faults/test_kills",
    "tests/demo",
    "tests/unit/workflows",
    "tests/faults",
    "tests/suite",
    "tests/unit/validation",
    "tests/api",
)


def by_length(nodeid: str) -> int:
    """A key for sorting tests: those of long scopes before the others."""
    return next((n for n, start in enumerate(LONG_FIRST) if nodeid.startswith(start)), len(LONG_FIRST))


def by_module_and_pair(config: pytest.Config, log: Any) -> ByModuleAndPair:
    return ByModuleAndPair(config, log)
