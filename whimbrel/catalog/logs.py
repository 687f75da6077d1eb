"""Logs of operations: a bounded tail in the catalog, the whole in the migration's working directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from whimbrel.catalog.database import upsert
from whimbrel.catalog.home import private_dir
from whimbrel.catalog.tables import log_tail

TAIL_CHARACTERS = 64 * 1024


def append_tail(connection: Connection, operation: str, role: str, text: str) -> None:
    """Add to the tail, dropping whole lines from its beginning once it is too long.

    Runs in the caller's transaction.
    """
    query = sa.select(log_tail.c.text).where(log_tail.c.operation == operation, log_tail.c.role == role)
    known = connection.scalar(query.with_for_update()) or ""
    tail = known + text.replace("\x00", "\ufffd")  # PostgreSQL keeps no NUL in text
    if len(tail) > TAIL_CHARACTERS:
        tail = tail[-TAIL_CHARACTERS:]
        tail = tail[tail.find("\n") + 1 :]
    upsert(connection, log_tail, [{"operation": operation, "role": role, "text": tail}])


def tails(connection: Connection, operations: Sequence[str]) -> dict[str, dict[str, str]]:
    """Tails by operation and role. Runs in the caller's transaction."""
    found: dict[str, dict[str, str]] = {}
    for row in connection.execute(sa.select(log_tail).where(log_tail.c.operation.in_(operations))):
        found.setdefault(row.operation, {})[row.role] = row.text
    return found


def append_file(workdir: Path, operation: str, role: str, text: str) -> None:
    """Add to ``logs/<operation>.<role>.log`` of the working directory."""
    file = private_dir(workdir / "logs") / f"{operation}.{role}.log"
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "ab") as out:
        out.write(text.encode())
