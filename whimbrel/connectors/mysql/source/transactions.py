"""Follows the binlog event by event: where it stands, which transaction is open, and which rows are ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from whimbrel.codecs import binlog, binlog_tables
from whimbrel.codecs.binlog import Event, Gtid, Query
from whimbrel.codecs.binlog_rows import RowLayout, decode_rows
from whimbrel.connectors.mysql.source.charsets import Charsets
from whimbrel.connectors.mysql.source.dump import start_offset
from whimbrel.connectors.mysql.source.gtids import MariaDBGtids, MySQLGtids
from whimbrel.connectors.mysql.source.layout import Captured, row_layout
from whimbrel.connectors.mysql.source.log import file_and_offset, position
from whimbrel.connectors.mysql.source.prepared import captured_among
from whimbrel.connectors.mysql.source.statements import Effect, meaning
from whimbrel.connectors.protocols import ChangeSink
from whimbrel.errors import LayoutChanged, LogDamaged, LogFormatRefused, PositionForeign, PositionLost
from whimbrel.model.change import Transaction
from whimbrel.model.names import TableName
from whimbrel.model.position import Position

_NO_TABLE = 0xFFFFFF  # what a rows event names when it only ends a statement
_FILE = re.compile(r"[^\0]+\.\d{6,}$")
_WRAP = 1 << 32
_PREPARED = "an XA transaction that is prepared and committed later changed captured tables"


# Given an XA transaction's id, a file and an offset: the tables that it had changed when it was prepared before there,
# or None if nobody knows any more.
ChangedBefore = Callable[[str, str, int], frozenset[str] | None]


def _clock(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _nobody_knows(_xid: str, _file: str, _offset: int) -> None:
    return None


class Follower:
    """Takes whole events in log order and writes what they mean for the captured tables into a sink.

    A transaction is begun in the sink with its first captured row and committed with its end; other transactions only
    move the position. Raises LayoutChanged, LogFormatRefused, LogDamaged, PositionLost; it is of no use after that.
    """

    def __init__(
        self,
        tables: Mapping[TableName, Captured],
        charsets: Charsets,
        start: Position,
        *,
        checksums: bool,
        mariadb: bool,
        folds: bool = False,
        changed_before: ChangedBefore = _nobody_knows,
    ) -> None:
        self._tables = tables
        self._uniques = {name: what.unique_keys for name, what in tables.items()}
        self._folds = folds
        self._charsets = charsets
        self._identity = start.server
        self._asked = start
        self._began = 0  # the file, as its first event says, which a dump brings from wherever it begins
        self._checksums = checksums
        self._mariadb = mariadb
        self._file, wanted = file_and_offset(start)
        self._offset = start_offset(wanted)
        self._skip_to = wanted if wanted > self._offset else 0
        self._gtids: MySQLGtids | MariaDBGtids = (MariaDBGtids if mariadb else MySQLGtids)(start.extra)
        self._layouts: dict[int, tuple[Captured, RowLayout] | None] = {}
        self._known: dict[bytes, tuple[Captured, RowLayout] | None] = {}
        self._gtid: Gtid | None = None
        self._open = False  # between a transaction's first event and its last
        self._begun = False  # the sink knows of it
        self._started = 0  # where its first event ends
        self._prepared = False  # an XA transaction
        self._changed_before = changed_before
        self._xid = ""  # of the XA transaction whose end is awaited
        self._waiting: set[str] = set()  # XA transactions that were seen to be prepared, none of captured tables

    @property
    def position(self) -> Position:
        """The end of the last event."""
        return position(self._identity, self._file, self._offset, self._gtids.text, self._began)

    def follow(self, raw: bytes, sink: ChangeSink) -> None:
        """One event as it came, header and checksum included."""
        kind = raw[4] if len(raw) > 4 else 0
        if kind == binlog.FORMAT_DESCRIPTION:
            self._checksums = binlog.has_checksums(raw)
            self._require_same_file(binlog.began(raw))
        if kind == binlog.ROTATE:
            self._rotate(raw, sink)
            return
        event = binlog.event(raw, self._checksums)
        before = self._offset
        self._move(event)
        if before < self._skip_to and self._offset <= self._skip_to:
            return
        if kind == binlog.MARIADB_GTID:
            self._start(binlog.mariadb_gtid(event.body, binlog.server_id(raw)), sink)
        elif kind == binlog.TRANSACTION_PAYLOAD:
            for inner in binlog.payload_events(event.body):
                self._handle(binlog.event(inner, checksum=False), sink)
        else:
            self._handle(event, sink)
        if kind in binlog.BETWEEN and self._gtid is None and not self._open:
            sink.advance(self.position)

    def _require_same_file(self, began: int) -> None:
        """A copy of a server has its identity, files and GTIDs; but it began a file of its own when it started."""
        asked = self._asked
        if asked.began and began and asked.began != began and file_and_offset(asked)[0] == self._file:
            raise PositionForeign(
                f"position {asked.text} lies in a log file that was begun at {_clock(asked.began)}, and the source's "
                f"file of that name at {_clock(began)}: the source is a copy of that server, or was restored from one",
                remedy="Give the source that the migration had, or reset and load again: the two have parted since.",
                position=asked.text,
            )
        self._began = began

    def _rotate(self, raw: bytes, sink: ChangeSink) -> None:
        """The first event of a dump is a rotation made up by the server; it may come with or without a checksum."""
        try:
            found = binlog.rotate(binlog.event(raw, self._checksums).body)
        except LogDamaged:
            found = binlog.rotate(binlog.event(raw, not self._checksums).body)
        if not _FILE.match(found.file):
            raise LogDamaged("the binlog's rotation names no file")
        if found.file == self._file and found.position < self._offset:
            return  # the server names the file's start when it reads from the middle
        changed = found.file != self._file
        self._file, self._offset = found.file, found.position
        if changed:
            self._began = 0
            self._layouts.clear()
            self._skip_to = 0
            if not self._open:
                sink.advance(self.position)

    def _move(self, event: Event) -> None:
        """Events carry 32 bits of where they end; a step back by more than half of that is a step over 4 GiB."""
        if event.log_pos == 0 or event.artificial or event.kind == binlog.HEARTBEAT:
            return
        end = self._offset & ~(_WRAP - 1) | event.log_pos
        if end < self._offset - _WRAP // 2:
            end += _WRAP
        self._offset = max(end, self._offset)

    def _handle(self, event: Event, sink: ChangeSink) -> None:
        kind = event.kind
        if kind == binlog.TABLE_MAP:
            self._map(event)
        elif kind in binlog.ROWS:
            self._rows(event, sink)
        elif kind == binlog.XID:
            self._end(event, sink)
        elif kind in (binlog.QUERY, binlog.QUERY_COMPRESSED):
            self._query(binlog.query(event.body, kind == binlog.QUERY_COMPRESSED, self._text), event, sink)
        elif kind == binlog.EXECUTE_LOAD_QUERY:
            self._query(binlog.load_query(event.body), event, sink)
        elif kind in (binlog.GTID, binlog.ANONYMOUS_GTID):
            found = binlog.gtid(event.body)
            self._start(found if kind == binlog.GTID else replace(found, source=""), sink)
        elif kind == binlog.GTID_TAGGED:
            self._start(Gtid("", 0), sink)
        elif kind == binlog.XA_PREPARE:
            self._prepare(event, sink)
        elif kind == binlog.PARTIAL_UPDATE_ROWS:
            self._refuse_partial(event)
        elif kind == binlog.PARTIAL_ROW_DATA:
            raise LogFormatRefused("the binlog has row events that were cut into fragments", remedy="Raise the limit.")
        elif kind == binlog.INCIDENT:
            raise PositionLost(f"the source lost events of its binlog (an incident) at {self.position.text}")

    # --- transactions -------------------------------------------------------------------------------------------------

    def _start(self, gtid: Gtid, sink: ChangeSink) -> None:
        if self._begun:
            raise LogDamaged(f"a transaction in the binlog has no end before {self.position.text}")
        self._gtid = gtid
        self._started = self._offset
        self._open = self._mariadb and not gtid.standalone
        self._prepared = gtid.prepared

    def _begin(self, event: Event, sink: ChangeSink) -> None:
        if not self._begun:
            self._begun = True
            sink.begin(self._transaction(event))

    def _transaction(self, event: Event) -> Transaction:
        """The open transaction, from its announcement or else from ``event``, which has its first rows."""
        offset = self._started or self._offset - 1
        id = "" if self._gtid is None else self._gtid.text
        said = self._gtid.commit_us if self._gtid is not None else 0
        place = (("file", self._file), ("pos", offset), *((("gtid", id),) if id else ()))
        start = position(self._identity, self._file, offset)
        return Transaction(start, id or start.text, said or event.timestamp * 1_000_000, place)

    def _end(self, event: Event, sink: ChangeSink) -> None:
        if self._gtid is not None:
            self._gtids.add(self._gtid)
        if self._begun:
            said = self._gtid.commit_us if self._gtid is not None else 0
            sink.commit(self.position, said or event.timestamp * 1_000_000)
        else:
            sink.advance(self.position)
        self._gtid = None
        self._started = 0
        self._open = self._begun = self._prepared = False

    def _prepare(self, event: Event, sink: ChangeSink) -> None:
        """The end of an XA transaction: committed at once if its first byte says one phase, else some time later."""
        if self._begun and event.body[:1] != b"\x01":
            raise LogFormatRefused(_PREPARED, remedy="Use plain transactions on the captured tables.")
        if event.body[:1] != b"\x01":
            self._waiting.add(self._xid)
        self._end(event, sink)

    # --- statements ---------------------------------------------------------------------------------------------------

    def _query(self, query: Query, event: Event, sink: ChangeSink) -> None:
        found = meaning(query, self._uniques, folds=self._folds, mariadb=self._mariadb)
        names = ", ".join(str(t) for t in found.tables)
        if found.effect is Effect.BEGIN:
            self._open = True
        elif found.effect is Effect.COMMIT:
            self._end(event, sink)
        elif found.effect in (Effect.ROLLBACK, Effect.ROLLBACK_TO):
            self._rollback(found.effect, event, sink)
        elif found.effect is Effect.XA:
            self._xa(query, event, sink)
        elif found.effect is Effect.TRUNCATE:
            self._begin(event, sink)
            sink.truncate(found.tables)
            self._end(event, sink)
        elif found.effect is Effect.LAYOUT:
            raise LayoutChanged(
                f"{names}: the source ran a statement that changes it, at {self.position.text}: "
                f"{_shortened(query.text)}",
                tables=[str(t) for t in found.tables],
            )
        elif found.effect is Effect.UNKNOWN:
            raise LayoutChanged(
                f"{names}: the source ran a statement that names it and whose effect is not known, at "
                f"{self.position.text}: {_shortened(query.text)}",
                remedy="If it changes rows or columns, make the same change on the target; then load the named table "
                "again.",
                tables=[str(t) for t in found.tables],
            )
        elif found.effect is Effect.ROWS:
            raise LogFormatRefused(
                f"a session of the source changed rows in statement format (binlog_format), at {self.position.text}; "
                f"among them may be rows of {names}"
            )
        elif not self._open:
            self._end(event, sink)

    def _text(self, statement: bytes, collation: int) -> str:
        """A statement stands in the log in its client's character set; only names of tables have to be right."""
        if statement.isascii():
            return binlog.text_of(statement)
        try:
            convert = self._charsets.converter(self._charsets.name(collation))
            return binlog.text_of(statement if convert is None else convert(statement))
        except (LogDamaged, LogFormatRefused):
            return binlog.text_of(statement)

    def _rollback(self, effect: Effect, event: Event, sink: ChangeSink) -> None:
        """Logged only when the transaction also changed tables that cannot roll back."""
        if self._begun:
            raise LogFormatRefused(
                f"a transaction at {self.position.text} was rolled back after it changed captured tables and tables "
                "without transactions",
                remedy="Convert the tables that are not InnoDB, and load the data again.",
            )
        if effect is Effect.ROLLBACK:
            self._end(event, sink)

    def _xa(self, query: Query, event: Event, sink: ChangeSink) -> None:
        """The server writes these statements itself, always with the whole id: ``XA COMMIT X'61',X'',1``."""
        _, word, xid, *_ = [*query.text.split(), "", "", ""]
        word = word.upper()
        if word in ("START", "BEGIN"):
            self._open = True
        elif word == "END":
            self._xid = xid
        elif word in ("COMMIT", "ROLLBACK"):
            if word == "COMMIT" and xid not in self._waiting:
                self._require_unrelated(xid)
            self._waiting.discard(xid)
            self._end(event, sink)

    def _require_unrelated(self, xid: str) -> None:
        """It was prepared before this stream began."""
        changed = self._changed_before(xid, self._file, self._offset)
        found = [] if changed is None else captured_among(changed, self._tables, folds=self._folds)
        if changed is None or found:
            what = f"changed {', '.join(found)}" if found else "changed what the log no longer tells"
            raise LogFormatRefused(
                f"an XA transaction that was prepared earlier and committed at {self.position.text} {what}: its rows "
                "are in neither the load nor what was followed",
                remedy="Load the tables again while no XA transaction on them is prepared (see XA RECOVER), and use "
                "plain transactions on them until the switch.",
                tables=found,
            )

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _map(self, event: Event) -> None:
        number, shape = int.from_bytes(event.body[:6], "little"), event.body[6:]
        if shape not in self._known:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[shape] = self._layout(event.body)
        self._layouts[number] = self._known[shape]

    def _layout(self, body: bytes) -> tuple[Captured, RowLayout] | None:
        seen = binlog_tables.table_map(body)
        what = self._tables.get(TableName(seen.schema, seen.table))
        return None if what is None else (what, row_layout(what, seen, self._charsets))

    def _rows(self, event: Event, sink: ChangeSink) -> None:
        number, at = binlog.rows_header(event.kind, event.body)
        if number not in self._layouts:
            if number == _NO_TABLE:
                return
            raise LogDamaged(f"rows in the binlog before {self.position.text} name no table")
        found = self._layouts[number]
        if found is None:
            return
        what, layout = found
        self._begin(event, sink)
        decode_rows(event.kind, event.body, at, layout, sink.buffer(what.table.name, what.written))

    def _refuse_partial(self, event: Event) -> None:
        number, _ = binlog.rows_header(event.kind, event.body)
        found = self._layouts.get(number)
        if found is not None:
            raise LogFormatRefused(
                f"{found[0].table.name}: the binlog has partial JSON updates",
                remedy="SET GLOBAL binlog_row_value_options = ''; then load the table again.",
            )


def _shortened(text: str) -> str:
    """A statement for a message, without its literals."""
    return re.sub(r"'(?:[^'\\]|\\.|'')*'", "'...'", " ".join(text.split()))[:120]
