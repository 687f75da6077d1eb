"""Reads the newest binary log as the change phase will, and tries a few row images of each table.

What was written before a statement that changed the table does not count: the change phase never reads it by the
columns of today. The read has its bounds, and what it has not reached is said.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Final

from whimbrel.codecs import binlog, binlog_tables
from whimbrel.codecs.binlog import Event
from whimbrel.codecs.binlog_rows import decode_rows
from whimbrel.codecs.changes import TableBuffer
from whimbrel.connectors.mysql.connection import Session, connect, mapped, query
from whimbrel.connectors.mysql.source.charsets import Charsets
from whimbrel.connectors.mysql.source.dump import FIRST_OFFSET, Dump
from whimbrel.connectors.mysql.source.layout import Captured, captured, row_layout
from whimbrel.connectors.mysql.source.log import log_status, position
from whimbrel.connectors.mysql.source.statements import Effect, meaning
from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.verdicts import listed
from whimbrel.errors import LogFormatRefused, WhimbrelError
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

SECONDS: Final = 5.0
BYTES: Final = 64 << 20
EACH: Final = 3  # events of rows that are decoded of each table
_ID: Final = "mysql.row_images"
_OPERATION: Final = f"checks-images-{uuid.uuid4().hex[:8]}"  # a server ends one of two dumps of one id


def row_images(parameters: Mapping[str, Any], tables: Sequence[Table]) -> CheckResult:
    """Whether the log's newest rows of these tables can be read by what the tables are now."""
    try:
        with closing(connect(parameters, _OPERATION)) as session, mapped("source"):
            status = log_status(session)
            if status is None:
                return CheckResult(_ID, "warn", "not tested: the server writes no binary log", "See mysql.log_bin.")
            folds = bool(int(query(session, "SELECT @@lower_case_table_names")[0][0]))
            sample = _Sample(captured(session, tables), Charsets(session), mariadb=session.mariadb, folds=folds)
            whole = _read(parameters, sample, str(status[0]), int(status[1]))
    except WhimbrelError as e:
        return CheckResult(_ID, "warn", f"not tested: {e.message}", e.how_to_fix)
    return sample.result(whole=whole)


def _read(parameters: Mapping[str, Any], sample: _Sample, file: str, end: int) -> bool:
    """Feed the file up to its present end; False when the bounds came first."""
    deadline, taken = time.monotonic() + SECONDS, 0
    with closing(connect(parameters, _OPERATION)) as session:
        try:
            dump = Dump(session, _OPERATION, position("", file, FIRST_OFFSET))
            while time.monotonic() < deadline and taken < BYTES:
                dump.receive(0.5)
                for raw in dump.events():
                    taken += len(raw)
                    reached = int.from_bytes(raw[13:17], "little")
                    sample.take(raw)
                    if reached >= end and raw[4] != binlog.ROTATE:
                        return True
            return False
        finally:
            _end(session)


def _end(session: Session) -> None:
    with suppress(OSError):
        session._force_close()


class _Sample:
    def __init__(self, tables: Mapping[TableName, Captured], charsets: Charsets, *, mariadb: bool, folds: bool) -> None:
        self._tables, self._charsets, self._mariadb, self._folds = tables, charsets, mariadb, folds
        self._uniques = {name: what.unique_keys for name, what in tables.items()}
        self._checksums = False
        self._maps: dict[int, tuple[Captured, bytes] | None] = {}
        self._tried: dict[TableName, int] = {}
        self._failed: dict[TableName, WhimbrelError] = {}

    def take(self, raw: bytes) -> None:
        kind = raw[4]
        if kind == binlog.FORMAT_DESCRIPTION:
            self._checksums = binlog.has_checksums(raw)
        elif kind == binlog.TRANSACTION_PAYLOAD:
            for inner in binlog.payload_events(binlog.event(raw, self._checksums).body):
                self._handle(binlog.event(inner, checksum=False))
        elif kind == binlog.TABLE_MAP or kind in binlog.ROWS or kind in (binlog.QUERY, binlog.QUERY_COMPRESSED):
            self._handle(binlog.event(raw, self._checksums))

    def _handle(self, event: Event) -> None:
        if event.kind == binlog.TABLE_MAP:
            seen = binlog_tables.table_map(event.body)
            what = self._tables.get(TableName(seen.schema, seen.table))
            self._maps[int.from_bytes(event.body[:6], "little")] = None if what is None else (what, event.body)
        elif event.kind in binlog.ROWS:
            self._rows(event)
        elif event.kind in (binlog.QUERY, binlog.QUERY_COMPRESSED):
            said = binlog.query(event.body, event.kind == binlog.QUERY_COMPRESSED)
            found = meaning(said, self._uniques, folds=self._folds, mariadb=self._mariadb)
            if found.effect in (Effect.LAYOUT, Effect.UNKNOWN):
                for name in found.tables:
                    self._tried.pop(name, None)
                    self._failed.pop(name, None)

    def _rows(self, event: Event) -> None:
        number, at = binlog.rows_header(event.kind, event.body)
        found = self._maps.get(number)
        if found is None or self._tried.get(found[0].table.name, 0) >= EACH:
            return
        what, body = found
        name = what.table.name
        self._tried[name] = self._tried.get(name, 0) + 1
        try:
            layout = row_layout(what, binlog_tables.table_map(body), self._charsets)
            decode_rows(event.kind, event.body, at, layout, TableBuffer(name, what.written))
        except WhimbrelError as e:
            self._failed[name] = e

    def result(self, *, whole: bool) -> CheckResult:
        told = listed(self._sentences())
        if told:
            remedy = next(iter(self._failed.values())).how_to_fix
            if all(isinstance(e, LogFormatRefused) for e in self._failed.values()):  # settings that may be right by now
                return CheckResult(_ID, "warn", f"rows in the newest log that cannot be read: {told}", remedy)
            return CheckResult(_ID, "fail", f"rows in the newest log that cannot be read: {told}", remedy)
        seen = f"rows of {len(self._tried)} of {len(self._tables)} tables were found in the newest log, and read"
        if not whole:
            return CheckResult(_ID, "warn", f"not tested: too large, the log was not read to its end; {seen}", _LATER)
        return CheckResult(_ID, "ok", seen)

    def _sentences(self) -> Iterator[str]:
        for name, error in self._failed.items():
            yield error.message if str(name) in error.message else f"{name}: {error.message}"


_LATER: Final = "FLUSH BINARY LOGS begins a new log, which can be read whole a little later."
