"""What is asked of a MySQL or MariaDB server in either role: settings, version, free connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from whimbrel.connectors.mysql.connection import Session, query
from whimbrel.connectors.mysql.processes import processes
from whimbrel.connectors.mysql.source.capturing import Settings
from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.verdicts import verdict

OLDEST: Final = {"MySQL": (5, 7), "MariaDB": (10, 3)}
CONNECTIONS: Final = 12  # what one migration may open


def read_settings(session: Session) -> Settings:
    """All global variables; names in lower case."""
    rows = query(session, "SHOW GLOBAL VARIABLES")
    return {str(name).lower(): str(value) for name, value in rows}


def server(session: Session, settings: Settings) -> Iterator[CheckResult]:
    title = "MariaDB" if session.mariadb else "MySQL"
    version, oldest = ".".join(map(str, session.version)), ".".join(map(str, OLDEST[title]))
    yield verdict(
        "mysql.version",
        session.version >= OLDEST[title],
        f"{title} {version}",
        f"{title} {version} is older than {oldest}",
        "Upgrade the server.",
    )
    used = int(query(session, "SHOW GLOBAL STATUS LIKE 'Threads_connected'")[0][1])
    free, what = int(settings["max_connections"]) - used, "max_connections"
    own = int(query(session, "SELECT @@SESSION.max_user_connections")[0][0])  # what holds for this account
    if own and own - _of_the_account(session) < free:
        free, what = own - _of_the_account(session), "the account's own"
    yield verdict(
        "mysql.free_connections",
        free >= CONNECTIONS,
        f"{free} connections are free",
        f"only {free} connections are free, by the limit of {what}; a migration opens up to {CONNECTIONS}",
        "Raise max_connections or the account's MAX_USER_CONNECTIONS, end idle sessions, or lower 'threads' of the "
        "migration.",
        otherwise="warn" if free >= 4 else "fail",
    )


def _of_the_account(session: Session) -> int:
    """How many sessions it has; every account sees its own."""
    user = str(query(session, "SELECT SUBSTRING_INDEX(USER(), '@', 1)")[0][0])
    return 1 + sum(p.user == user for p in processes(session))
