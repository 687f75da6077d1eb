"""The statements that an administrator runs on Oracle before rows are read. All may be run twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whimbrel.connectors.oracle.connection import identifier, qualified
from whimbrel.connectors.protocols import Statement
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName


def source(endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[Statement]:
    """The least rights: nothing is written, and nothing of other schemas is seen."""
    given = str(endpoint.parameters["user"])
    user = given if given.startswith('"') else identifier(given.upper())
    yield Statement(f"GRANT CREATE SESSION TO {user}", "to log in")
    yield Statement(
        f"GRANT SELECT ON V_$DATABASE TO {user}", "to read the SCN that a snapshot is taken at; as SYS, in the PDB"
    )
    yield Statement(
        f"GRANT SELECT ON V_$SESSION TO {user}",
        "optional: to see whether the database is at work for a load that is silent",
    )
    whole = not tables or any(table.is_pattern for table in tables)
    if whole:
        yield Statement(
            f"GRANT SELECT ANY TABLE, FLASHBACK ANY TABLE TO {user}",
            "to read rows as of an SCN; where all is too much, grant SELECT and FLASHBACK on each table instead",
        )
    for table in tables:
        if not table.is_pattern:
            yield Statement(f"GRANT SELECT, FLASHBACK ON {qualified(table)} TO {user}", "to read rows as of an SCN")
    yield Statement(
        "ALTER SYSTEM SET UNDO_RETENTION = 14400",
        "so that the past is kept for as long as the load takes (four hours here); the undo tablespace must have room",
    )
