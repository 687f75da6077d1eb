"""The part of libpq below psycopg's cursors: scripts with COPY in between, and COPY blocks without an object per row.

Waiting is always done in ``poll``, which lets other threads run. Everything here raises psycopg's own errors, for
``connection.mapped`` to translate.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

Connection = psycopg.Connection[tuple[Any, ...]]

BLOCK_BYTES = 256 * 1024
_PIECE_BYTES = 1024 * 1024
_FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)
_COPYING = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


def readable(link: pq.abc.PGconn, seconds: float | None) -> bool:
    """Wait until the server has sent something; None waits for ever."""
    return _poll(link, select.POLLIN, seconds)


def flush(link: pq.abc.PGconn) -> None:
    """Send all that libpq still holds, reading meanwhile so that neither side waits for the other."""
    while link.flush():
        _poll(link, select.POLLIN | select.POLLOUT, None)
        if readable(link, 0):
            link.consume_input()


def send(link: pq.abc.PGconn, sql: str) -> None:
    """Send a query (one or more statements) without waiting for its results."""
    link.send_query(sql.encode())
    flush(link)


def next_result(link: pq.abc.PGconn, seconds: float | None = None) -> pq.abc.PGresult | None:
    """The next result, which may be an error. TimeoutError after ``seconds``; the query then still runs."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while link.is_busy():
        left = None if deadline is None else deadline - time.monotonic()
        if (left is not None and left <= 0) or not readable(link, left):
            raise TimeoutError
        link.consume_input()
    return link.get_result()


def results(link: pq.abc.PGconn, seconds: float | None = None) -> list[pq.abc.PGresult]:
    """All results of what was sent, up to the start of a COPY. The first error is raised once all have come."""
    found: list[pq.abc.PGresult] = []
    while (result := next_result(link, seconds)) is not None:
        found.append(result)
        if result.status in _COPYING:
            break
    for result in found:
        if result.status in _FAILED:
            raise error_from_result(result)
    return found


def copy_out(connection: Connection, statement: str, write: Callable[[bytes], object]) -> int:
    """Run a COPY TO STDOUT and pass its bytes on in blocks of whole rows; return the rows.

    libpq hands out a message per row, so rows are gathered before ``write`` sees them. When ``write`` fails, the
    session is of no more use and must be closed.
    """
    link = connection.pgconn
    send(link, statement)
    results(link)
    block = bytearray()
    while True:
        size, data = link.get_copy_data(1)
        if size > 0:
            block += data
            if len(block) >= BLOCK_BYTES:
                write(bytes(block))
                block.clear()
        elif size == 0:
            readable(link, None)
            link.consume_input()
        else:
            break
    if block:
        write(bytes(block))
    return rows_of(results(link)[-1])


def run_script(connection: Connection, script: str, payloads: Sequence[bytes] = ()) -> list[int]:
    """Run statements sent in one message and return the rows of each; the n-th COPY FROM STDIN reads ``payloads[n]``.

    One round trip for the lot, and one more for each COPY. When a statement fails, the rest is not run.
    """
    link = connection.pgconn
    send(link, script)
    waiting = iter(payloads)
    counts: list[int] = []
    failure: Exception | None = None
    while (result := next_result(link)) is not None:
        if result.status == pq.ExecStatus.COPY_IN:
            _send_copy(link, next(waiting))
        elif result.status in _FAILED:
            failure = failure or error_from_result(result)
        else:
            counts.append(rows_of(result))
    if failure is not None:
        raise failure
    return counts


def rows_of(result: pq.abc.PGresult) -> int:
    """The row count of a command tag; 0 for commands that have none."""
    return int(result.command_tuples or 0)


def _send_copy(link: pq.abc.PGconn, payload: bytes) -> None:
    view = memoryview(payload)
    for start in range(0, len(view), _PIECE_BYTES):
        link.put_copy_data(view[start : start + _PIECE_BYTES])
        flush(link)
    link.put_copy_end()
    flush(link)


def _poll(link: pq.abc.PGconn, events: int, seconds: float | None) -> bool:
    poller = select.poll()  # not select(), which stops at descriptor 1023
    poller.register(link.socket, events)
    return bool(poller.poll(None if seconds is None else max(0.0, seconds) * 1000))
