"""What must be true of a MySQL or MariaDB server that is written to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from whimbrel.connectors.mysql.checks import prerequisites
from whimbrel.connectors.mysql.checks.durability import durability
from whimbrel.connectors.mysql.checks.grants import read_grants
from whimbrel.connectors.mysql.checks.server import read_settings, server
from whimbrel.connectors.mysql.connection import Session
from whimbrel.connectors.mysql.source.capturing import on
from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.verdicts import offenders, schemas_of, verdict
from whimbrel.model.names import TableName

SMALL_PACKET: Final = 16 << 20
CLOSING: Final = ("read_only", "super_read_only", "innodb_read_only", "transaction_read_only", "tx_read_only")

RUN: Final = "Run the target statements that POST /v1/prereqs lists."


def target(session: Session, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    """All checks; they are the same in every mode."""
    settings, grants = read_settings(session), read_grants(session)
    yield from server(session, settings)
    closed = [name for name in CLOSING if settings.get(name, "OFF").upper() not in ("OFF", "0")]
    yield offenders(
        "mysql.writable",
        closed,
        "the server takes writes",
        "the target takes no writes; set are",
        "Point the target at a primary server that takes writes.",
    )
    lacking = grants.in_schema(["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP"], "whimbrel")
    yield offenders(
        "mysql.progress_database",
        lacking,
        "progress can be kept in the database 'whimbrel'",
        "not granted on the database 'whimbrel', which keeps the progress",
        RUN,
    )
    missing = [f"{r} on {s}" for s in schemas_of(tables) for r in grants.in_schema(prerequisites.WRITING, s)]
    if not tables:
        missing = grants.everywhere(prerequisites.WRITING)
    yield offenders("mysql.write_grants", missing, "tables can be made, filled and changed", "not granted", RUN)
    yield verdict(
        "mysql.local_infile",
        on(settings, "local_infile"),
        "LOAD DATA LOCAL is allowed",
        "local_infile is OFF: rows cannot be loaded",
        "SET GLOBAL local_infile = ON",
    )
    packet = int(settings["max_allowed_packet"])
    yield verdict(
        "mysql.max_allowed_packet",
        packet >= prerequisites.PACKET_BYTES,
        f"max_allowed_packet is {packet} bytes",
        f"max_allowed_packet is {packet} bytes; longer values are refused",
        f"SET GLOBAL max_allowed_packet = {prerequisites.PACKET_BYTES}",
        otherwise="warn" if packet >= SMALL_PACKET else "fail",
    )
    yield durability(settings)
    yield verdict(
        "mysql.sql_require_primary_key",
        not on(settings, "sql_require_primary_key"),
        "tables without a key can be made",
        "sql_require_primary_key is ON: tables without a key cannot be made",
        "SET GLOBAL sql_require_primary_key = OFF, or add keys at the source.",
        otherwise="warn",
    )
