"""Makes what capturing needs on a PostgreSQL source, for a moment: a publication rolled back, and a temporary slot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import psycopg

from whimbrel.connectors.postgres.connection import connect, identifier
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.connectors.postgres.wire import results, send
from whimbrel.connectors.protocols import CheckResult
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint

SECONDS: Final = 5.0


def trials(endpoint: Endpoint, connection: Connection) -> Iterator[CheckResult]:
    """Nothing on a server whose log cannot be read, or on a standby: other checks say so."""
    row = connection.execute("select current_setting('wal_level'), pg_is_in_recovery()").fetchone()
    if row != ("logical", False):
        return
    yield _publication(connection)
    yield _slot(endpoint)


def _publication(connection: Connection) -> CheckResult:
    id = "postgres.publication_trial"
    name = f"whimbrel_check_{os.getpid()}"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"create publication {identifier(name)}".encode())
    except psycopg.errors.ReadOnlySqlTransaction:
        role = identifier(connection.info.user)
        return CheckResult(
            id,
            "fail",
            "default_transaction_read_only is on for the user, who must make a publication",
            f"ALTER ROLE {role} SET default_transaction_read_only = off (or ALTER DATABASE, where it is set for that)",
        )
    except psycopg.errors.InsufficientPrivilege:
        return CheckResult(id, "warn", "not tested: the user may not make a publication", "See publication_rights.")
    return CheckResult(id, "ok", "a publication was made and taken back")


def _slot(endpoint: Endpoint) -> CheckResult:
    """A slot waits for every transaction that writes; the wait has a bound here."""
    id = "postgres.slot_trial"
    try:
        with closing(connect(endpoint.parameters, "checks", replication=True)) as session:
            try:
                name = f"whimbrel_check_{os.getpid()}_{session.info.backend_pid}"
                create = f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT"
                send(session.pgconn, create)
                results(session.pgconn, SECONDS)
            except TimeoutError:
                session.cancel_safe(timeout=SECONDS)
                return CheckResult(
                    id,
                    "warn",
                    f"not tested: a slot was not made in {SECONDS:.0f} s, because transactions are open that write",
                    "Start when they have ended; making the slot waits for them.",
                )
    except psycopg.Error as e:
        return CheckResult(id, "fail", f"no slot can be made: {e}", "See the source statements of POST /v1/prereqs.")
    except WhimbrelError as e:
        return CheckResult(id, "fail", f"no slot can be made: {e.message}", e.how_to_fix)
    return CheckResult(id, "ok", "a temporary replication slot was made and dropped")
