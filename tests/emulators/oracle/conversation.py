"""One connection of a client: its messages, and what is answered."""

from __future__ import annotations

import os
import secrets
import socket
import socketserver
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from tests.emulators.oracle import wire
from tests.emulators.oracle.auth import Login
from tests.emulators.oracle.engine import Column, Result, Session
from tests.emulators.oracle.faults import Cut
from tests.emulators.oracle.messages import bind_row, described, directions, shape, take_types
from tests.emulators.oracle.sql import Refused
from tests.emulators.oracle.types import LOBS, LONG, LONG_RAW, encode
from tests.emulators.oracle.wire import Closed, Packets, Reader, number, sized, value

if TYPE_CHECKING:
    from tests.emulators.oracle.serve import Server

FIELD_VERSION: Final = 12  # of a server 19.1


@dataclass
class Cursor:
    """A statement that was sent, and what is left of its rows. ``defined`` are the wire types, and forms of
    their character sets, that the client asked for."""

    number: int
    sql: str
    binds: list[tuple[int, int, int]] = field(default_factory=list)
    result: Result | None = None
    rows: Iterator[tuple[Any, ...]] = field(default_factory=lambda: iter(()))
    defined: list[tuple[int, int]] | None = None
    fetched: int = 0
    fetches: int = 0
    last: list[bytes] | None = None


