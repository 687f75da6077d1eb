"""What is looked at on an Oracle database before rows are read, each point with its own stable id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final, Literal

from whimbrel.connectors.oracle.checks import prerequisites
from whimbrel.connectors.oracle.connection import connect, mapped, qualified, query
from whimbrel.connectors.oracle.source import catalogue, snapshot
from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.verdicts import definitions, needs_changes, offenders, unfollowed, verdict
from whimbrel.errors import TableMissing, WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

OLDEST: Final = (12, 2)  # the first whose catalogue shows conditions as text, and names of 128 bytes
RUN: Final = "Run the source statements that POST /v1/prereqs lists."
_VERSION: Final = "SELECT VERSION FROM PRODUCT_COMPONENT_VERSION WHERE PRODUCT LIKE 'Oracle%'"
_CHARACTERS: Final = "SELECT VALUE FROM NLS_DATABASE_PARAMETERS WHERE PARAMETER = 'NLS_CHARACTERSET'"
_MOVING: Final = "SELECT TABLE_NAME FROM ALL_TABLES WHERE OWNER = :owner AND ROW_MOVEMENT = 'ENABLED'"


class OracleChecks:
    """See ``protocols.Checks``."""

    def statements(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[Statement, ...]:
        needs_changes(mode)
        return tuple(prerequisites.source(endpoint, tables)) if role == "source" else ()

    def run(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[CheckResult, ...]:
        """Connect and check. Raises a ConnectionRefused leaf when that is not possible."""
        changes = needs_changes(mode)
        with closing(connect(endpoint.parameters, "checks", bounded=True)) as connection:
            return tuple(_source(connection, tables, changes))


def _source(connection: Any, patterns: Sequence[TableName], changes: bool) -> Iterator[CheckResult]:
    version = tuple(int(part) for part in str(query(connection, _VERSION)[0]["VERSION"]).split(".")[:2])
    yield verdict(
        "oracle.version",
        version >= OLDEST,
        f"the version is {'.'.join(map(str, version))}",
        f"the version is {'.'.join(map(str, version))}; {'.'.join(map(str, OLDEST))} is the oldest that is read",
        "Upgrade the database, or move it with another tool.",
    )
    characters = query(connection, _CHARACTERS)[0]["VALUE"]
    yield verdict(
        "oracle.character_set",
        characters in ("AL32UTF8", "UTF8"),
        f"the character set is {characters}",
        f"the character set is {characters}: the database makes Unicode of it, and question marks of what has none",
        "Look for such characters first (Oracle's DMU, or CSSCAN), if it matters.",
        otherwise="warn",
    )
    scn = _scn(connection)
    yield verdict(
        "oracle.scn",
        scn is not None,
        "the SCN of a snapshot can be read",
        "no right to read the SCN of V$DATABASE",
        RUN,
    )
    tables, missing = _resolved(connection, patterns)
    yield verdict(
        "oracle.tables_exist",
        missing is None,
        f"{len(tables)} tables found",
        f"{missing}",
        f"Correct 'tables' of the migration (names are in capitals unless they were quoted), or: {RUN}",
    )
    if scn is not None:
        yield offenders(
            "oracle.flashback",
            list(_unreadable(connection, tables, scn)),
            "all tables can be read as of an SCN",
            "tables that cannot be read as of an SCN (no SELECT, or no FLASHBACK, or altered a moment ago)",
            RUN,
        )
    hidden = catalogue.guarded(connection, tables)
    yield offenders(
        "oracle.row_policies",
        hidden,
        "no policy hides rows from the user",
        "tables of which policies may hide rows from the user",
        "GRANT EXEMPT ACCESS POLICY to the user, or disable the policies while the rows are moved.",
    )
    whole = [t for t in tables if str(t) not in hidden]
    yield from _definitions(connection, catalogue.reflect(connection, whole) if whole else ())
    if changes:
        refusal = unfollowed("oracle")
        yield CheckResult("oracle.changes", "fail", refusal.message, refusal.how_to_fix)


def _scn(connection: Any) -> int | None:
    try:
        return snapshot.position(connection).order[0]
    except WhimbrelError:
        return None


def _resolved(connection: Any, patterns: Sequence[TableName]) -> tuple[tuple[TableName, ...], str | None]:
    """The tables meant, and a message when some do not exist: then those are left out."""
    found: list[TableName] = []
    missing = []
    for pattern in patterns:
        try:
            found += catalogue.resolve(connection, [pattern])
        except TableMissing as e:
            missing.append(e.message)
    return tuple(dict.fromkeys(found)), "; ".join(missing) or None


def _unreadable(connection: Any, tables: Sequence[TableName], scn: int) -> Iterator[str]:
    """By trying it, as a right may come by a role, by ANY TABLE, or by owning the table."""
    for table in tables:
        try:
            with mapped(), closing(connection.cursor()) as cursor:
                cursor.execute(f"SELECT 1 FROM {qualified(table)} AS OF SCN {scn} WHERE ROWNUM <= 1")  # noqa: S608
                cursor.fetchall()
        except WhimbrelError:
            yield str(table)


def _definitions(connection: Any, tables: Sequence[Table]) -> Iterator[CheckResult]:
    yield from definitions("oracle", "Oracle", "no", tables)
    moving: list[str] = []
    for owner in dict.fromkeys(t.name.schema for t in tables):
        names = {r["TABLE_NAME"] for r in query(connection, _MOVING, {"owner": owner})}
        moving += [str(t.name) for t in tables if t.name.schema == owner and t.name.table in names]
    yield offenders(
        "oracle.row_movement",
        moving,
        "rows stay where they are",
        "tables whose rows may move to another place (ENABLE ROW MOVEMENT)",
        "Do not shrink them or move their rows between partitions while they are loaded: a load that is interrupted "
        "then begins them again.",
        otherwise="warn",
    )


CHECKS: Final = OracleChecks()
