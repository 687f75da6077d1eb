"""Whether a MySQL or MariaDB target keeps what it has committed when its machine loses power."""

from __future__ import annotations

from typing import Final

from whimbrel.connectors.mysql.source.capturing import Settings
from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.verdicts import verdict

_LAZY: Final = ("0", "2")


def durability(settings: Settings) -> CheckResult:
    """InnoDB's log alone decides: rows and position lie in it together, whatever the target's own binlog does."""
    found = settings.get("innodb_flush_log_at_trx_commit", "1")
    return verdict(
        "mysql.innodb_flush_log_at_trx_commit",
        found not in _LAZY,
        "what is committed is on the disk",
        f"innodb_flush_log_at_trx_commit is {found}: a crash of the target's machine takes back about the last second "
        "of what was committed, when the source may no longer have it",
        "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
        otherwise="warn",
    )