class Connection(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.packets = Packets(self.request)
        self.cursors: dict[int, Cursor] = {}
        self.lobs: dict[bytes, Any] = {}
        self.session: Session | None = None
        self.login: Login | None = None
        self.user = self.program = ""
        try:
            self.converse()
        except (Closed, Cut, OSError):
            pass
        finally:
            if self.session is not None:
                self.server.database.sessions.pop(self.session.number, None)
                self.session.close()

    def kill(self) -> None:
        with suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)
        if self.session is not None:
            self.session.cancel()

    def converse(self) -> None:
        _, body = self.packets.read()
        length, offset = struct.unpack(">HH", body[16:20])
        if len(body) + 8 < offset + length:
            self.packets.read()  # a long address comes in a packet of its own
        accept = struct.pack(">HH", 318, 0) + struct.pack(">HHHHH", 8192, 32767, 1, 0, 0) + b"\4" + bytes(9)
        self.packets.write(wire.ACCEPT, accept + struct.pack(">I", 8192) + bytes(5) + struct.pack(">I", 0))
        self.packets.accepted = True
        while True:
            kind, body = self.packets.read()
            if kind == wire.MARKER:
                self.packets.write(wire.MARKER, b"\1\0\2")
                if body[2:3] == b"\2":
                    self.packets.write_data(self.error(1013, "ORA-01013: user requested cancel of current operation"))
            elif kind == wire.DATA:
                if struct.unpack(">H", body[:2])[0] & wire.END_OF_FILE:
                    return
                self.packets.write_data(self.dispatch(Reader(body[2:], self.packets)))

    # --- answers ------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> int:
        return 2 if self.session is not None and self.session.changed else 0

    def error(self, code: int = 0, text: str = "", *, rows: int = 0, cursor: int = 0, place: int = 0) -> bytes:
        """The end of an answer; ``code`` 0 is that all is well."""
        out = b"\4" + number(self.status) + number(0) + number(rows) + number(min(code, 65535)) + number(0) + number(0)
        out += number(cursor) + number(place) + bytes(6) + number(0) + number(0) + b"\0" + number(0) + number(0)
        out += number(0) + b"\0\0" + number(0) * 6 + number(code) + number(rows)
        return out + (value(text.encode()) if code else b"")

    def refused(self, e: Refused, *, cursor: int = 0) -> bytes:
        return self.error(e.code, str(e), cursor=cursor)

    def fine(self) -> bytes:
        return b"\x09" + number(self.status) + number(0)

    def pairs(self, given: dict[str, tuple[str, int]]) -> bytes:
        out = b"\x08" + number(len(given))
        for key, (said, flags) in given.items():
            out += sized(key) + sized(said) + number(flags)
        return out + self.fine()

    # --- messages -----------------------------------------------------------------------------------------------------

    def dispatch(self, r: Reader) -> bytes:
        kind = r.byte()
        if kind == 1:
            return self.protocol()
        if kind == 2:
            return take_types(r)
        while kind == 17:
            self.piggyback(r)
            kind = r.byte()
        function, _ = r.byte(), r.byte()
        try:
            return self.functions()[function](r)
        except (Closed, Cut, OSError):
            raise
        except Exception as e:
            traceback.print_exc()
            return self.refused(Refused(600, f"internal error of the stand-in: {type(e).__name__}: {e}"))

    def functions(self) -> dict[int, Callable[[Reader], bytes]]:
        return {
            118: self.log_in_first, 115: self.log_in_second, 94: self.execute, 4: self.again, 78: self.again,
            5: self.fetch, 96: self.lob, 14: self.commit, 15: self.rollback, 147: lambda r: self.fine(),
            9: lambda r: self.fine(),
        }  # fmt: skip

    def protocol(self) -> bytes:
        fields = bytes(9) + struct.pack(">H", 2000)
        compile_time, run_time = bytearray(55), bytearray(11)
        compile_time[7], run_time[6] = FIELD_VERSION, 4
        head = b"\1\6\0" + b"Linux stand-in\0" + struct.pack("<H", 873) + b"\1" + struct.pack("<H", 0)
        return head + struct.pack(">H", len(fields)) + fields + value(bytes(compile_time)) + value(bytes(run_time))

    def piggyback(self, r: Reader) -> None:
        function, _ = r.byte(), r.byte()
        if function == 105:  # cursors that are closed
            r.byte()
            for _ in range(r.number()):
                self.cursors.pop(r.number(), None)
        elif function == 135:
            self.attributes(r)
        elif function == 152:
            r.byte()
            schema = r.sized().decode()
            if self.session is not None:
                self.session.execute(f'ALTER SESSION SET CURRENT_SCHEMA = "{schema}"', [[]], commit=False)
        elif function == 96:  # temporary LOBs that are done with
            r.byte()
            size = r.number()
            r.byte(), r.number(), r.number(), r.number(), r.raw(3), r.number(), r.byte(), r.number(), r.number()
            r.number(), r.byte(), r.byte(), r.number(), r.byte(), r.number(), r.byte(), r.number()
            r.raw(size)
        else:
            raise RuntimeError(f"the stand-in knows no piggyback {function}")

    def attributes(self, r: Reader) -> None:
        r.raw(2)
        r.number()
        lengths = [(r.byte(), r.number())[1] for _ in range(3)]  # client identifier, module, action
        r.byte(), r.number(), r.byte(), r.number()
        lengths.append((r.byte(), r.number())[1])
        r.byte(), r.number(), r.byte(), r.number()
        lengths.append((r.byte(), r.number())[1])
        names = ("client_identifier", "module", "action", "client_info", "operation")
        given = {name: (r.value() or b"").decode() for name, size in zip(names, lengths, strict=True) if size}
        if self.session is not None:
            self.session.describe_self(**{k: v for k, v in given.items() if k in names[:3]})

    def _head(self, r: Reader) -> tuple[bytes, int]:
        named = r.byte()
        r.number(), r.number(), r.byte()
        count = r.number()
        r.byte(), r.byte()
        return (r.value() or b"") if named else b"", count

    def log_in_first(self, r: Reader) -> bytes:
        user, count = self._head(r)
        given = {r.sized().decode(): (r.sized().decode(), r.number())[0] for _ in range(count)}
        self.user, self.program = user.decode().upper(), given.get("AUTH_PROGRAM_NM", "")
        if user.startswith(b'"'):
            self.user = user.decode().strip('"')
        self.login = Login(self.server.password(self.user) or secrets.token_hex(16))
        return self.pairs(self.login.challenge())

    def log_in_second(self, r: Reader) -> bytes:
        _, count = self._head(r)
        given = {r.sized().decode(): (r.sized().decode(), r.number())[0] for _ in range(count)}
        assert self.login is not None
        proof = self.login.answer(given)
        if proof is None:
            return self.error(1017, "ORA-01017: invalid username/password; logon denied")
        if not self.server.may_log_in(self.user):
            return self.error(1045, f"ORA-01045: user {self.user} lacks CREATE SESSION privilege; logon denied")
        self.session = Session(self.server.database, self.user, self.program)
        self.server.database.sessions[self.session.number] = self
        told = {
            "AUTH_SVR_RESPONSE": proof, "AUTH_VERSION_NO": str(0x13030000), "AUTH_VERSION_STRING": "- Stand-in",
            "AUTH_SESSION_ID": str(self.session.number), "AUTH_SERIAL_NUM": str(self.session.serial),
            "AUTH_SC_SERVICE_NAME": "STAND", "AUTH_SC_DBUNIQUE_NAME": "STAND", "AUTH_INSTANCENAME": "stand",
            "AUTH_SC_DB_DOMAIN": "", "AUTH_SC_INSTANCE_NAME": "stand", "AUTH_DBNAME": "STAND",
            "AUTH_SC_REAL_DBUNIQUE_NAME": "STAND", "AUTH_MAX_OPEN_CURSORS": "300", "AUTH_MAX_IDEN_LENGTH": "128",
            "AUTH_SERVER_PID": str(os.getpid()),
        }  # fmt: skip
        return self.pairs({key: (said, 0) for key, said in told.items()})

    def commit(self, r: Reader) -> bytes:
        assert self.session is not None
        self.session.commit()
        return self.fine()

    def rollback(self, r: Reader) -> bytes:
        assert self.session is not None
        self.session.rollback()
        return self.fine()

    # --- statements ---------------------------------------------------------------------------------------------------

    def execute(self, r: Reader) -> bytes:
        options, cid = r.number(), r.number()
        has_sql = r.byte()
        r.number(), r.byte(), r.number(), r.byte(), r.byte(), r.number()
        rows = r.number()
        r.number()
        r.byte()
        binds = r.number()
        r.raw(5)
        r.byte()
        defines = r.number()
        r.number(), r.raw(3), r.number(), r.byte(), r.number(), r.number(), r.byte(), r.number(), r.byte()
        r.byte(), r.number(), r.byte(), r.number(), r.byte(), r.byte(), r.number()
        sql = (r.value() or b"").decode() if has_sql else None
        numbers = [r.number() for _ in range(13)]
        shapes = [shape(r) for _ in range(defines or binds)]
        given = []
        if binds and not defines:
            times = 1 if numbers[7] else max(numbers[1], 1)  # of a query that is sent again, these are its rows
            given = [bind_row(r, shapes) for _ in range(times)]
        cursor = self.cursors.get(cid) or self._opened(sql)
        if sql is not None:
            cursor.sql = sql
        if defines:
            cursor.defined = [(kind, form) for kind, form, _ in shapes]
            return self.rows(cursor, rows)
        if binds:
            cursor.binds = shapes
        if sql is not None:
            cursor.defined = None  # else what was asked for holds for the next execution too
        fetched = rows if options & 0x40 else 0
        return self.run(cursor, given or [[]], fetched, commit=bool(options & 0x100), describe=True)

    def _opened(self, sql: str | None) -> Cursor:
        cid = next(self.server.numbers)
        self.cursors[cid] = Cursor(cid, sql or "")
        return self.cursors[cid]

    def again(self, r: Reader) -> bytes:
        cid, count, _, flags = r.number(), r.number(), r.number(), r.number()
        cursor = self.cursors[cid]
        given: list[list[Any]] = []
        if cursor.binds:
            rows = 1 if self._is_query(cursor) else count
            given = [bind_row(r, cursor.binds) for _ in range(rows)]
        return self.run(cursor, given or [[]], count, commit=bool(flags & 1), describe=False)

    @staticmethod
    def _is_query(cursor: Cursor) -> bool:
        return cursor.result is not None and cursor.result.columns is not None

    def run(self, cursor: Cursor, binds: list[list[Any]], rows: int, *, commit: bool, describe: bool) -> bytes:
        assert self.session is not None
        sql = cursor.sql.strip()
        try:
            self.server.look_at(sql, self.program)
            code = self.server.database.faults.due(sql, 0)
            if code is not None:
                raise Refused(code, "as it was ordered")
            cursor.result = self.session.execute(sql, binds, commit=commit)
        except Refused as e:
            return self.refused(e, cursor=cursor.number)
        cursor.fetched = cursor.fetches = 0
        cursor.last = None
        if cursor.result.columns is None:
            head = directions(len(binds[0])) if sql[:5].upper() in ("BEGIN", "DECLA") and binds[0] else b""
            return head + self.error(rows=cursor.result.rows, cursor=cursor.number)
        cursor.rows = cursor.result.values
        out = described(cursor.result.columns) if describe else b""
        if cursor.defined is None and any(c.type.wire in LOBS for c in cursor.result.columns):
            return out + self.error(cursor=cursor.number)  # the client says first what it wants of LOBs
        return out + self.rows(cursor, rows)

    def fetch(self, r: Reader) -> bytes:
        cursor, count = self.cursors[r.number()], r.number()
        cursor.fetches += 1
        try:
            code = self.server.database.faults.due(cursor.sql, cursor.fetches)
            if code is not None:
                raise Refused(code, "as it was ordered")
        except Refused as e:
            return self.refused(e, cursor=cursor.number)
        return self.rows(cursor, count)

    def rows(self, cursor: Cursor, count: int) -> bytes:
        """So many rows; what equals the row before in a column is not sent again, as the vendor's server does."""
        assert cursor.result is not None
        columns = cursor.result.columns or []
        out = bytearray(b"\6\0" + number(1) + number(count) + number(0) + number(0) + number(0) + number(0))
        found = 0
        for row in islice(cursor.rows, count):
            found += 1
            cells = [self._cell(cursor, place, columns[place], cell) for place, cell in enumerate(row)]
            lasting = cursor.last
            if lasting is not None and any(a == b for a, b in zip(cells, lasting, strict=True)):
                sent = [
                    a != b or columns[p].type.wire in LOBS for p, (a, b) in enumerate(zip(cells, lasting, strict=True))
                ]
                bits = bytearray(-(-len(cells) // 8))
                for place, is_sent in enumerate(sent):
                    bits[place // 8] |= is_sent << (place % 8)
                out += b"\x15" + number(sum(sent)) + bits
            else:
                sent = [True] * len(cells)
            out += b"\7" + b"".join(c for c, is_sent in zip(cells, sent, strict=True) if is_sent)
            cursor.last = cells
        cursor.fetched += found
        if found < count:
            return bytes(out) + self.error(1403, "ORA-01403: no data found", rows=cursor.fetched, cursor=cursor.number)
        return bytes(out) + self.error(rows=cursor.fetched, cursor=cursor.number)

    def _cell(self, cursor: Cursor, place: int, column: Column, found: Any) -> bytes:
        kind, form = cursor.defined[place] if cursor.defined else (column.type.wire, column.type.form)
        if column.type.wire == 11:
            return wire.encode_rowid(found) if found else b"\0"
        if kind not in LOBS:
            return encode(replace(column.type, form=form), found, kind if kind in (LONG, LONG_RAW) else None)
        if found in (None, "", b""):
            return number(0)
        locator = secrets.token_bytes(40)
        locator = locator[:4] + bytes([0, 0, 0, 0]) + locator[8:]
        self.lobs[locator] = found
        return number(len(locator)) + number(len(found)) + number(8060) + value(locator)

    # --- LOBs ---------------------------------------------------------------------------------------------------------

    def lob(self, r: Reader) -> bytes:
        r.byte()
        size = r.number()
        r.byte(), r.number(), r.number(), r.number(), r.raw(3)
        operation = r.number()
        r.raw(2)
        offset, _ = r.number(), r.number()
        sends = r.byte()
        r.raw(6)
        locator = r.raw(size)
        amount = r.number() if sends else 0
        found = self.lobs.get(locator, b"")
        out = b""
        if operation == 2:
            part = found[offset - 1 : offset - 1 + amount]
            out = b"\x0e" + value(part.encode() if isinstance(part, str) else bytes(part))
            amount = len(part)
        elif operation == 1:
            amount = len(found)
        return out + b"\x08" + locator + (number(amount) if sends else b"") + self.error()
